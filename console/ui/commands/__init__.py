"""Handlers of the console's keys."""
