"""Widgets that are independent of the panes."""
