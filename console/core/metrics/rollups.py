"""Samples rolled up: what a minute and an hour of them leave behind when they are forgotten.

What is kept of the queue: `size`, `answered` (1 or 0 a look), `successful` and `failed` (how far
the counters rose, restarts of the server allowed for); of the canary: `ok` (1 or 0) and
`latency_s`; of the worker: `present` (1 or 0).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from console.core.frozen import frozen
from console.core.metrics.statistics import increases
from console.core.model import Sample
from console.core.text.json_values import as_list, count, number

MINUTE_S, HOUR_S = 60, 3600
STEPS = (MINUTE_S, HOUR_S)
FIELDS = {
    "queue": ("answered", "size", "successful", "failed"),
    "canary": ("ok", "latency_s"),
    "worker": ("present",),
}
"""Monitor -> what it leaves behind."""


@frozen
class Rollup:
    """One field of one monitor over one minute or hour."""

    monitor: str
    field: str
    step: int
    """Seconds: 60 or 3600."""
    at: int
    """Unix time at which it begins, a multiple of `step`."""
    n: int
    sum: float
    squares: float
    """The sum of the squares: with n and sum it gives the deviation over any number of hours."""
    min: float
    max: float


def mean_sigma(rollups: Sequence[Rollup]) -> tuple[float, float] | None:
    """Mean and sample deviation of all that was rolled up; None of nothing."""
    n = sum(one.n for one in rollups)
    if not n:
        return None
    mean = math.fsum(one.sum for one in rollups) / n
    spread = max(0.0, math.fsum(one.squares for one in rollups) - n * mean * mean)
    return mean, math.sqrt(spread / (n - 1)) if n > 1 else 0.0


def roll_up(samples: Iterable[Sample], begins: float, ends: float) -> list[Rollup]:
    """The samples of one monitor from `begins` until before `ends`, which are whole hours.

    One sample from before is welcome: the counters' increase is counted from it.
    """
    cells: defaultdict[tuple[str, str, int, int], list[float]] = defaultdict(list)
    for monitor, field, at, value in _points(samples):
        if begins <= at < ends:
            for step in STEPS:
                cells[monitor, field, step, int(at // step) * step].append(value)
    return [_rollup(key, held) for key, held in cells.items()]


def _rollup(key: tuple[str, str, int, int], held: Sequence[float]) -> Rollup:
    squares = math.fsum(value * value for value in held)
    return Rollup(*key, len(held), math.fsum(held), squares, min(held), max(held))


def _points(samples: Iterable[Sample]) -> Iterator[tuple[str, str, float, float]]:
    """(monitor, field, when, value) of every figure in the samples."""
    before: tuple[int, int] | None = None
    for one in samples:
        for field, value in _values(one):
            yield one.monitor, field, one.moment.at, value
        good, bad = count(one.data.get("successful")), count(one.data.get("failed"))
        if one.monitor != "queue" or good is None or bad is None:
            continue
        if before is not None:
            more = increases([before, (good, bad)])
            yield one.monitor, "successful", one.moment.at, more[0]
            yield one.monitor, "failed", one.moment.at, more[1]
        before = good, bad


def _values(one: Sample) -> Iterator[tuple[str, float]]:
    """The figures of one sample; a look that failed tells of a worker nothing."""
    if one.monitor == "queue":
        yield "answered", float(one.error is None and one.data.get("problem") is None)
        if (size := count(one.data.get("size"))) is not None:
            yield "size", float(size)
    elif one.error is not None:
        return
    elif one.monitor == "canary":
        ok, latency = one.data.get("ok") is True, number(one.data.get("latency_s"))
        yield "ok", float(ok)
        if ok and latency is not None and abs(latency) < 1e9:
            yield "latency_s", float(latency)
    elif one.monitor == "worker" and "instances" in one.data:
        yield "present", float(bool(as_list(one.data.get("instances"))))
