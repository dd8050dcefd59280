"""Takes a single snapshot of a box, for a process that then exits, as `status` does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from threading import Thread
from typing import Any

from console.core import resource_limits
from console.core.model.samples import Sample
from console.core.model.snapshot import Snapshot
from console.core.records import replace
from console.core.snapshot.builder import last_observed_roles
from console.monitors import Monitor, discover_monitors
from console.monitors import worker as worker_monitor
from console.runtime.snapshots.store_view import StoreView
from console.system.box import Box

Probe = Callable[[Box], Coroutine[Any, Any, Sample | None]]

QUEUE = "queue"
PROBED_MONITORS = (QUEUE, "watchdog", "pipeline")
"""Monitors that are probed here if no daemon runs: their probes are cheap and harmless."""
HISTORY_S = 3600.0
MAX_QUEUE_SAMPLE_AGE_S = 2.0
"""A queue sample of the daemon that is older than this is checked again."""
SAMPLE_LIMITS = {"watchdog": 20, "pipeline": 20}
"""Monitors of which the newest samples are enough. Success rate and baseline use the other
monitors."""

MAX_EVENTS = 1
"""The event log is not shown; the values derived from it are read separately."""


def take_snapshot(box: Box) -> Snapshot:
    """Return the snapshot of this moment. Raises ProcessError, StoreError.

    The process table is always observed anew.
    """
    monitors = discover_monitors()
    view = StoreView(
        box, monitors, history_s=HISTORY_S, sample_limits=SAMPLE_LIMITS, event_limit=MAX_EVENTS
    )
    view.refresh()
    daemon = view.daemon_view()
    is_monitored = daemon.running and not view.unwritable_reason()
    finish_queue_check = _start_queue_check(box, view) if is_monitored else None
    worker_sample = worker_monitor.take_sample(box)
    view.observed_roles = last_observed_roles([worker_sample])
    if is_monitored:
        if finish_queue_check is not None and (sample := finish_queue_check()) is not None:
            view.add_unsaved(sample)
        return view.compose()
    view.add_unsaved(worker_sample)
    for sample in _probe_monitors(box, monitors):
        view.add_unsaved(sample)
    return replace(view.compose(), daemon=daemon)


def _start_queue_check(box: Box, view: StoreView) -> Callable[[], Sample | None] | None:
    """Start to check in a thread whether the queue server still answers as in the last sample.

    Return a function that waits for the thread and returns a new sample, or None if nothing has
    changed. Return None if no check is needed.
    """
    from console.monitors import queue  # already loaded by `discover_monitors`

    last = view.last_sample(QUEUE)
    if (
        last is None
        or view.disabled_reason(QUEUE)
        or box.now().since(last.moment) <= MAX_QUEUE_SAMPLE_AGE_S
    ):
        return None
    samples: list[Sample | None] = []

    def ask() -> None:
        with suppress(Exception):  # a failed check shows no change
            samples.append(queue.sample_if_changed(box, last))

    thread = Thread(target=ask, name="queue", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread can be started: the daemon's sample counts
        return None

    def finish() -> Sample | None:
        thread.join()
        return samples[0] if samples else None

    return finish


def _probe_monitors(box: Box, monitors: Mapping[str, Monitor]) -> list[Sample]:
    """Probe the monitors in this process. An error yields an unknown sample."""
    import asyncio

    async def probe(name: str) -> Sample | None:
        # A monitor whose probe writes has a `glance` that does not write.
        probe_once: Probe = getattr(monitors[name], "glance", monitors[name].probe)
        try:
            async with asyncio.timeout(10.0):
                return await probe_once(box)
        except Exception as error:
            reason = resource_limits.limit_message(error) or f"{type(error).__name__}: {error}"
            return Sample(name, box.now(), error=reason)

    available = [name for name in PROBED_MONITORS if name in monitors]
    wanted = [name for name in available if monitors[name].enabled(box.settings)]
    samples: dict[str, Sample | None] = {}

    async def probe_all() -> None:
        results = await asyncio.gather(*(probe(name) for name in wanted))
        samples.update(zip(wanted, results, strict=True))

    probing = probe_all()
    try:
        asyncio.run(probing)
    except (RuntimeError, OSError) as error:  # no descriptor or thread left: show the rest
        if (reason := resource_limits.limit_message(error)) is None:
            raise
        missing = (name for name in wanted if name not in samples)
        samples |= {name: Sample(name, box.now(), error=reason) for name in missing}
    finally:
        probing.close()
    return [sample for sample in samples.values() if sample is not None]
