"""Simulated time: a clock, and an event loop that advances it instead of waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from console.system.clock import Clock

UP_S = 5_000.0
"""Uptime of the machine at the start of a simulation."""


class Time(Clock):
    """Clocks that advance only when a caller waits, and the actions scheduled on them."""

    def __init__(self, began: float) -> None:
        self._awake, self._slept, self._set = UP_S, 0.0, began - UP_S
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.stirred = False
        """True after a change that a waiting loop may need to see."""

    def wall_time(self) -> float:
        return self._awake + self._slept + self._set

    def tick(self) -> float:
        return self._awake + self._slept

    def monotonic(self) -> float:
        return self._awake

    def boot_id(self) -> str:
        return "simulated"

    def step(self, seconds: float) -> None:
        """Step the wall clock."""
        self._set += seconds

    def suspend(self, seconds: float) -> None:
        """Suspend the machine: no wait advances meanwhile."""
        self._slept += seconds

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Schedule an action after some seconds."""
        heappush(self._agenda, (self._awake + seconds, next(self._order), act))

    def wait(self, seconds: float) -> None:
        """Advance time; replaces `time.sleep` as well."""
        self._until(self._awake + seconds, heed=False)

    def wait_for_news(self, seconds: float | None) -> None:
        """Advance time, at most until the next change."""
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
    """A selector that polls without blocking and advances time when no descriptor is ready."""

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
    """asyncio's own loop on simulated time. Executor functions run inline, at once."""

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
