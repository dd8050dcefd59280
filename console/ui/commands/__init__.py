"""Handlers of the console's commands."""
