"""The exit codes of the command line, which an outcome of a command bears as well."""

OK = 0
"""Healthy, or done."""
FAILURE = 1
"""Not healthy, or refused."""
USAGE = 2
"""The command line or the configuration is wrong."""
UNREADABLE = 3
"""The state cannot be read, a limit of the system is reached, or an internal error."""
TIMED_OUT = 4
INTERRUPTED = 130
