"""The thoroughness of a run: rounds, durations and counts."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

began = time.monotonic()


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of rounds and the durations of measurements."""

    rounds: int
    quick: bool

    @property
    def window_s(self) -> float:
        """Seconds for which a terminal program is measured."""
        return 10.0 if self.quick else 30.0

    def calm_s(self, ours: bool) -> float:
        """Return the seconds from the first paint until the measurement begins.

        The daemon polls for a new worker's first task for 30 s; the peers need no such wait.
        """
        return 10.0 if not ours else 35.0 if self.quick else 40.0

    @property
    def presses(self) -> int:
        return 4 if self.quick else 10

    @property
    def calls(self) -> int:
        """Runs of a command that takes milliseconds, in each round."""
        return 3 if self.quick else 9

    @property
    def crowd(self) -> int:
        """Number of idle processes added to the machine."""
        return 2_000

    @property
    def growth_s(self) -> float:
        """Seconds into which an hour is compressed."""
        return 60.0 if self.quick else 300.0


def shuffled(things: Iterable[T], times: int) -> Iterator[T]:
    """Yield all items `times` times, in a new random order each time.

    No item always follows the same one.
    """
    order = list(things)
    for _ in range(times):
        random.shuffle(order)
        yield from order


def say(words: str) -> None:
    """Write a progress message to standard error."""
    sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {words}\n")
    sys.stderr.flush()
