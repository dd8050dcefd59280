"""Stores samples as arrays of numbers: 8 bytes per figure, where a `Sample` takes 400."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from math import nan

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.text.json_values import as_number

UNSAVED_ID = 1 << 63


def sort_by_id(samples: Iterable[Sample]) -> list[Sample]:
    """Return samples of several monitors in the order of their IDs, unsaved samples last."""
    return sorted(samples, key=lambda sample: sample.id or UNSAVED_ID)


class TimeSeries:
    """Some figures of one monitor's samples, oldest first."""

    def __init__(self, keys: Sequence[str], samples: Iterable[Sample] = ()) -> None:
        self._unix_times, self._ticks = array("d"), array("d")
        self._boot_ids: list[str] = []
        self._values = {key: array("d") for key in keys}
        for sample in samples:
            self.append(sample)

    def __len__(self) -> int:
        return len(self._unix_times)

    def __getitem__(self, key: str) -> Sequence[float]:
        """Return one figure of each sample; NaN where a sample lacks it."""
        return self._values[key]

    @property
    def last_moment(self) -> Moment | None:
        """Return when the newest sample was taken; None without samples."""
        return (
            Moment(self._unix_times[-1], self._ticks[-1], self._boot_ids[-1])
            if self._unix_times
            else None
        )

    def ages(self, now: Moment) -> Iterator[float]:
        """Yield the age of each sample in seconds, as `Moment.since` computes it."""
        for at, tick, boot in zip(self._unix_times, self._ticks, self._boot_ids, strict=True):
            if not boot or not now.boot or (boot != now.boot and at <= now.at):
                yield max(0.0, now.at - at)
            else:
                yield max(0.0, now.tick - tick if boot == now.boot else now.tick)

    def append(self, sample: Sample) -> None:
        """Append the figures of one sample."""
        self._unix_times.append(sample.moment.at)
        self._ticks.append(sample.moment.tick)
        self._boot_ids.append(sample.moment.boot)
        for key, figures in self._values.items():
            value = as_number(sample.data.get(key))
            figures.append(nan if value is None else value)

    def drop_old(self, now: Moment, max_age_s: float, max_samples: int) -> None:
        """Delete the oldest samples: older than `max_age_s`, or in excess of `max_samples`."""
        old_count = sum(1 for _ in takewhile(lambda age: age > max_age_s, self.ages(now)))
        dropped = slice(max(old_count, len(self) - max_samples))
        del self._boot_ids[dropped]
        for figures in (self._unix_times, self._ticks, *self._values.values()):
            del figures[dropped]

    def copy(self) -> TimeSeries:
        """Return a copy, for use in another thread."""
        other = TimeSeries(())
        other._unix_times, other._ticks, other._boot_ids = (
            self._unix_times[:],
            self._ticks[:],
            self._boot_ids[:],
        )
        other._values = {key: figures[:] for key, figures in self._values.items()}
        return other
