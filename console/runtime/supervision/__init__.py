"""Records starts and deaths, and applies the restart policy."""
