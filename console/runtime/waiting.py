"""Waits that end with news or after some time: what a process that sleeps does most of all."""

from __future__ import annotations

import asyncio


class Bell:
    """Somebody rings it, one waits for it, and not for ever.

    An `asyncio.timeout` around an `asyncio.Event` ends each wait in vain by a cancellation and an
    exception: several times the cost of a timer, and as a rule nothing has happened.
    """

    def __init__(self) -> None:
        self.rung = False
        self._waiter: asyncio.Future[None] | None = None

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
        timer = loop.call_later(longest_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
