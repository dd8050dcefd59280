"""Raises alerts, writes their files and calls the hook."""
