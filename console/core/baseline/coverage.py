"""Computes the observed part of a time window, and the time with and without a worker in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from console.core.model.events import END_KINDS, START_KINDS, Event, EventKind
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record
from console.core.text.json_values import as_count, as_list, as_object

SAMPLE_VALIDITY_FACTOR = 1.5
"""A sample is valid until the next one is due, and for half an interval more."""
_PRESENCE_KINDS = (*START_KINDS, EventKind.READY, *END_KINDS)


class TimeWindow(Record, frozen=True):
    """A time window. All times within it are seconds since its start."""

    started: Moment
    elapsed_s: float

    def offset_s(self, moment: Moment) -> float:
        """Return the seconds from the start to `moment`, negative before the start."""
        if moment.boot and moment.boot == self.started.boot:
            return moment.tick - self.started.tick
        return moment.at - self.started.at

    def contains(self, moment: Moment) -> bool:
        return 0 <= self.offset_s(moment) <= self.elapsed_s


def observed_seconds(samples: Sequence[Sample], every_s: float, window: TimeWindow) -> float:
    """Return the seconds of the window for which a sample shows the queue's state."""
    observations = [
        (window.offset_s(sample.moment), _has_queue_state(sample)) for sample in samples
    ]
    return sum(
        _span_seconds(at, until, every_s, window)
        for at, until, has_state in _iter_spans(observations)
        if has_state
    )


def find_longest_gap(
    samples: Sequence[Sample], every_s: float, window: TimeWindow
) -> tuple[float, float] | None:
    """Return (offset, seconds) of the longest time without a valid sample, or None.

    Only times that are longer than an interval count.
    """
    observations = [(window.offset_s(sample.moment), sample.error is None) for sample in samples]
    spans = [
        (at, _span_seconds(at, until, every_s, window))
        for at, until, valid in _iter_spans(observations)
        if valid
    ]
    ends = [0.0, *(max(0.0, at) + length for at, length in spans if length)]
    begins = [*(max(0.0, at) for at, length in spans if length), window.elapsed_s]
    gaps = [
        (at, until - at) for at, until in zip(ends, begins, strict=True) if until - at > every_s
    ]
    return max(gaps, key=lambda gap: gap[1], default=None)


def _has_queue_state(sample: Sample) -> bool:
    return sample.error is None and sample.data.get("problem") is None


def up_and_down_seconds(
    samples: Sequence[Sample], events: Sequence[Event], every_s: float, window: TimeWindow
) -> tuple[float, float]:
    """Return the seconds with a worker and the seconds without; the rest is unknown.

    Between two samples, the events are used: a sample every five minutes would miss a death.
    """
    alive: set[int] | None = None
    presence: list[tuple[float, bool | None]] = []
    for at, observation in sorted(
        _timed_observations(samples, events, window), key=lambda pair: pair[0]
    ):
        if isinstance(observation, Sample):
            alive = instance_pids(observation)
        elif alive is not None and observation.identity is not None:
            alive = (
                alive - {observation.identity.pid}
                if observation.kind in END_KINDS
                else alive | {observation.identity.pid}
            )
        presence.append((at, None if alive is None else bool(alive)))
    up_s = down_s = 0.0
    for at, until, present in _iter_spans(presence):
        length = _span_seconds(at, until, every_s, window)
        up_s += length if present is True else 0.0
        down_s += length if present is False else 0.0
    return up_s, down_s


def _timed_observations(
    samples: Sequence[Sample], events: Sequence[Event], window: TimeWindow
) -> Iterable[tuple[float, Sample | Event]]:
    yield from ((window.offset_s(sample.moment), sample) for sample in samples)
    yield from (
        (window.offset_s(event.moment), event) for event in events if event.kind in _PRESENCE_KINDS
    )


def instance_pids(sample: Sample) -> set[int] | None:
    """Return the root PIDs of the role's instances in a worker sample; None if it has none.

    A sample that failed has no instances.
    """
    instances = sample.data.get("instances")
    if sample.error is not None or instances is None:
        return None
    pids = (as_count(as_object(instance).get("pid")) for instance in as_list(instances))
    return {pid for pid in pids if pid is not None}


def _iter_spans(
    observations: Sequence[tuple[float, bool | None]],
) -> Iterable[tuple[float, float, bool | None]]:
    """Yield (start, end, value) of each observation: it ends where the next one begins."""
    for (at, value), (until, _) in pairwise([*observations, (math.inf, None)]):
        yield at, until, value


def _span_seconds(at: float, until: float, every_s: float, window: TimeWindow) -> float:
    """Return the seconds within the window for which an observation at `at` is valid."""
    ends = min(until, at + SAMPLE_VALIDITY_FACTOR * every_s, window.elapsed_s)
    return max(0.0, ends - max(0.0, at))
