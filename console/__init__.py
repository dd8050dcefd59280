"""rpa-console: see whether the automation is truly working, and make it right with one key."""

__version__ = "0.1.0"
