"""One look at a box by a peer that does not stay: what `status` shows."""

from __future__ import annotations

from console.core.frozen import replace
from console.core.model import DaemonView, Sample, Snapshot
from console.core.snapshot import last_seen
from console.monitors import Monitor, discover
from console.monitors import worker as worker_monitor
from console.runtime.view import View
from console.system.box import Box

ASKED = ("queue", "watchdog")
"""What is asked anew when nobody watches: cheap, and harmless to ask."""
HISTORY_S = 3600.0
FEW = {"watchdog": 20, "pipeline": 20}
"""Of these the newest looks are enough; the success rate and a baseline are the others'."""

LINES = 1
"""The ledger is not shown; what it adds up to is read by itself."""


def look_once(box: Box) -> Snapshot:
    """The snapshot of this moment, processes always looked at. Raises ProcessError, StoreError."""
    monitors = discover()
    view = View(box, monitors, history_s=HISTORY_S, few=FEW, lines=LINES)
    view.refresh()
    own = worker_monitor.look(box)
    view.seen = last_seen([own])
    daemon = view.daemon()
    if daemon.running and box.store.trouble is None:
        return view.compose()
    view.keep(own)
    for sample in _ask(box, {name: monitors[name] for name in ASKED if name in monitors}):
        view.keep(sample)
    return _as_seen(view.compose(), daemon)


def _ask(box: Box, monitors: dict[str, Monitor]) -> list[Sample]:
    """Have the monitors look, here and now; what goes wrong is an unknown sample."""
    import asyncio

    async def probe(monitor: Monitor) -> Sample:
        try:
            async with asyncio.timeout(10.0):
                return await monitor.probe(box)
        except Exception as error:
            return Sample(monitor.NAME, box.now(), error=f"{type(error).__name__}: {error}")

    async def probe_all() -> list[Sample]:
        wanted = [one for one in monitors.values() if one.enabled(box.settings)]
        return list(await asyncio.gather(*(probe(one) for one in wanted)))

    return asyncio.run(probe_all())


def _as_seen(snapshot: Snapshot, daemon: DaemonView) -> Snapshot:
    return replace(snapshot, daemon=daemon)
