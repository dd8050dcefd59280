"""One look at a box by a peer that does not stay: what `status` shows."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from threading import Thread
from typing import Any

from console.core import resource_limits
from console.core.frozen import replace
from console.core.model import DaemonView, Sample, Snapshot
from console.core.snapshot.builder import last_seen
from console.monitors import Monitor, discover
from console.monitors import worker as worker_monitor
from console.runtime.snapshots.store_view import View
from console.system.box import Box

Probe = Callable[[Box], Coroutine[Any, Any, Sample | None]]

QUEUE = "queue"
ASKED = (QUEUE, "watchdog", "pipeline")
"""What is asked anew when nobody watches: cheap, and harmless to ask."""
HISTORY_S = 3600.0
FRESH_S = 2.0
"""What the daemon has seen of the queue server longer ago is looked at again."""
FEW = {"watchdog": 20, "pipeline": 20}
"""Of these the newest looks are enough; the success rate and a baseline are the others'."""

LINES = 1
"""The ledger is not shown; what it adds up to is read by itself."""


def look_once(box: Box) -> Snapshot:
    """The snapshot of this moment, processes always looked at. Raises ProcessError, StoreError."""
    monitors = discover()
    view = View(box, monitors, history_s=HISTORY_S, few=FEW, lines=LINES)
    view.refresh()
    daemon = view.daemon()
    watched = daemon.running and not view.unwritable()
    news = _queue_news(box, view) if watched else None
    own = worker_monitor.look(box)
    view.seen = last_seen([own])
    if watched:
        if news is not None and (sample := news()) is not None:
            view.keep(sample)
        return view.compose()
    view.keep(own)
    for sample in _ask(box, monitors):
        view.keep(sample)
    return _as_seen(view.compose(), daemon)


def _queue_news(box: Box, view: View) -> Callable[[], Sample | None] | None:
    """Begin to ask whether the queue server still is as the daemon saw it; the call ends it.

    None where that is known well enough.
    """
    from console.monitors import queue  # it is loaded: `discover` has found it

    last = view.last(QUEUE)
    if last is None or view.off(QUEUE) or box.now().since(last.moment) <= FRESH_S:
        return None
    found: list[Sample | None] = []

    def ask() -> None:
        with suppress(Exception):  # what cannot be asked is not known to have changed
            found.append(queue.changed(box, last))

    thread = Thread(target=ask, name="queue", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread can be started: what the daemon saw counts
        return None

    def finish() -> Sample | None:
        thread.join()
        return found[0] if found else None

    return finish


def _ask(box: Box, monitors: Mapping[str, Monitor]) -> list[Sample]:
    """Have the monitors look, here and now; what goes wrong is an unknown sample."""
    import asyncio

    async def probe(name: str) -> Sample | None:
        # What writes as it looks has a look that does not.
        ask: Probe = getattr(monitors[name], "glance", monitors[name].probe)
        try:
            async with asyncio.timeout(10.0):
                return await ask(box)
        except Exception as error:
            reason = resource_limits.reached(error) or f"{type(error).__name__}: {error}"
            return Sample(name, box.now(), error=reason)

    known = [name for name in ASKED if name in monitors]
    wanted = [name for name in known if monitors[name].enabled(box.settings)]
    found: dict[str, Sample | None] = {}

    async def probe_all() -> None:
        seen = await asyncio.gather(*(probe(name) for name in wanted))
        found.update(zip(wanted, seen, strict=True))

    asking = probe_all()
    try:
        asyncio.run(asking)
    except (RuntimeError, OSError) as error:  # no descriptor, no thread: the rest is still shown
        if (reason := resource_limits.reached(error)) is None:
            raise
        unseen = (name for name in wanted if name not in found)
        found |= {name: Sample(name, box.now(), error=reason) for name in unseen}
    finally:
        asking.close()
    return [sample for sample in found.values() if sample is not None]


def _as_seen(snapshot: Snapshot, daemon: DaemonView) -> Snapshot:
    return replace(snapshot, daemon=daemon)
