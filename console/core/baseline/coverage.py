"""How much of a stretch of time somebody looked, and whether a worker was there while they did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from console.core.frozen import frozen
from console.core.model import Event, EventKind, Moment, Sample
from console.core.supervision.restarts import GONE
from console.core.text.json_values import as_list, count, table

HOLD = 1.5
"""A look tells of the time until the next one is due, and half an interval more."""
THERE = {EventKind.STARTED, EventKind.ADOPTED, EventKind.READY}


@frozen
class Window:
    """A stretch of time from a moment on; all times within are seconds since it."""

    started: Moment
    elapsed_s: float

    def when(self, moment: Moment) -> float:
        """Seconds since the start, negative before it."""
        if moment.boot and moment.boot == self.started.boot:
            return moment.tick - self.started.tick
        return moment.at - self.started.at

    def holds(self, moment: Moment) -> bool:
        return 0 <= self.when(moment) <= self.elapsed_s


def observed(samples: Sequence[Sample], every_s: float, window: Window) -> float:
    """Seconds of the window for which some look told the queue's state."""
    known = [(window.when(one.moment), _looked(one)) for one in samples]
    return sum(_length(at, until, every_s, window) for at, until, told in _spans(known) if told)


def longest_gap(
    samples: Sequence[Sample], every_s: float, window: Window
) -> tuple[float, float] | None:
    """The longest time, more than an interval, of which no look tells: when it began, seconds."""
    known = [(window.when(one.moment), one.error is None) for one in samples]
    seen = [(at, _length(at, until, every_s, window)) for at, until, told in _spans(known) if told]
    ends = [0.0, *(max(0.0, at) + length for at, length in seen if length)]
    begins = [*(max(0.0, at) for at, length in seen if length), window.elapsed_s]
    gaps = [
        (at, until - at) for at, until in zip(ends, begins, strict=True) if until - at > every_s
    ]
    return max(gaps, key=lambda gap: gap[1], default=None)


def _looked(sample: Sample) -> bool:
    return sample.error is None and sample.data.get("problem") is None


def presence(
    samples: Sequence[Sample], events: Sequence[Event], every_s: float, window: Window
) -> tuple[float, float]:
    """Seconds with a worker and seconds without; the rest is unknown.

    Between two looks the ledger tells: a death that a look every five minutes would have missed.
    """
    alive: set[int] | None = None
    told: list[tuple[float, bool | None]] = []
    for at, one in sorted(_merged(samples, events, window), key=lambda pair: pair[0]):
        if isinstance(one, Sample):
            alive = pids_seen(one)
        elif alive is not None and one.identity is not None:
            alive = alive - {one.identity.pid} if one.kind in GONE else alive | {one.identity.pid}
        told.append((at, None if alive is None else bool(alive)))
    up_s = down_s = 0.0
    for at, until, there in _spans(told):
        length = _length(at, until, every_s, window)
        up_s += length if there is True else 0.0
        down_s += length if there is False else 0.0
    return up_s, down_s


def _merged(
    samples: Sequence[Sample], events: Sequence[Event], window: Window
) -> Iterable[tuple[float, Sample | Event]]:
    yield from ((window.when(one.moment), one) for one in samples)
    yield from ((window.when(one.moment), one) for one in events if one.kind in (*GONE, *THERE))


def pids_seen(sample: Sample) -> set[int] | None:
    """The root PIDs of the role's instances that a worker sample saw; None if it could not look."""
    instances = sample.data.get("instances")
    if sample.error is not None or instances is None:
        return None
    pids = (count(table(one).get("pid")) for one in as_list(instances))
    return {pid for pid in pids if pid is not None}


def _spans(
    told: Sequence[tuple[float, bool | None]],
) -> Iterable[tuple[float, float, bool | None]]:
    """Each observation with the time from which the next one counts."""
    for (at, value), (until, _) in pairwise([*told, (math.inf, None)]):
        yield at, until, value


def _length(at: float, until: float, every_s: float, window: Window) -> float:
    """Seconds within the window that an observation at `at` tells of."""
    ends = min(until, at + HOLD * every_s, window.elapsed_s)
    return max(0.0, ends - max(0.0, at))
