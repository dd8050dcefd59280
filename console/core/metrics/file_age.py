"""How old a time is that another program has written, whatever has happened to the clocks since."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.model import Sample
from console.core.text.json_values import number

SLEPT = "slept_s"
"""In a look's data: for how many seconds the machine has slept since its boot."""


def ago(history: Sequence[Sample], key: str) -> float | None:
    """Seconds the machine was awake from the Unix time under `key` to the newest look.

    Negative where that time lies in the future. What was written before a clock was set, or before
    the machine slept, is told by the looks around it: of both readings the younger is meant, for
    nobody knows whether it was written just before or just after.
    """
    last = history[-1]
    at = number(last.data.get(key))
    if at is None:
        return None
    age = last.moment.at - at
    told = [one for one in (_before(history, key, at), last) if one is not None]
    leapt = _offset(told[-1]) - _offset(told[0])
    return min((one for one in (age, age - leapt) if one >= 0), default=age)


def _before(history: Sequence[Sample], key: str, at: float) -> Sample | None:
    """The newest look of this boot that saw another time there; the first one if none did."""
    first = None
    for one in reversed(history):
        if one.moment.boot != history[-1].moment.boot:
            break
        if number(one.data.get(SLEPT)) is not None:
            first = one
            if number(one.data.get(key)) != at:
                break
    return first


def _offset(sample: Sample) -> float:
    """The clock on the wall against the seconds awake since boot."""
    slept_s = number(sample.data.get(SLEPT)) or 0.0
    return sample.moment.at - (sample.moment.tick - slept_s)
