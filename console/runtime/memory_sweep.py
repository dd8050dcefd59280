"""Frees memory once a minute, in processes that run for months."""

from __future__ import annotations

import asyncio

from console.runtime.timers import align_delay
from console.system.host import process_memory

SWEEP_INTERVAL_S = 60.0


async def sweep_memory() -> None:
    """Renew the loop's threads and collect garbage every `SWEEP_INTERVAL_S` until cancelled.

    Must start before the first call into a thread, so that every thread of the loop is renewed.
    """
    executor = process_memory.RenewingExecutor(asyncio.get_running_loop())
    executor.renew()
    await asyncio.sleep(align_delay(SWEEP_INTERVAL_S))
    process_memory.freeze_gc()
    while True:
        executor.renew()
        process_memory.collect_garbage()
        await asyncio.sleep(align_delay(SWEEP_INTERVAL_S))
