"""Time that passes when everybody waits: a clock, and an event loop that jumps."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from console.system.clock import Clock

UP_S = 5_000.0
"""The machine has been up for so long when a simulation begins."""


class Time(Clock):
    """Clocks that stand still until somebody waits, and what the machine does meanwhile."""

    def __init__(self, began: float) -> None:
        self._awake, self._slept, self._set = UP_S, 0.0, began - UP_S
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.stirred = False
        """Something has happened that a waiting loop may want to see."""

    def wall_time(self) -> float:
        return self._awake + self._slept + self._set

    def tick(self) -> float:
        return self._awake + self._slept

    def monotonic(self) -> float:
        return self._awake

    def boot_id(self) -> str:
        return "simulated"

    def step(self, seconds: float) -> None:
        """Somebody sets the clock on the wall."""
        self._set += seconds

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: nobody's waiting goes on meanwhile."""
        self._slept += seconds

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done once so much time has passed."""
        heappush(self._agenda, (self._awake + seconds, next(self._order), act))

    def wait(self, seconds: float) -> None:
        """Let time pass, whoever wants it: also in place of `time.sleep`."""
        self._until(self._awake + seconds, heed=False)

    def wait_for_news(self, seconds: float | None) -> None:
        """Let time pass, but no more than until something has happened."""
        self.stirred = False
        if seconds is None:
            assert self._agenda, "everybody waits, and nothing is to come"
            seconds = self._agenda[0][0] - self._awake
        self._until(self._awake + seconds, heed=True)

    def _until(self, ends: float, heed: bool) -> None:
        while self._agenda and self._agenda[0][0] <= ends:
            at, _, act = heappop(self._agenda)
            self._awake = max(self._awake, at)
            act()
            if heed and self.stirred:
                return
        self._awake = max(self._awake, ends)


class _Patient(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    """Looks at descriptors without waiting; when there is no news, time passes."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self._time.wait_for_news(timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """asyncio's own loop on another clock. What is done aside is done at once, in its turn."""

    def __init__(self, time: Time) -> None:
        super().__init__(_Patient(time))
        self._clock = time

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future
