"""What every process that goes on for months does for its memory, once a minute."""

from __future__ import annotations

import asyncio

from console.runtime.timers import on_the_second
from console.system.host import process_memory

SWEEP_S = 60.0


async def sweep() -> None:
    """Until cancelled. To be begun before anything is done in a thread: the loop's are ours."""
    threads = process_memory.Threads(asyncio.get_running_loop())
    threads.renew()
    await asyncio.sleep(on_the_second(SWEEP_S))
    process_memory.settle()
    while True:
        threads.renew()
        process_memory.tidy()
        await asyncio.sleep(on_the_second(SWEEP_S))
