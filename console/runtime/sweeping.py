"""What every process that goes on for months does for its memory, once a minute."""

from __future__ import annotations

import asyncio

from console.runtime.waiting import on_the_second
from console.system import lean

SWEEP_S = 60.0


async def sweep() -> None:
    """Until cancelled. To be begun before anything is done in a thread: the loop's are ours."""
    threads = lean.Threads(asyncio.get_running_loop())
    threads.renew()
    await asyncio.sleep(on_the_second(SWEEP_S))
    lean.settle()
    while True:
        threads.renew()
        lean.tidy()
        await asyncio.sleep(on_the_second(SWEEP_S))
