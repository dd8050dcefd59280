"""The wakeup event: waits end on a trigger or a timeout; long delays are aligned."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.runtime.timers import EARLY_TOLERANCE_S, WakeupEvent, align_delay

LONG_S = 30.0


def test_wait_ends_on_trigger_or_timeout() -> None:
    async def wait() -> None:
        wakeup, loop = WakeupEvent(), asyncio.get_running_loop()
        await wakeup.wait(0.01)
        assert not wakeup.is_triggered  # a timeout, not a trigger
        began = loop.time()
        loop.call_soon(wakeup.trigger)
        await wakeup.wait(LONG_S)
        await wakeup.wait(LONG_S)  # an uncleared trigger ends the wait at once
        assert wakeup.is_triggered and loop.time() - began < LONG_S / 3
        wakeup.clear()
        await wakeup.wait(0.01)
        assert not wakeup.is_triggered

    asyncio.run(wait())


def test_trigger_without_a_waiter_ends_the_next_wait() -> None:
    async def wait() -> None:
        wakeup = WakeupEvent()
        wakeup.trigger()
        wakeup.trigger()
        await wakeup.wait(LONG_S)

    began = time.monotonic()
    asyncio.run(wait())
    assert time.monotonic() - began < LONG_S / 3


def test_cancelled_wait_leaves_no_timer() -> None:
    async def wait() -> None:
        wakeup = WakeupEvent()
        waiting = asyncio.create_task(wakeup.wait(0.05))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.1)
        wakeup.trigger()
        await wakeup.wait(LONG_S)

    began = time.monotonic()
    asyncio.run(wait())
    assert time.monotonic() - began < LONG_S / 3


def test_shortened_wait_ends_early_without_a_trigger() -> None:
    async def wait() -> None:
        wakeup = WakeupEvent()
        wakeup.shorten_wait(0.0)  # no effect without a waiter
        asyncio.get_running_loop().call_soon(wakeup.shorten_wait, 0.01)
        await wakeup.wait(LONG_S)
        assert not wakeup.is_triggered

    began = time.monotonic()
    asyncio.run(wait())
    assert time.monotonic() - began < LONG_S / 3


@given(start=st.floats(0, 1e7), pause_s=st.floats(1.0, 1e5))
def test_long_delays_are_aligned_to_whole_seconds(start: float, pause_s: float) -> None:
    class Standing(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return start

    async def ask() -> float:
        return align_delay(pause_s)

    with asyncio.Runner(loop_factory=Standing) as runner:
        waited = runner.run(ask())
    assert start + waited == pytest.approx(round(start + waited), abs=1e-6)
    assert -EARLY_TOLERANCE_S - 1e-6 <= waited - pause_s <= 1.0 - EARLY_TOLERANCE_S + 1e-6


def test_short_delay_is_not_aligned() -> None:
    assert align_delay(0.99) == 0.99
