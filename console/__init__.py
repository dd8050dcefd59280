"""rpa-console: a terminal console and supervisor for the workers of RPA (unattended automation)."""

__version__ = "0.1.0"
