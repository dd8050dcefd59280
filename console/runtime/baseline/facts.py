"""Names of the facts in the store that hold baseline runs."""

RUN = "baseline"
"""The run under way."""
LAST_RUN = "baseline-last"
"""The run before, with its result."""
