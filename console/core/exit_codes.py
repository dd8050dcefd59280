"""Exit codes of the command line; the outcome of a command carries one as well."""

OK = 0
"""Healthy, or done."""
FAILURE = 1
"""Not healthy, or refused."""
USAGE = 2
"""The command line or the configuration is wrong."""
UNREADABLE = 3
"""The state cannot be read, a system limit is reached, or an internal error occurred."""
TIMED_OUT = 4
INTERRUPTED = 130
