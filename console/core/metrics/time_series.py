"""Many looks as bare numbers: eight bytes for each figure, where a `Sample` takes four hundred."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from math import nan

from console.core.model import Moment, Sample
from console.core.text.json_values import number

UNWRITTEN = 1 << 63


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """Samples of several monitors as they were written; those that no store has taken come last."""
    return sorted(samples, key=lambda one: one.id or UNWRITTEN)


class Series:
    """Some figures of one monitor's looks, oldest first."""

    def __init__(self, keys: Sequence[str], samples: Iterable[Sample] = ()) -> None:
        self._at, self._tick = array("d"), array("d")
        self._boots: list[str] = []
        self._figures = {key: array("d") for key in keys}
        for sample in samples:
            self.append(sample)

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, key: str) -> Sequence[float]:
        """One figure of every look; NaN where a look did not tell it."""
        return self._figures[key]

    @property
    def last(self) -> Moment | None:
        """When the newest look was."""
        return Moment(self._at[-1], self._tick[-1], self._boots[-1]) if self._at else None

    def ages(self, now: Moment) -> Iterator[float]:
        """How long ago each look was, in seconds, as `Moment.since` counts."""
        for at, tick, boot in zip(self._at, self._tick, self._boots, strict=True):
            if not boot or not now.boot or (boot != now.boot and at <= now.at):
                yield max(0.0, now.at - at)
            else:
                yield max(0.0, now.tick - tick if boot == now.boot else now.tick)

    def append(self, sample: Sample) -> None:
        """One look more."""
        self._at.append(sample.moment.at)
        self._tick.append(sample.moment.tick)
        self._boots.append(sample.moment.boot)
        for key, figures in self._figures.items():
            value = number(sample.data.get(key))
            figures.append(nan if value is None else value)

    def forget(self, now: Moment, length_s: float, most: int) -> None:
        """Let go of the first ones that are older than `length_s`, or one too many."""
        old = sum(1 for _ in takewhile(lambda age: age > length_s, self.ages(now)))
        gone = slice(max(old, len(self) - most))
        del self._boots[gone]
        for figures in (self._at, self._tick, *self._figures.values()):
            del figures[gone]

    def copy(self) -> Series:
        """As it is now, for another thread."""
        other = Series(())
        other._at, other._tick, other._boots = self._at[:], self._tick[:], self._boots[:]
        other._figures = {key: figures[:] for key, figures in self._figures.items()}
        return other
