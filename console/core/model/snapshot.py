"""The snapshot: one immutable object that every view renders."""

from __future__ import annotations

from enum import StrEnum

from console.core.model.events import Event
from console.core.model.time import Moment
from console.core.model.views import (
    Alert,
    BaselineView,
    DaemonView,
    MonitorView,
    PipelineView,
    QueueView,
    RoleView,
    WatchdogView,
)
from console.core.records import Record


class Verdict(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


class Snapshot(Record, frozen=True):
    """The immutable state that a frame renders."""

    host: str
    box: str
    """Display name of the box: its state directory or configuration."""
    moment: Moment
    """When the snapshot was composed."""
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    """The causes of the verdict, worst first."""
    follows: tuple[str, ...] = ()
    """Consequences of the causes, each with its cause."""
    root_cause: str = ""
    """The role or monitor of the first cause, or `daemon`."""
    since: Moment | None = None
    """When the verdict last changed."""
    roles: tuple[RoleView, ...] = ()
    queue: QueueView = QueueView("")
    watchdog: WatchdogView = WatchdogView()
    pipeline: PipelineView = PipelineView()
    baseline: BaselineView = BaselineView()
    monitors: tuple[MonitorView, ...] = ()
    events: tuple[Event, ...] = ()
    """Newest last."""
    daemon: DaemonView = DaemonView()
    alerts: tuple[Alert, ...] = ()
    """The open alerts, worst first."""
    notices: tuple[str, ...] = ()
    """Hints about the configuration and the state directory."""
    unwritable_reason: str = ""
    """Why the state cannot be written; empty if it can."""

    def role(self, name: str) -> RoleView | None:
        """Return the view of the role called `name`, or None."""
        return next((view for view in self.roles if view.role.name == name), None)

    def monitor(self, name: str) -> MonitorView | None:
        """Return the view of the monitor called `name`, or None."""
        return next((view for view in self.monitors if view.name == name), None)
