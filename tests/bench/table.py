"""The table of ratios: one row for each figure, its budget beside it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Runs = Mapping[str, Sequence[float]]
"""Whose figures -> one of each round."""

HEADS = (
    "figure", "ours", "spread", "runs", "limit", "ratio", "verdict", "budget", "the others",
)  # fmt: skip


def median(values: Sequence[float]) -> float:
    """The middle one; never call it with none."""
    return float(statistics.median(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what we cost, what others do, and what is allowed."""

    figure: str
    unit: str
    budget: str
    """In the words of the task."""
    ours: Sequence[float]
    limit: float | None
    """What the budget comes to in this run; None: what it needs could not be had."""
    others: Runs = field(default_factory=dict)
    note: str = ""

    @property
    def verdict(self) -> str:
        """Met, missed, or not to be told."""
        if self.limit is None or not self.ours:
            return "not measured"
        return "met" if median(self.ours) <= self.limit else "**MISSED**"

    @property
    def missed(self) -> bool:
        return "MISSED" in self.verdict

    def cells(self) -> list[str]:
        """The row as text."""
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
    """Three digits are more than the noise allows."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def least(*limits: float | None) -> float | None:
    """The tightest of several limits, of those that are known."""
    return min((limit for limit in limits if limit is not None), default=None)


def of(runs: Runs, who: str, times: float = 1.0, plus: float = 0.0) -> float | None:
    """A limit made of another's median; None when it was not measured."""
    return median(runs[who]) * times + plus if runs.get(who) else None


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [HEADS, ["---"] * len(HEADS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
