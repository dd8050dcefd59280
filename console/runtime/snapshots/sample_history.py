"""Keeps samples in memory: the newest of each monitor whole, older ones trimmed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from console.core.metrics.file_age import SLEPT_KEY
from console.core.model.samples import Sample
from console.core.model.time import Moment

MIN_SAMPLES = 20
"""Samples kept regardless of their age: after a night's suspend they show the state before."""
UNTRIMMED_SAMPLES = 2
"""Successful samples kept whole, regardless of how many failed samples follow."""
MAX_SAMPLES = 20_000
"""Trimmed samples kept of each monitor: enough for the longest baseline at the usual interval."""
KEPT_FIELDS = {
    "queue": (
        "size", "inflight", "completed", "successful", "failed", "oldest_lease_s", "problem",
        "answered", "worked_s", "answered_s", "vanished", "pings",
    ),
    "pipeline": ("generated_at", SLEPT_KEY),
    "watchdog": ("pid", "heartbeat_at", SLEPT_KEY),
    "worker": ("instances", "problem"),
}  # fmt: skip
"""All fields that are evaluated in older samples. The store has the whole samples."""


def history_length_s(run: object, history_s: float, now: Moment) -> float:
    """Return for how many seconds samples are kept.

    A baseline run in progress may have started earlier than `history_s` seconds ago.
    """
    run_age_s = now.since(Moment(*run["started"])) if isinstance(run, dict) else 0.0
    return max(history_s, run_age_s)


class SampleHistory:
    """One monitor's samples, oldest first. Older samples are trimmed to `KEPT_FIELDS`."""

    def __init__(self, name: str) -> None:
        self._kept_fields = KEPT_FIELDS.get(name)
        self._trimmed: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._untrimmed: deque[Sample] = deque()
        self._untrimmed_ok_count = 0
        """How many of the untrimmed samples are successful."""

    def __iter__(self) -> Iterator[Sample]:
        return chain(self._trimmed, self._untrimmed)

    @property
    def last(self) -> Sample | None:
        """The newest sample; None if there is none."""
        return self._untrimmed[-1] if self._untrimmed else None

    def append(self, sample: Sample) -> None:
        """Add a new sample."""
        self._untrimmed.append(sample)
        self._untrimmed_ok_count += sample.error is None
        while self._untrimmed_ok_count > UNTRIMMED_SAMPLES or len(self._untrimmed) > MAX_SAMPLES:
            self._trimmed.append(self._trim(self._pop_untrimmed()))

    def extend(self, samples: Iterable[Sample]) -> None:
        """Add new samples, oldest first."""
        for sample in samples:
            self.append(sample)

    def prune(self, now: Moment, max_age_s: float) -> None:
        """Drop samples older than `max_age_s` seconds, except the newest `MIN_SAMPLES`."""
        excess = len(self._trimmed) + len(self._untrimmed) - MIN_SAMPLES
        for samples, pop in (
            (self._trimmed, self._trimmed.popleft),
            (self._untrimmed, self._pop_untrimmed),
        ):
            while excess > 0 and samples and now.since(samples[0].moment) > max_age_s:
                pop()
                excess -= 1

    def _pop_untrimmed(self) -> Sample:
        sample = self._untrimmed.popleft()
        self._untrimmed_ok_count -= sample.error is None
        return sample

    def _trim(self, sample: Sample) -> Sample:
        if self._kept_fields is None:
            return sample
        fields = sample.data
        data = {key: fields[key] for key in self._kept_fields if fields.get(key) is not None}
        return Sample(sample.monitor, sample.moment, data, sample.error, sample.id)
