"""A bell is heard once for each time it matters, and nobody waits for it for ever."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.runtime.timers import EARLY_TOLERANCE_S, WakeupEvent, align_delay

LONG_S = 30.0


def test_a_wait_ends_with_the_bell_or_with_time() -> None:
    async def wait() -> None:
        bell, loop = WakeupEvent(), asyncio.get_running_loop()
        await bell.wait(0.01)
        assert not bell.is_triggered  # time has passed, and there is no news
        began = loop.time()
        loop.call_soon(bell.trigger)
        await bell.wait(LONG_S)
        await bell.wait(LONG_S)  # news that nobody has heard is waited for no more
        assert bell.is_triggered and loop.time() - began < LONG_S / 3
        bell.clear()
        await bell.wait(0.01)
        assert not bell.is_triggered

    asyncio.run(wait())


def test_a_bell_that_rings_while_nobody_waits_is_heard_later() -> None:
    async def wait() -> None:
        bell = WakeupEvent()
        bell.trigger()
        bell.trigger()
        await bell.wait(LONG_S)

    began = time.monotonic()
    asyncio.run(wait())
    assert time.monotonic() - began < LONG_S / 3


def test_who_is_cancelled_while_he_waits_leaves_no_timer() -> None:
    async def wait() -> None:
        bell = WakeupEvent()
        waiting = asyncio.create_task(bell.wait(0.05))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.1)
        bell.trigger()
        await bell.wait(LONG_S)

    began = time.monotonic()
    asyncio.run(wait())
    assert time.monotonic() - began < LONG_S / 3


def test_a_wait_that_has_been_hastened_ends_early_and_brings_no_news() -> None:
    async def wait() -> None:
        bell = WakeupEvent()
        bell.shorten_wait(0.0)  # nobody waits: nobody is hastened
        asyncio.get_running_loop().call_soon(bell.shorten_wait, 0.01)
        await bell.wait(LONG_S)
        assert not bell.is_triggered

    began = time.monotonic()
    asyncio.run(wait())
    assert time.monotonic() - began < LONG_S / 3


@given(start=st.floats(0, 1e7), pause_s=st.floats(1.0, 1e5))
def test_long_waits_end_together_on_whole_seconds(start: float, pause_s: float) -> None:
    class Standing(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return start

    async def ask() -> float:
        return align_delay(pause_s)

    with asyncio.Runner(loop_factory=Standing) as runner:
        waited = runner.run(ask())
    assert start + waited == pytest.approx(round(start + waited), abs=1e-6)
    assert -EARLY_TOLERANCE_S - 1e-6 <= waited - pause_s <= 1.0 - EARLY_TOLERANCE_S + 1e-6


def test_a_short_wait_is_left_alone() -> None:
    assert align_delay(0.99) == 0.99
