"""Early decisions: the further measurements that would change the verdict of a run in progress."""

from __future__ import annotations

import math

_EPSILON = 1e-9


def _count_text(n: int, noun: str) -> str:
    return f"{n} more {noun}{'' if n == 1 else 's'}"


def share_outlook(good: float, ended: float, target: float) -> str:
    """Return the outlook of a share of `ended` that must be at least `target` percent."""
    fraction = target / 100.0
    if not ended:
        return ""
    if good >= fraction * ended - _EPSILON:
        if fraction <= 0:
            return "passes whatever comes"
        spare = math.floor(good / fraction - ended + _EPSILON)
        return f"passes unless {_count_text(spare + 1, 'task')} fail{'s' if not spare else ''}"
    if fraction >= 1:
        return ""  # it has failed, which the caller reports
    missing = math.ceil((fraction * ended - good) / (1 - fraction) - _EPSILON)
    return f"fails unless {_count_text(missing, 'task')} succeed{'s' if missing == 1 else ''}"


def latency_outlook(n_slow: int, n: int, n_remaining: int, percent: float = 95.0) -> str:
    """Return the outlook of a nearest-rank percentile that must stay below its target.

    `n_slow` of the `n` values so far are above the target.
    """
    total = n + n_remaining
    if not total:
        return ""
    allowed = total - math.ceil(percent / 100 * total - _EPSILON)
    if n_slow > allowed:
        return f"fails at this pace: {n_slow} slow where {allowed} of {total} may be"
    if n_remaining + n_slow <= allowed:
        return "passes whatever comes"
    spare = allowed - n_slow
    return f"passes unless {_count_text(spare + 1, 'canary').replace('canarys', 'canaries')}" + (
        " is slow" if not spare else " are slow"
    )


def downtime_outlook(down_s: float, allowed_s: float) -> str:
    """Return the outlook of the time without a worker, of which `allowed_s` is allowed."""
    left = allowed_s - down_s
    if left <= 1.0:
        return "passes unless the worker is away once"
    words = f"{left / 60:.0f} min" if left >= 120 else f"{left:.0f} s"
    return f"passes unless the worker is away {words} more"


def count_outlook(n: int, allowed: int, noun: str) -> str:
    """Return the outlook of a number of bad events, of which `allowed` are allowed."""
    left = allowed - n
    return f"passes unless there {'is' if not left else 'are'} {_count_text(left + 1, noun)}"
