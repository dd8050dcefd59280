"""The counts of a contention run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass
class Tally:
    """The counts of all rounds."""

    rounds: int = 0
    callers: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    """The number of SIGKILLs for each kind of process."""
    starts: int = 0
    duplicate_rounds: int = 0
    most_at_once: int = 0
    """The most workers alive in one of the observer's samples."""
    most_daemons: int = 0
    looks: int = 0
    split_answers: int = 0
    """Rounds without kills in which callers named different PIDs."""
    unclear: int = 0
    """Callers that neither succeeded nor gave a reason."""
    not_healed: int = 0
    """Rounds after which one `ensure` did not lead to exactly one worker."""
    unexplained: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        shown["killed"] = dict(self.killed)
        shown["unexplained"] = len(self.unexplained)
        del shown["notes"]
        shown["seconds"] = round(self.seconds, 1)
        return "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
