"""Widgets that are not tied to a pane."""
