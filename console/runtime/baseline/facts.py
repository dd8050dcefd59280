"""Names of the facts in the store that hold baseline runs."""

RUN_FACT = "baseline"
"""The run in progress."""
LAST_RUN_FACT = "baseline-last"
"""The run that ended last, with its result."""
