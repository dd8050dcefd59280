"""Decides when a part of the screen is redrawn."""
