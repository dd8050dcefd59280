"""What came of a proof, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass
class Tally:
    """What came of all rounds."""

    rounds: int = 0
    callers: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    """Who was ended by SIGKILL, how often."""
    starts: int = 0
    duplicate_rounds: int = 0
    most_at_once: int = 0
    """The most workers that the observer has seen alive at one look."""
    most_daemons: int = 0
    looks: int = 0
    split_answers: int = 0
    """Rounds without murder in which callers named different PIDs."""
    unclear: int = 0
    """Callers that neither succeeded nor said why."""
    not_healed: int = 0
    """Rounds after which one `ensure` did not lead to exactly one."""
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
