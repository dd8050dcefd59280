"""Computes the age of a time that another program wrote, allowing for clock changes since."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.model.samples import Sample
from console.core.text.json_values import as_number

SLEPT_KEY = "slept_s"
"""Key in a sample's data: seconds that the machine has been suspended since boot."""


def file_age_s(history: Sequence[Sample], key: str) -> float | None:
    """Return the seconds awake from the Unix time under `key` to the newest sample, or None.

    The result is negative if that time lies in the future. None: the newest sample has no number
    under `key`. The time may have been written just before or just after the clock was set or the
    machine was suspended. The samples around the write show the change of the clock offset; of the
    ages with and without that change, the smaller one that is not negative is returned.
    """
    last = history[-1]
    at = as_number(last.data.get(key))
    if at is None:
        return None
    age = last.moment.at - at
    samples = [
        sample for sample in (_last_sample_before(history, key, at), last) if sample is not None
    ]
    offset_change_s = _clock_offset_s(samples[-1]) - _clock_offset_s(samples[0])
    return min((age_s for age_s in (age, age - offset_change_s) if age_s >= 0), default=age)


def _last_sample_before(history: Sequence[Sample], key: str, at: float) -> Sample | None:
    """Return the newest sample of this boot with another time under `key`.

    If all have the same time, return the first sample of this boot. Samples without SLEPT_KEY are
    ignored; None if no other sample is left.
    """
    first = None
    for sample in reversed(history):
        if sample.moment.boot != history[-1].moment.boot:
            break
        if as_number(sample.data.get(SLEPT_KEY)) is not None:
            first = sample
            if as_number(sample.data.get(key)) != at:
                break
    return first


def _clock_offset_s(sample: Sample) -> float:
    """Return the wall clock minus the seconds awake since boot."""
    slept_s = as_number(sample.data.get(SLEPT_KEY)) or 0.0
    return sample.moment.at - (sample.moment.tick - slept_s)
