"""The daemon's edge: lease, signals, upkeep around the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Sequence
from typing import Any

from console.core.event_pruning import forgettable
from console.core.model import Event, EventKind
from console.monitors import discover
from console.runtime import container_init
from console.runtime.loop import Runtime
from console.runtime.memory_sweep import sweep
from console.runtime.timers import on_the_second
from console.system import daemon_role
from console.system.box import Box
from console.system.host import package_files, process_memory
from console.system.host.sd_notify import notify, ping_every_s
from console.system.locks.ofd_lock import Grant, same_file
from console.system.store import retention, schema
from console.system.store.store import StoreError

PRUNE_S, DAY_S = 3600.0, 86_400.0
HEARTBEAT_S = 5.0


class StateLost(Exception):
    """The state directory was removed or replaced while the daemon ran: its lease is void."""


def run_daemon(box: Box, lost: str = "") -> bool:
    """Run the box's monitors until SIGTERM or SIGINT; False when another process runs them.

    `lost`: what has become of the state of the run before, for the ledger. Raises StateLost,
    LeaseError, StoreError.
    """
    grant = daemon_role.claim(box.paths, box.store)
    if grant is None:
        return False
    package_files.preload()
    package_files.forget_copies(box.paths)
    package_files.shim(box.paths)  # made now: the package may be gone when a repair needs it
    box.tell(EventKind.DAEMON_STARTED, "", "daemon", f"PID {os.getpid()}")
    if lost:
        box.tell(EventKind.NOTICED, "", "daemon", lost)
    try:
        _complete(_until_told(box, grant))
    except StateLost:
        raise  # whatever lies at the path now is not the store of this run
    except BaseException:
        _end_workers(box)
        box.tell(EventKind.DAEMON_STOPPED, "", "daemon", f"PID {os.getpid()}")
        raise
    else:
        _end_workers(box)
        box.tell(EventKind.DAEMON_STOPPED, "", "daemon", f"PID {os.getpid()}")
    finally:
        grant.close()
    return True


def _end_workers(box: Box) -> None:
    """As PID 1: the kernel would kill the workers with us; they have their grace period first."""
    if container_init.is_init() and (names := container_init.pass_on(box)):
        words = f"PID 1 of a container ends: its workers were ended first: {', '.join(names)}"
        box.tell(EventKind.NOTICED, "", "daemon", words)
        with contextlib.suppress(StoreError):
            box.take_up_certificates()


def _complete(main: Coroutine[Any, Any, None]) -> None:
    """Like `asyncio.run`, but does not wait for threads: one may hang in a foreign file."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0.5))
        loop.close()


async def _until_told(box: Box, grant: Grant) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    runtime = Runtime(box, discover(), holder=True)
    loop.add_signal_handler(signal.SIGHUP, runtime.reloading.reload)
    runtime.view.here = False  # it lives on when a console is closed
    sweeping = asyncio.create_task(sweep())
    await asyncio.sleep(0)  # it begins
    await asyncio.to_thread(runtime.view.refresh)
    with contextlib.suppress(StoreError):  # before the first look of ours is the newest
        await asyncio.to_thread(_look_at_the_clocks, box)
    process_memory.settle()
    work = asyncio.create_task(runtime.run())
    upkeep = asyncio.create_task(_upkeep(box))
    beat = asyncio.create_task(_beat(box, grant))
    reaping = asyncio.create_task(
        container_init.reap() if container_init.is_init() else asyncio.sleep(0)
    )
    notify("READY=1", "STATUS=running the monitors")
    waiting = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait({work, beat, waiting}, return_when=asyncio.FIRST_COMPLETED)
    notify("STOPPING=1")
    for task in (work, upkeep, beat, reaping, sweeping, waiting):
        task.cancel()
    await asyncio.gather(work, upkeep, beat, reaping, sweeping, waiting, return_exceptions=True)
    if beat in done:
        beat.result()
    if work in done:
        work.result()


async def _beat(box: Box, grant: Grant) -> None:
    """Show that the loop turns, to peers and to the service manager, while the lease holds.

    A lock counts only as long as its file has its name. Raises StateLost.
    """
    pause = min(HEARTBEAT_S, ping_every_s() or HEARTBEAT_S)
    while True:
        if not same_file(grant.descriptor, grant.path):
            raise StateLost(f"{box.paths.state}: was removed or replaced while the daemon ran")
        daemon_role.beat(box.paths)
        notify("WATCHDOG=1")
        await asyncio.sleep(on_the_second(pause))


async def _upkeep(box: Box) -> None:
    """Roll up what is over, forget what is older than the configuration wants kept."""
    with contextlib.suppress(StoreError):
        await asyncio.to_thread(box.store.mend_if_damaged)
        await asyncio.to_thread(box.store.write, [(schema.IN_ORDER, ())])
    while True:
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(_tidy, box)
        await asyncio.sleep(PRUNE_S)


def _tidy(box: Box) -> None:
    """Raises StoreError."""
    keep, now, store = box.settings.retention, box.now(), box.store
    retention.keep_up(store, now.at)
    if not _look_at_the_clocks(box):
        return
    retention.forget_samples(store, keep.samples_days * DAY_S, now)
    minutes, hours = now.at - keep.minutes_days * DAY_S, now.at - keep.hours_days * DAY_S
    retention.forget_rollups(store, minutes, hours)

    def choose(old: Sequence[Event]) -> list[int]:
        return forgettable(old, box.roles, now)

    retention.forget_events(store, keep.events_days * DAY_S, now, choose)


def _look_at_the_clocks(box: Box) -> bool:
    """Whether the wall clock may say what is old enough to be deleted. Raises StoreError."""
    found = retention.proven(box.store, box.now())
    if found.leap_s:
        data = {"leap_s": round(found.leap_s, 1)}
        box.tell(EventKind.NOTICED, "", "daemon", str(found), None, None, data)
    return found.proven
