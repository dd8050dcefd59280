"""Chooses the limit of a monitor: the configured one, else the learnt one, else the default."""

from __future__ import annotations

from console.core.records import Record


class Limit(Record, frozen=True):
    """A limit and its source."""

    value: float
    source: str = ""
    """`configured`, `learnt`, or "" for a default."""

    def describe(self, relation: str, unit: str = "") -> str:
        """Return the limit as text: `, above the learnt 32`; "" for a default."""
        return f", {relation} the {self.source} {self.value:g}{unit}" if self.source else ""


def choose_limit(
    configured: float | None, learnt: float | None, default: float | None
) -> Limit | None:
    """Return the limit in force, or None if there is none."""
    if configured is not None:
        return Limit(configured, "configured")
    if learnt is not None and learnt != default:
        return Limit(learnt, "learnt")
    return None if default is None else Limit(default)
