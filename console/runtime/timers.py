"""Waits that end with news or after some time: what a process that sleeps does most of all."""

from __future__ import annotations

import asyncio
from math import floor

EARLY_S = 0.25
"""So much too early a wait may end that is to end on a whole second; else it ends later."""


def on_the_second(pause_s: float) -> float:
    """About `pause_s`, to a whole second of the loop's clock: whoever waits wakes with all others.

    To wake costs as much as what most are woken for. What lasts less than a second is not changed.
    """
    if pause_s < 1.0:
        return pause_s
    now = asyncio.get_running_loop().time()
    return floor(now + pause_s + 1.0 - EARLY_S) - now


class Bell:
    """Somebody rings it, one waits for it, and not for ever.

    An `asyncio.timeout` around an `asyncio.Event` ends each wait in vain by a cancellation and an
    exception: several times the cost of a timer, and as a rule nothing has happened.
    """

    def __init__(self) -> None:
        self.rung = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """There is news."""
        self.rung = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def heard(self) -> None:
        """The news is known."""
        self.rung = False

    async def wait(self, longest_s: float) -> None:
        """Until it is rung, `longest_s` at most; not at all while news is waiting."""
        if self.rung:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._timer = loop.call_later(longest_s, self._wake)
        try:
            await self._waiter
        finally:
            self._timer.cancel()
            self._waiter = None

    def hasten(self, left_s: float) -> None:
        """Whoever waits now waits no longer than this, as if that were all the time there is."""
        if self._waiter is not None and self._timer is not None:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(left_s, self._wake)
