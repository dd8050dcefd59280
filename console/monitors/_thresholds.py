"""Which limit a monitor judges by: what is configured, else what was learnt, else what is usual."""

from __future__ import annotations

from console.core.frozen import frozen


@frozen
class Limit:
    """A limit and whose it is."""

    value: float
    whose: str = ""
    """`configured`, `learnt`, or nothing where it is only what is usual."""

    def words(self, side: str, unit: str = "") -> str:
        """`, above the learnt 32`; nothing where there is nothing to explain."""
        return f", {side} the {self.whose} {self.value:g}{unit}" if self.whose else ""


def limit(configured: float | None, learnt: float | None, usual: float | None) -> Limit | None:
    """The limit in force; None where nobody has set one."""
    if configured is not None:
        return Limit(configured, "configured")
    if learnt is not None and learnt != usual:
        return Limit(learnt, "learnt")
    return None if usual is None else Limit(usual)
