"""Duties of the daemon that follow from snapshots: alerts, baseline runs, hand-over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from console.core.handover import builder
from console.core.handover.markdown import render_markdown
from console.core.model.events import EventKind
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import Alert
from console.core.text import time_parsing
from console.runtime.alerts.alerting import ACTOR, AlertManager
from console.runtime.alerts.hook_notifier import HookNotifier
from console.runtime.baseline import runs
from console.system.box import Box

HANDOVER_INTERVAL_S = 60.0
MAX_HANDOVER_EVENTS = 5_000


class DaemonDuties:
    """Duties that the daemon performs on its snapshots.

    An error in one duty is recorded as an event and does not stop the others.
    """

    def __init__(
        self,
        box: Box,
        refresh_view: Callable[[], None],
    ) -> None:
        self.box = box
        self.refresh_view = refresh_view
        """Makes the view read the events that the duties have written."""
        self._last_alert_check: Moment | None = None
        self._last_handover: tuple[Moment, str] | None = None
        """Moment and verdict of the hand-over that was written last."""
        self._recorded_troubles: set[str] = set()
        """Troubles that are recorded as events, each without its duration."""
        self.alert_manager = AlertManager(self.box)
        self.hook_notifier = HookNotifier(self.box, self._on_hook_failed)

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Handle every snapshot until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hook_notifier.run(), name="alert hook")
            async for snapshot in snapshots:
                await self.handle_snapshot(snapshot)

    async def handle_snapshot(self, snapshot: Snapshot) -> None:
        """Update alerts and the baseline run, and write the hand-over, each if it is due."""
        interval_s = self.box.settings.alerts.look_s
        if self._last_alert_check is None:  # one interval for the monitors to start
            self._last_alert_check = snapshot.moment
        if snapshot.moment.since(self._last_alert_check) >= interval_s:
            self._last_alert_check = snapshot.moment
            transitions, *_ = await self._run_isolated(
                lambda: self.alert_manager.update(snapshot),
                lambda: runs.update_run(self.box),
                self.refresh_view,
            )
            for state, alert in transitions if isinstance(transitions, list) else ():
                self.hook_notifier.notify(state, alert)
        if self._is_handover_due(snapshot):
            self._last_handover = snapshot.moment, snapshot.verdict.value
            await self._run_isolated(lambda: self._write_handover(snapshot))

    async def _run_isolated(self, *steps: Callable[[], object]) -> list[object]:
        """Run the steps in one call into a thread, and return their results.

        An error in a step is recorded, yields None and does not stop the others.
        """
        return await asyncio.to_thread(lambda: [self._run_step(step) for step in steps])

    def _run_step(self, step: Callable[[], object]) -> object:
        try:
            return step()
        except Exception as error:
            self._record_trouble(f"{type(error).__name__}: {error}"[:300])
            return None

    def _record_trouble(self, message: str) -> None:
        # The duration differs each time and would make each message a new trouble.
        trouble = message.partition(" does not answer since ")[0]
        if trouble not in self._recorded_troubles and len(self._recorded_troubles) < 100:
            self._recorded_troubles.add(trouble)
            self.box.record_or_queue(EventKind.NOTICED, actor=ACTOR, reason=f"upkeep: {message}")

    def _on_hook_failed(self, alert: Alert, trouble: str) -> None:
        reason = f"the alert hook was not told of {alert.key}: {trouble}"
        self.box.record_or_queue(
            EventKind.NOTICED, actor=ACTOR, reason=reason, data={"key": alert.key}
        )

    # --- the hand-over ---------------------------------------------------------------------

    def _is_handover_due(self, snapshot: Snapshot) -> bool:
        if self._last_handover is None:
            return True
        at, verdict = self._last_handover
        return snapshot.verdict.value != verdict or snapshot.moment.since(at) >= HANDOVER_INTERVAL_S

    def _write_handover(self, snapshot: Snapshot) -> None:
        """Write the hand-over, `handover.md`. Raises FileError, StoreError."""
        events = self.box.store.events(limit=MAX_HANDOVER_EVENTS)
        document = builder.build_handover(
            snapshot, events, time_parsing.moment_ago(time_parsing.DAY_S, snapshot.moment)
        )
        self.box.outside_directory.write("handover.md", render_markdown(document))
