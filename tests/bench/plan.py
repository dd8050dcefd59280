"""How thorough a run is."""

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
    """Rounds, and how long each look lasts."""

    rounds: int
    quick: bool

    @property
    def window_s(self) -> float:
        """How long a terminal program is watched."""
        return 10.0 if self.quick else 30.0

    def calm_s(self, ours: bool) -> float:
        """From the first paint until the watching begins.

        Our box's new worker is looked at for 30 s; the others have nothing to wait for.
        """
        return 10.0 if not ours else 35.0 if self.quick else 40.0

    @property
    def presses(self) -> int:
        return 4 if self.quick else 10

    @property
    def calls(self) -> int:
        """How often a command that takes milliseconds is run in each round."""
        return 3 if self.quick else 9

    @property
    def crowd(self) -> int:
        """Processes that are added to the box."""
        return 2_000

    @property
    def growth_s(self) -> float:
        """How long an hour is, its intervals compressed."""
        return 60.0 if self.quick else 300.0


def shuffled(things: Iterable[T], times: int) -> Iterator[T]:
    """All of them so many times, each time in another order: none has the same one before it."""
    order = list(things)
    for _ in range(times):
        random.shuffle(order)
        yield from order


def say(words: str) -> None:
    """Where it has got to, on standard error."""
    sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {words}\n")
    sys.stderr.flush()
