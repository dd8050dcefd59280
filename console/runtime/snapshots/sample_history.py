"""How much of the past is kept in memory: what is judged by, and each monitor's newest looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from console.core.metrics.file_age import SLEPT
from console.core.model import Moment, Sample

NEWEST = 20
"""So many looks are kept however old they are: after a night's sleep they tell what came before."""
WHOLE = 2
"""So many that could look are kept as they were, however many after them could not."""
MOST = 20_000
"""Older looks kept of each monitor: enough for the longest baseline at the usual pace."""
OLD = {
    "queue": (
        "size", "inflight", "completed", "successful", "failed", "oldest_lease_s", "problem",
        "answered", "worked_s", "answered_s", "vanished", "pings",
    ),
    "pipeline": ("generated_at", SLEPT),
    "watchdog": ("pid", "heartbeat_at", SLEPT),
    "worker": ("instances", "problem"),
}  # fmt: skip
"""All that anything is judged by in older looks. A look as it was is in the store."""


def judged_s(run: object, history_s: float, now: Moment) -> float:
    """For how many seconds samples count: a baseline's run may reach back further."""
    began = now.since(Moment(*run["started"])) if isinstance(run, dict) else 0.0
    return max(history_s, began)


class History:
    """One monitor's looks, oldest first: the newest ones whole, older ones by what counts."""

    def __init__(self, name: str) -> None:
        self._fields = OLD.get(name)
        self._old: deque[Sample] = deque(maxlen=MOST)
        self._new: deque[Sample] = deque()
        self._good = 0
        """How many of the new ones could look."""

    def __iter__(self) -> Iterator[Sample]:
        return chain(self._old, self._new)

    @property
    def last(self) -> Sample | None:
        """The newest look."""
        return self._new[-1] if self._new else None

    def append(self, sample: Sample) -> None:
        """Remember a new look."""
        self._new.append(sample)
        self._good += sample.error is None
        while self._good > WHOLE or len(self._new) > MOST:
            self._old.append(self._slim(self._pop()))

    def extend(self, samples: Iterable[Sample]) -> None:
        """Remember new looks, oldest first."""
        for sample in samples:
            self.append(sample)

    def forget(self, now: Moment, length_s: float) -> None:
        """Let go of what is older than `length_s`, but for the newest ones."""
        left = len(self._old) + len(self._new) - NEWEST
        for looks, pop in ((self._old, self._old.popleft), (self._new, self._pop)):
            while left > 0 and looks and now.since(looks[0].moment) > length_s:
                pop()
                left -= 1

    def _pop(self) -> Sample:
        sample = self._new.popleft()
        self._good -= sample.error is None
        return sample

    def _slim(self, sample: Sample) -> Sample:
        if self._fields is None:
            return sample
        told = sample.data
        data = {key: told[key] for key in self._fields if told.get(key) is not None}
        return Sample(sample.monitor, sample.moment, data, sample.error, sample.id)
