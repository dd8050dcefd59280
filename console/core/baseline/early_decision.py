"""Decided early: what a run that is not over yet would still have to see to end otherwise."""

from __future__ import annotations

import math

_HAIR = 1e-9


def _count(n: int, what: str) -> str:
    return f"{n} more {what}{'' if n == 1 else 's'}"


def share(good: float, ended: float, target: float) -> str:
    """A share of `ended` that must be `target` percent or more."""
    wanted = target / 100.0
    if not ended:
        return ""
    if good >= wanted * ended - _HAIR:
        if wanted <= 0:
            return "passes whatever comes"
        spare = math.floor(good / wanted - ended + _HAIR)
        return f"passes unless {_count(spare + 1, 'task')} fail{'s' if not spare else ''}"
    if wanted >= 1:
        return ""  # it has failed, and that is said elsewhere
    missing = math.ceil((wanted * ended - good) / (1 - wanted) - _HAIR)
    return f"fails unless {_count(missing, 'task')} succeed{'s' if missing == 1 else ''}"


def slow(n_slow: int, n: int, n_to_come: int, percent: float = 95.0) -> str:
    """A nearest-rank percentile that must stay below its target, `n_slow` of `n` being above."""
    whole = n + n_to_come
    if not whole:
        return ""
    allowed = whole - math.ceil(percent / 100 * whole - _HAIR)
    if n_slow > allowed:
        return f"fails at this pace: {n_slow} slow where {allowed} of {whole} may be"
    if n_to_come + n_slow <= allowed:
        return "passes whatever comes"
    spare = allowed - n_slow
    return f"passes unless {_count(spare + 1, 'canary').replace('canarys', 'canaries')}" + (
        " is slow" if not spare else " are slow"
    )


def away(down_s: float, allowed_s: float) -> str:
    """Time without a worker, of which `allowed_s` is allowed."""
    left = allowed_s - down_s
    if left <= 1.0:
        return "passes unless the worker is away once"
    words = f"{left / 60:.0f} min" if left >= 120 else f"{left:.0f} s"
    return f"passes unless the worker is away {words} more"


def tally(n: int, allowed: int, what: str) -> str:
    """A number of bad things, of which `allowed` are allowed."""
    left = allowed - n
    return f"passes unless there {'is' if not left else 'are'} {_count(left + 1, what)}"
