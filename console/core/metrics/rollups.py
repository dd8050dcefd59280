"""Aggregates samples per minute and per hour, to be kept after the samples are deleted.

Fields of the queue: `size`, `answered` (1 or 0 per sample), `successful` and `failed` (increase of
the counters, allowing for restarts of the server). Fields of the canary: `ok` (1 or 0) and
`latency_s`. Field of the worker: `present` (1 or 0).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from console.core.metrics.statistics import counter_increases
from console.core.model.samples import Sample
from console.core.records import Record
from console.core.text.json_values import as_count, as_list, as_number

MINUTE_S, HOUR_S = 60, 3600
STEPS_S = (MINUTE_S, HOUR_S)
FIELDS_BY_MONITOR = {
    "queue": ("answered", "size", "successful", "failed"),
    "canary": ("ok", "latency_s"),
    "worker": ("present",),
}
"""Monitor -> the fields that are aggregated."""


class Rollup(Record, frozen=True):
    """One field of one monitor, aggregated over one minute or hour."""

    monitor: str
    field: str
    step: int
    """Seconds: 60 or 3600."""
    at: int
    """Unix time of the beginning, a multiple of `step`."""
    n: int
    sum: float
    squares: float
    """Sum of the squares. With `n` and `sum` it yields the deviation over any number of hours."""
    min: float
    max: float


def mean_and_deviation(rollups: Sequence[Rollup]) -> tuple[float, float] | None:
    """Return the mean and the sample deviation of all aggregated values; None without values."""
    n = sum(rollup.n for rollup in rollups)
    if not n:
        return None
    mean = math.fsum(rollup.sum for rollup in rollups) / n
    spread = max(0.0, math.fsum(rollup.squares for rollup in rollups) - n * mean * mean)
    return mean, math.sqrt(spread / (n - 1)) if n > 1 else 0.0


def roll_up(samples: Iterable[Sample], start: float, end: float) -> list[Rollup]:
    """Return the rollups of one monitor's samples from `start` until before `end`.

    `start` and `end` are Unix times at whole hours. `samples` may include one sample from before
    `start`: the increase of the counters is computed from it.
    """
    cells: defaultdict[tuple[str, str, int, int], list[float]] = defaultdict(list)
    for monitor, field, at, value in _iter_points(samples):
        if start <= at < end:
            for step in STEPS_S:
                cells[monitor, field, step, int(at // step) * step].append(value)
    return [_make_rollup(key, values) for key, values in cells.items()]


def _make_rollup(key: tuple[str, str, int, int], values: Sequence[float]) -> Rollup:
    squares = math.fsum(value * value for value in values)
    return Rollup(*key, len(values), math.fsum(values), squares, min(values), max(values))


def _iter_points(samples: Iterable[Sample]) -> Iterator[tuple[str, str, float, float]]:
    """Yield (monitor, field, Unix time, value) for each figure in the samples."""
    before: tuple[int, int] | None = None
    for sample in samples:
        for field, value in _iter_sample_values(sample):
            yield sample.monitor, field, sample.moment.at, value
        good, bad = as_count(sample.data.get("successful")), as_count(sample.data.get("failed"))
        if sample.monitor != "queue" or good is None or bad is None:
            continue
        if before is not None:
            increase = counter_increases([before, (good, bad)])
            yield sample.monitor, "successful", sample.moment.at, increase[0]
            yield sample.monitor, "failed", sample.moment.at, increase[1]
        before = good, bad


def _iter_sample_values(sample: Sample) -> Iterator[tuple[str, float]]:
    """Yield (field, value) for each figure of one sample, counters excluded.

    A failed sample of a monitor other than the queue yields nothing.
    """
    if sample.monitor == "queue":
        yield "answered", float(sample.error is None and sample.data.get("problem") is None)
        if (size := as_count(sample.data.get("size"))) is not None:
            yield "size", float(size)
    elif sample.error is not None:
        return
    elif sample.monitor == "canary":
        ok, latency = sample.data.get("ok") is True, as_number(sample.data.get("latency_s"))
        yield "ok", float(ok)
        if ok and latency is not None and abs(latency) < 1e9:
            yield "latency_s", float(latency)
    elif sample.monitor == "worker" and "instances" in sample.data:
        yield "present", float(bool(as_list(sample.data.get("instances"))))
