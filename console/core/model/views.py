"""Views of the roles, the monitors and the panes, as parts of a snapshot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from console.core.model.events import Event
from console.core.model.processes import Identity, Instance, LookAlike
from console.core.model.roles import Lease, LeaseState, Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.records import Record, field


class RoleView(Record, frozen=True):
    """The current state of one role."""

    role: Role
    state: RoleState
    reason: str = ""
    since: Moment | None = None
    instances: tuple[Instance, ...] = ()
    surplus: Collection[Identity] = ()
    """Roots of the instances that the `keep` rule would end."""
    lease: Lease = Lease(LeaseState.FREE)
    token: int | None = None
    usage: Mapping[int, tuple[float | None, int]] = field(default_factory=dict)
    """Root PID -> (CPU percent of one core, resident bytes) over the whole tree."""
    restarts: int = 0
    """Automatic restarts within the policy's window that count towards its limit."""
    automatic_restarts: int = 0
    """All automatic restarts within the policy's window."""
    restarts_total: int = 0
    """Starts after a death or end, by any actor, as far as the event log goes back."""
    retry_at: Moment | None = None
    last_death: Event | None = None
    last_proof_of_work: Moment | None = None
    """When the role was last observed to work; existence alone is no work."""
    look_alikes: tuple[LookAlike, ...] = ()
    """Processes that run the role's script and are not instances of it."""

    @property
    def instance_count(self) -> int:
        return len(self.instances)


class MonitorView(Record, frozen=True):
    """One monitor: its health, its last sample and its next run."""

    name: str
    every_s: float
    health: Health
    last: Sample | None = None
    next_run: Moment | None = None
    result: str = ""
    """The last result in a few words."""


class QueueView(Record, frozen=True):
    """The queue, as its server reports it."""

    url: str
    state: HealthState = HealthState.UNKNOWN
    reason: str = ""
    seen: Moment | None = None
    size: int | None = None
    urgent: int | None = None
    normal: int | None = None
    low: int | None = None
    inflight: int | None = None
    completed: int | None = None
    failed: int | None = None
    success_rate: float | None = None
    """Percent, over the last hour; None if no task ended."""
    latency_s: float | None = None
    oldest_s: float | None = None
    """Age of the oldest waiting task."""
    lease_s: float | None = None
    """Age of the oldest task in flight."""
    lease_task: str = ""
    """Type and ID of that task, as far as the server reports them."""
    last_finished: Moment | None = None
    """When a worker was last observed to have finished a task."""
    drain_s: float | None = None
    """Seconds until the waiting tasks are done, at the throughput of the last minutes; None if no
    task is being finished."""
    idle_reason: str = ""
    """Why no task is finished: the worker's state, if it takes no task in that state."""
    failures: tuple[tuple[str, str, int], ...] = ()
    """(task type, error, how often) among the last 20 tasks, most frequent first."""
    last_task_counts: tuple[int, int] = (0, 0)
    """Number of the last 20 tasks whose result is known, and number of those that failed."""
    results_error: str = ""
    """Why the results could not be read."""
    loss_message: str = ""
    """Description of the loss in the server's last restart, within the last hour."""
    loss_at: Moment | None = None
    """When the first sample of the restarted server was taken."""
    lost_tasks: int = 0
    """Number of tasks that were lost in that restart."""


class WatchdogView(Record, frozen=True):
    """The watchdog, as its status file reports it."""

    state: HealthState = HealthState.UNKNOWN
    reason: str = ""
    seen: Moment | None = None
    pid: int | None = None
    started: Moment | None = None
    heartbeat: Moment | None = None
    anomalies: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()
    path: str = ""


class PipelineView(Record, frozen=True):
    """The realtime pipeline, as its status file reports it."""

    state: HealthState = HealthState.UNKNOWN
    reason: str = ""
    seen: Moment | None = None
    generated: Moment | None = None
    mode: str = ""
    """`read`: another program writes the file; `collect`: rpa-console writes it."""
    anomalies: tuple[str, ...] = ()
    channels: tuple[tuple[str, float | None, str], ...] = ()
    """(name, newest value, verdict in a word)."""
    next_runs: Mapping[str, str] = field(default_factory=dict)
    """Soonest first."""
    path: str = ""
    details: tuple[tuple[str, str], ...] = ()
    """(name, text): the seeds, series and states in the file."""
    ran_once: bool = False
    """True if one run was observed: the next one cannot be predicted from an interval."""
    has_no_other_writer: bool = False
    """True if rpa-console writes the file because no other program was observed to write it."""


class MetricView(Record, frozen=True):
    """One of the baseline's five metrics."""

    name: str
    value: float | None
    unit: str
    target: str
    verdict: str
    """`pass`, `fail` or `undecided`."""
    n: int = 0
    note: str = ""

    @property
    def formatted_value(self) -> str:
        """Return the value; `?` without measurements, `lost` for a latency without an end."""
        if self.value is not None:
            return f"{round(self.value, 3):.4g}"
        return "lost" if self.name == "latency_s" and self.n else "?"


class BaselineView(Record, frozen=True):
    """The baseline run in progress, or the result of the last one."""

    state: str = "off"
    """`off`, `collecting`, `complete` or `invalid`."""
    started: Moment | None = None
    checkpoint: Moment | None = None
    progress: float | None = None
    coverage: float | None = None
    metrics: tuple[MetricView, ...] = ()
    reason: str = ""
    longest_gap: tuple[Moment, float] | None = None
    """Start and length in seconds of the longest time without a sample of a monitor."""


class Trouble(Record, frozen=True):
    """A problem that keeps the daemon from its work."""

    key: str
    message: str


class DaemonView(Record, frozen=True):
    """The process that runs the monitors."""

    running: bool = False
    pid: int | None = None
    since: Moment | None = None
    in_this_process: bool = False
    """True if this process runs the monitors (`--no-daemon`)."""
    heartbeat: Moment | None = None
    """When the daemon's loop last ran."""
    reason: str = ""
    version: str = ""
    """Version of the package from which the daemon was started; empty if unknown."""
    troubles: tuple[Trouble, ...] = ()
    """The problems that the daemon reports about its own work."""


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Alert(Record, frozen=True):
    """A condition that an operator should know about, from its detection until it is resolved."""

    key: str
    """`SUBJECT.PROBLEM`: `worker.down`."""
    severity: Severity
    title: str
    reason: str
    since: Moment
    acknowledged: str = ""
    """The operator who acknowledged the alert; empty if it is not acknowledged."""
    event_id: int = 0
    """ID of the event that raised it."""

    @property
    def subject(self) -> str:
        return self.key.partition(".")[0]
