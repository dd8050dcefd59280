"""Main program of the daemon: lease, signals, and maintenance around the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Sequence
from typing import Any

from console.core.event_pruning import find_prunable_event_ids
from console.core.model.events import Event, EventKind
from console.monitors import discover_monitors
from console.runtime import container_init
from console.runtime.loop import Runtime
from console.runtime.memory_sweep import sweep_memory
from console.runtime.timers import align_delay
from console.system import daemon_role
from console.system.box import Box
from console.system.host import package_files, process_memory
from console.system.host.sd_notify import notify, watchdog_ping_interval_s
from console.system.locks.ofd_lock import HeldLock, is_same_file
from console.system.store import retention, schema
from console.system.store.store import StoreError

PRUNE_INTERVAL_S, DAY_S = 3600.0, 86_400.0
HEARTBEAT_INTERVAL_S = 5.0


class StateLost(Exception):
    """Raised when the state directory was removed or replaced while the daemon ran.

    The daemon's lease is then void.
    """


def run_daemon(box: Box, state_lost_reason: str = "") -> bool:
    """Run the box's monitors until SIGTERM or SIGINT. Return False if another process runs them.

    `state_lost_reason`: how the previous run lost its state directory, recorded as an event. Raises
    StateLost, LeaseError, StoreError.
    """
    lease_lock = daemon_role.acquire_lease(box.paths, box.store)
    if lease_lock is None:
        return False
    package_files.preload()
    package_files.remove_unused_copies(box.paths)
    # Created now, because the package may be removed before a repair needs it.
    package_files.shim_program(box.paths)
    box.record_or_queue(EventKind.DAEMON_STARTED, actor="daemon", reason=f"PID {os.getpid()}")
    if state_lost_reason:
        box.record_or_queue(EventKind.NOTICED, actor="daemon", reason=state_lost_reason)
    try:
        _run_until_complete(_run_until_signalled(box, lease_lock))
    except StateLost:
        raise  # the store of this run is no longer at its path
    except BaseException:
        _terminate_workers_as_init(box)
        box.record_or_queue(EventKind.DAEMON_STOPPED, actor="daemon", reason=f"PID {os.getpid()}")
        raise
    else:
        _terminate_workers_as_init(box)
        box.record_or_queue(EventKind.DAEMON_STOPPED, actor="daemon", reason=f"PID {os.getpid()}")
    finally:
        lease_lock.close()
    return True


def _terminate_workers_as_init(box: Box) -> None:
    """Stop the workers within their grace periods if this process is PID 1.

    The kernel kills them when PID 1 exits.
    """
    if container_init.is_init() and (names := container_init.terminate_workers(box)):
        message = f"PID 1 of a container ends: its workers were ended first: {', '.join(names)}"
        box.record_or_queue(EventKind.NOTICED, actor="daemon", reason=message)
        with contextlib.suppress(StoreError):
            box.import_certificates()


def _run_until_complete(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` like `asyncio.run`, but do not wait for threads.

    A thread may hang while it accesses a file of another program.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        pending_tasks = asyncio.all_tasks(loop)
        for task in pending_tasks:
            task.cancel()
        if pending_tasks:
            loop.run_until_complete(asyncio.wait(pending_tasks, timeout=0.5))
        loop.close()


async def _run_until_signalled(box: Box, lease_lock: HeldLock) -> None:
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_requested.set)
    runtime = Runtime(box, discover_monitors(), is_holder=True)
    loop.add_signal_handler(signal.SIGHUP, runtime.config_reloader.reload)
    runtime.view.monitors_run_in_console = False  # the daemon outlives a console
    sweep_task = asyncio.create_task(sweep_memory())
    await asyncio.sleep(0)  # let it start before the first thread
    await asyncio.to_thread(runtime.view.refresh)
    with contextlib.suppress(StoreError):  # before the first sample of this run
        await asyncio.to_thread(_check_clock_trust, box)
    process_memory.freeze_gc()
    runtime_task = asyncio.create_task(runtime.run())
    maintenance_task = asyncio.create_task(_run_maintenance(box))
    heartbeat_task = asyncio.create_task(_send_heartbeats(box, lease_lock))
    reap_task = asyncio.create_task(
        container_init.reap_zombies() if container_init.is_init() else asyncio.sleep(0)
    )
    notify("READY=1", "STATUS=running the monitors")
    stop_task = asyncio.create_task(stop_requested.wait())
    done, _ = await asyncio.wait(
        {runtime_task, heartbeat_task, stop_task}, return_when=asyncio.FIRST_COMPLETED
    )
    notify("STOPPING=1")
    for task in (runtime_task, maintenance_task, heartbeat_task, reap_task, sweep_task, stop_task):
        task.cancel()
    await asyncio.gather(
        runtime_task,
        maintenance_task,
        heartbeat_task,
        reap_task,
        sweep_task,
        stop_task,
        return_exceptions=True,
    )
    if heartbeat_task in done:
        heartbeat_task.result()
    if runtime_task in done:
        runtime_task.result()


async def _send_heartbeats(box: Box, lease_lock: HeldLock) -> None:
    """Send heartbeats to peers and to the service manager while the lease is valid.

    A heartbeat shows that the event loop runs. A lock is valid only while its path names the locked
    file. Raises StateLost.
    """
    interval_s = min(HEARTBEAT_INTERVAL_S, watchdog_ping_interval_s() or HEARTBEAT_INTERVAL_S)
    while True:
        if not is_same_file(lease_lock.descriptor, lease_lock.path):
            raise StateLost(f"{box.paths.state}: was removed or replaced while the daemon ran")
        daemon_role.write_heartbeat(box.paths)
        notify("WATCHDOG=1")
        await asyncio.sleep(align_delay(interval_s))


async def _run_maintenance(box: Box) -> None:
    """Repair the store if it is damaged, then roll up and prune it every `PRUNE_INTERVAL_S`."""
    with contextlib.suppress(StoreError):
        await asyncio.to_thread(box.store.repair_if_damaged)
        await asyncio.to_thread(box.store.write, [(schema.CREATE_SAMPLE_ORDER_INDEX_SQL, ())])
    while True:
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(_prune, box)
        await asyncio.sleep(PRUNE_INTERVAL_S)


def _prune(box: Box) -> None:
    """Roll up finished hours, and delete data older than the configured retention.

    Deletes nothing while the wall clock is not trusted. Raises StoreError.
    """
    limits, now, store = box.settings.retention, box.now(), box.store
    retention.roll_up_finished_hours(store, now.at)
    if not _check_clock_trust(box):
        return
    retention.delete_old_samples(store, limits.samples_days * DAY_S, now)
    minutes, hours = now.at - limits.minutes_days * DAY_S, now.at - limits.hours_days * DAY_S
    retention.delete_old_rollups(store, minutes, hours)

    def choose(old: Sequence[Event]) -> list[int]:
        return find_prunable_event_ids(old, box.roles, now)

    retention.delete_old_events(store, limits.events_days * DAY_S, now, choose)


def _check_clock_trust(box: Box) -> bool:
    """Return True if the wall clock may decide which data is old enough to be deleted.

    Records an event if the clock has jumped. Raises StoreError.
    """
    trust = retention.check_clock(box.store, box.now())
    if trust.jump_s:
        data = {"leap_s": round(trust.jump_s, 1)}
        box.record_or_queue(EventKind.NOTICED, actor="daemon", reason=str(trust), data=data)
    return trust.is_trusted
