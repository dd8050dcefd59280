"""The table of results: one row for each figure, with its budget."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Runs = Mapping[str, Sequence[float]]
"""Program -> its values, one for each measurement."""

HEADS = (
    "figure", "ours", "spread", "runs", "limit", "ratio", "verdict", "budget", "the others",
)  # fmt: skip


def median(values: Sequence[float]) -> float:
    """Return the median. Raises StatisticsError without values."""
    return float(statistics.median(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the console's values, the other programs' values and the limit."""

    figure: str
    unit: str
    budget: str
    """The budget as text."""
    ours: Sequence[float]
    limit: float | None
    """The budget's value in this run; None if a value it needs was not measured."""
    others: Runs = field(default_factory=dict)
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the limit is met, missed or not measured."""
        if self.limit is None or not self.ours:
            return "not measured"
        return "met" if median(self.ours) <= self.limit else "**MISSED**"

    @property
    def missed(self) -> bool:
        return "MISSED" in self.verdict

    def cells(self) -> list[str]:
        """Return the row's cells as text."""
        ours = median(self.ours) if self.ours else None
        others = [f"{who} {figure(median(runs))}" for who, runs in self.others.items() if runs]
        return [
            self.figure + (f" ({self.note})" if self.note else ""),
            f"{figure(ours)} {self.unit}".strip(),
            f"{figure(min(self.ours))}–{figure(max(self.ours))}" if self.ours else "–",
            str(len(self.ours)),
            figure(self.limit),
            figure(ours / self.limit) if ours is not None and self.limit else "–",
            self.verdict,
            self.budget,
            ", ".join(others) or "–",
        ]


def figure(value: float | None) -> str:
    """Format a value with three digits: more would be noise."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def least(*limits: float | None) -> float | None:
    """Return the lowest of the known limits, or None."""
    return min((limit for limit in limits if limit is not None), default=None)


def of(runs: Runs, who: str, times: float = 1.0, plus: float = 0.0) -> float | None:
    """Return a limit from a program's median, or None if the program was not measured."""
    return median(runs[who]) * times + plus if runs.get(who) else None


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as Markdown."""
    lines = [HEADS, ["---"] * len(HEADS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
