"""Every record that travels through the house. Frozen, typed, and ignorant of the machine.

Data goes one way: machine -> `Sample` -> store -> `Health` -> `Snapshot` -> pane.
Commands go one way: key -> `Command` -> permit -> lease -> process -> `Event` -> next snapshot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, Protocol

from console.core.frozen import frozen
from console.core.secret_redaction import command_line

# --- time -----------------------------------------------------------------------------------


@frozen
class Moment:
    """A point in time, kept twice: UTC for people, a clock nobody can set for intervals."""

    at: float
    """Seconds since the Unix epoch, UTC."""
    tick: float = 0.0
    """Seconds since boot, suspend included (`CLOCK_BOOTTIME`)."""
    boot: str = ""
    """The kernel's boot id: ticks of different boots cannot be compared."""

    def since(self, earlier: Moment) -> float:
        """Seconds from `earlier` to this moment, never negative.

        Within one boot a clock that was set makes no difference; across boots UTC is all there is.
        A moment of another boot that UTC puts into the future is as old as this boot, at least.
        """
        if self.boot and self.boot == earlier.boot:
            return max(0.0, self.tick - earlier.tick)
        if self.boot and earlier.boot and earlier.at > self.at:
            return max(0.0, self.tick)
        return max(0.0, self.at - earlier.at)

    def later_than(self, other: Moment) -> bool:
        """Whether this moment follows `other`: by ticks within one boot, else by UTC."""
        if self.boot and self.boot == other.boot:
            return self.tick > other.tick
        return self.at > other.at

    def latest(self, other: Moment | None) -> Moment:
        """The later one of the two."""
        return self if other is None or self.later_than(other) else other

    def read_at(self, now: Moment) -> float:
        """The Unix time of this moment on the clock as `now` reads it.

        It differs from `at` where the clock was set between the two within one boot.
        """
        if self.boot and self.boot == now.boot:
            return now.at + (self.tick - now.tick)
        return self.at

    def until(self, later: Moment) -> float:
        """Seconds from this moment to `later`, negative when that is over; by ticks in one boot."""
        if self.boot and self.boot == later.boot:
            return later.tick - self.tick
        return later.at - self.at

    def plus(self, seconds: float) -> Moment:
        """This moment moved by `seconds` on both clocks."""
        return Moment(self.at + seconds, self.tick + seconds, self.boot)


# --- processes ------------------------------------------------------------------------------


@frozen
class Identity:
    """Which process, for certain: a PID alone is a name that the kernel gives away again."""

    pid: int
    ticks: int
    """Kernel start time, clock ticks since boot (field 22 of `/proc/PID/stat`)."""
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.ticks}:{self.boot}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """The inverse of `str()`. Raises ValueError."""
        pid, ticks, boot = text.split(":", 2)
        if not (len(pid) < 20 and len(ticks) < 20):
            raise ValueError(f"{text[:100]!r} names no process")
        return cls(int(pid), int(ticks), boot)


@frozen
class Process:
    """One process as it was seen."""

    identity: Identity
    ppid: int
    argv: tuple[str, ...]
    started: Moment
    state: str = "S"
    """The kernel's letter: R running, S sleeping, D uninterruptible, T stopped, Z zombie."""
    cwd: str | None = None
    """Read for candidates only; None where unread or not permitted."""
    exe: str | None = None
    """The program file behind argv[0], read for candidates only."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The variables that tell boxes apart, read for candidates only."""
    uid: int | None = None
    """The effective user, read for candidates only; None where it could not be read."""
    nested: bool = False
    """It runs in a PID namespace below ours, as in a container; read for candidates only."""

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def command(self) -> str:
        """The command line for reading, not for parsing: without secrets, not yet `visible`."""
        return command_line(self.argv)


@frozen
class Instance:
    """One worker: a process tree whose root matches the role. Launchers are part of it."""

    role: str
    processes: tuple[Process, ...]
    """Root first, then its matching descendants and other children, by PID."""
    leased: bool = False
    """A process of this tree holds the role's lease."""
    token: int | None = None
    """The fencing token of the grant under which it was started; None when adopted."""
    box: str | None = None
    """The state directory that runs it, where that is not this box's own."""

    @property
    def root(self) -> Process:
        return self.processes[0]

    @property
    def identity(self) -> Identity:
        return self.root.identity

    @property
    def pid(self) -> int:
        return self.root.pid

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self.processes)

    @property
    def adopted(self) -> bool:
        """It runs without a lease of this machine's boxes: something else started it."""
        return not self.leased and self.box is None

    @property
    def launcher_ended(self) -> bool:
        """Its launcher is gone and it runs on by itself: normal for a background job."""
        return self.adopted and self.root.ppid <= 1

    def uptime(self, now: Moment) -> float:
        """Seconds since the root started."""
        return now.since(self.root.started)


@frozen
class LookAlike:
    """A process that runs a role's script and is not an instance of the role."""

    identity: Identity
    user: str
    """Its user's name; the number where the name is not known."""
    why: str
    """Why it does not count: `another user's process`, `in a container`."""
    command: str = ""
    """Hostile text: clean it before a screen."""
    box: str = ""
    """The state directory of the rpa-console that verifiably leases it, as far as we may read."""


# --- roles ----------------------------------------------------------------------------------


@frozen
class RestartPolicy:
    """When a role that died is started again without a person."""

    enabled: bool = True
    backoff_s: float = 5.0
    backoff_max_s: float = 60.0
    limit: int = 3
    """At most this many automatic restarts within `window_s`; then the role is parked."""
    window_s: float = 600.0
    healthy_s: float = 60.0
    """A run of this length resets the back-off."""
    unpark_s: float = 3600.0
    """A healthy run of this length releases a parked role's history."""
    stalled: str = "report"
    """What is done about a living worker that evidently does no work: `report` or `restart`."""


@frozen
class Role:
    """A kind of process that should run `count` times, and how to know and start it."""

    name: str
    match: str
    """Base name of the script or program, or a path that ends in it."""
    command: tuple[str, ...] = ()
    """Empty: it can be watched and ended, not started."""
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    match_args: tuple[str, ...] = ()
    """Whole words that stand in this order among the script's own arguments."""
    match_cwd: str | None = None
    match_env: Mapping[str, str] = field(default_factory=dict)
    real_match: str | None = None
    """The script's full path with its symbolic links resolved, as of the present look."""
    real_cwd: str | None = None
    """`match_cwd` with its symbolic links resolved, as of the present look."""
    user: str | None = None
    """Whose processes are meant, and as whom one is started; None: the user of this program."""
    scope: str = "user"
    """Among whose processes there is one: `user`, or `machine` for those of all users."""
    containers: bool = False
    """Whether workers in containers on this machine count as well."""
    count: int = 1
    keep: str = "oldest"
    """Which instance stays when there are too many: `oldest` or `newest`."""
    grace_s: float = 10.0
    """From the polite signal to the one that cannot be refused."""
    settle_s: float = 0.5
    """A new worker counts as started when it has outlived this."""
    autostart: bool = True
    """A daemon starts it when the ledger has never seen it; without a `command` it cannot."""
    policy: RestartPolicy = RestartPolicy()


class RoleState(StrEnum):
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    """Alive, and not yet seen to work."""
    READY = "READY"
    """Alive, and seen to work since it started."""
    STALLED = "STALLED"
    """Alive, and evidently doing nothing."""
    STOPPING = "STOPPING"
    BACKOFF = "BACKOFF"
    PARKED = "PARKED"
    UNKNOWN = "UNKNOWN"


class LeaseState(StrEnum):
    FREE = "free"
    HELD = "held"
    ORPHANED = "orphaned"
    """Held, and its owner is gone: a leftover of the worker keeps the lock."""
    REPLACED = "replaced"
    """The lock file is not the one that was locked: somebody removed or replaced it."""
    UNKNOWN = "unknown"


@frozen
class Owner:
    """What the shim wrote beside the lock: information, never proof."""

    identity: Identity
    token: int
    since: Moment
    shim: Identity | None = None
    actor: str = ""
    log: str = ""


@frozen
class Lease:
    """The right to run, as seen without taking it."""

    state: LeaseState
    owner: Owner | None = None
    holders: tuple[int, ...] = ()
    """PIDs that really hold the lock's descriptor, shim included."""
    reason: str = ""


# --- observation ----------------------------------------------------------------------------


@frozen
class Sample:
    """One observation by one monitor. `error` set: it could not look, so nothing is known."""

    monitor: str
    moment: Moment
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""
    error: str | None = None
    id: int = 0


class HealthState(StrEnum):
    OK = "ok"
    FAILING = "failing"
    OVERDUE = "overdue"
    UNKNOWN = "unknown"
    OFF = "off"


@frozen
class Health:
    """A judgement on a monitor's history."""

    state: HealthState
    reason: str = ""
    severe: bool = True
    """False: it works, but worse than it should."""
    kind: str = ""
    """What is wrong, where one monitor knows several troubles: `tasks`, `long`, `silent`."""
    critical: bool = False
    """An alert about it is critical, also where `severe` is not."""


class System(Protocol):
    """What a probe may ask of the machine. `console.system.box.Box` is it."""


# --- commands and the ledger ----------------------------------------------------------------


class Verb(StrEnum):
    ENSURE = "ensure"
    RESTART = "restart"
    KILL = "kill"
    END_DUPLICATES = "end-duplicates"
    CANARY = "canary"
    BASELINE = "baseline"
    START_DAEMON = "start-daemon"
    ACKNOWLEDGE = "acknowledge"
    """Its `role` is the alert's key; without one, every alert that stands."""


@frozen
class Command:
    """What somebody asks for, bound to what they saw when they asked."""

    verb: Verb
    role: str = ""
    actor: str = ""
    target: Identity | None = None
    """The instance on the operator's screen; refused when that is no longer the one."""
    token: int | None = None
    force: bool = False
    dry_run: bool = False


@frozen
class Outcome:
    """What became of a command. `code` is the command line's exit code."""

    done: bool
    message: str
    code: int = 0
    pid: int | None = None
    changed: bool = False


class EventKind(StrEnum):
    """Past tense: what happened."""

    STARTED = "started"
    ADOPTED = "adopted"
    READY = "ready"
    STALLED = "stalled"
    ASKED = "asked"
    """A restart or kill is about to end an instance: written before the first signal."""
    DIED = "died"
    ENDED = "ended"
    """A command ended an instance."""
    CONFIRMED = "confirmed"
    """An ensure found what it wanted."""
    REFUSED = "refused"
    FAILED = "failed"
    PARKED = "parked"
    RELEASED = "released"
    MONITOR_CHANGED = "monitor-changed"
    VERDICT_CHANGED = "verdict-changed"
    DAEMON_STARTED = "daemon-started"
    DAEMON_STOPPED = "daemon-stopped"
    BASELINE_STARTED = "baseline-started"
    BASELINE_ENDED = "baseline-ended"
    NOTICED = "noticed"
    ALERT_RAISED = "alert-raised"
    ALERT_RESOLVED = "alert-resolved"
    ALERT_ACKNOWLEDGED = "alert-acknowledged"


@frozen
class Event:
    """One line of the append-only ledger."""

    kind: EventKind
    moment: Moment
    role: str = ""
    actor: str = ""
    """`policy`, `outside`, or a person: `console:ana@pts/3`, `cli:ana@pts/3`."""
    reason: str = ""
    identity: Identity | None = None
    token: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


# --- the snapshot ---------------------------------------------------------------------------


class Verdict(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@frozen
class RoleView:
    """One role, as it stands."""

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
    automatic: int = 0
    """All automatic restarts within the policy's window."""
    restarts_total: int = 0
    """Starts that followed a death or an end, by whomever, as far as the ledger goes back."""
    retry_at: Moment | None = None
    last_death: Event | None = None
    worked: Moment | None = None
    """When it was last seen to do its work, rather than to exist."""
    others: tuple[LookAlike, ...] = ()
    """Processes that run its script and do not count."""

    @property
    def found(self) -> int:
        return len(self.instances)


@frozen
class MonitorView:
    """One monitor: who watches, how fresh, when next."""

    name: str
    every_s: float
    health: Health
    last: Sample | None = None
    next_run: Moment | None = None
    result: str = ""
    """The last result in a few words."""


@frozen
class QueueView:
    """The queue, as its server tells of it."""

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
    """Percent, over the last hour; None while nothing was finished."""
    latency_s: float | None = None
    oldest_s: float | None = None
    """Age of the oldest waiting task."""
    lease_s: float | None = None
    """Age of the oldest task in flight."""
    lease_task: str = ""
    """That task's type and number, as far as the server names them."""
    finished: Moment | None = None
    """When a worker was last seen to have finished a task."""
    drain_s: float | None = None
    """Until what waits is done, at the pace of the last minutes of work; None: nothing is done."""
    idle: str = ""
    """Why nothing is done: the worker's state, where it is one in which it takes no task."""
    failures: tuple[tuple[str, str, int], ...] = ()
    """(task type, error, how often) among the last 20 tasks, most frequent first."""
    last: tuple[int, int] = (0, 0)
    """How many of the last 20 tasks are known, and how many of those failed."""
    note: str = ""
    """Why the results could not be read."""
    anew: str = ""
    """What the server lost when it began anew, within the last hour."""
    anew_at: Moment | None = None
    """The first look at the new server."""
    lost: int = 0
    """How many tasks were lost then."""


@frozen
class WatchdogView:
    """The watchdog, as its status file tells of it."""

    state: HealthState = HealthState.UNKNOWN
    reason: str = ""
    seen: Moment | None = None
    pid: int | None = None
    started: Moment | None = None
    heartbeat: Moment | None = None
    anomalies: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()
    path: str = ""


@frozen
class PipelineView:
    """The realtime pipeline, as its status file tells of it."""

    state: HealthState = HealthState.UNKNOWN
    reason: str = ""
    seen: Moment | None = None
    generated: Moment | None = None
    mode: str = ""
    """`read`: another program writes the file; `collect`: we do."""
    anomalies: tuple[str, ...] = ()
    channels: tuple[tuple[str, float | None, str], ...] = ()
    """(name, newest value, verdict in a word)."""
    next_runs: Mapping[str, str] = field(default_factory=dict)
    """Soonest first."""
    path: str = ""
    about: tuple[tuple[str, str], ...] = ()
    """(what, in words): the seeds, series and states that the file tells of."""
    once: bool = False
    """It was seen to run once; when it should run again is not known from its rhythm."""
    unseen: bool = False
    """We write the file because no other program was seen to."""


@frozen
class MetricView:
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
    def figure(self) -> str:
        """The value; `?` while nothing was seen, `lost` for a latency that has no end."""
        if self.value is not None:
            return f"{round(self.value, 3):.4g}"
        return "lost" if self.name == "latency_s" and self.n else "?"


@frozen
class BaselineView:
    """The baseline run under way, or what the last one has shown."""

    state: str = "off"
    """`off`, `collecting`, `complete` or `invalid`."""
    started: Moment | None = None
    checkpoint: Moment | None = None
    progress: float | None = None
    coverage: float | None = None
    metrics: tuple[MetricView, ...] = ()
    reason: str = ""
    gap: tuple[Moment, float] | None = None
    """The longest time that a monitor did not look: from when, seconds."""


@frozen
class Trouble:
    """Something that keeps the daemon from its work."""

    key: str
    words: str


@frozen
class DaemonView:
    """Who runs the monitors."""

    running: bool = False
    pid: int | None = None
    since: Moment | None = None
    here: bool = False
    """This very process runs them (`--no-daemon`)."""
    heartbeat: Moment | None = None
    """When its loop last turned."""
    reason: str = ""
    version: str = ""
    """Of the package that it was started from; empty where that is not known."""
    troubles: tuple[Trouble, ...] = ()
    """What it says of its own work."""


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@frozen
class Alert:
    """Something that a person should know of, from when it was raised until it is resolved."""

    key: str
    """`SUBJECT.PROBLEM`: `worker.down`."""
    severity: Severity
    title: str
    reason: str
    since: Moment
    acknowledged: str = ""
    """Who has taken note of it; empty while nobody has."""
    event: int = 0
    """The line of the ledger that raised it."""

    @property
    def subject(self) -> str:
        return self.key.partition(".")[0]


@frozen
class Snapshot:
    """The immutable whole that a frame renders."""

    host: str
    box: str
    """The box's name for people: its state directory or configuration."""
    moment: Moment
    """Now, as the snapshot was composed."""
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    """The causes, worst first."""
    follows: tuple[str, ...] = ()
    """What follows from the causes, each with the one that it follows from."""
    root: str = ""
    """The role or monitor that the first cause is about, or `daemon`."""
    since: Moment | None = None
    """Since when the verdict is what it is."""
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
    """What stands, worst first."""
    notices: tuple[str, ...] = ()
    unwritable: str = ""
    """Why the state cannot be written."""
    """What was not found and which line of configuration would name it; store troubles."""

    def role(self, name: str) -> RoleView | None:
        """The view of the role called `name`."""
        return next((view for view in self.roles if view.role.name == name), None)

    def monitor(self, name: str) -> MonitorView | None:
        """The view of the monitor called `name`."""
        return next((view for view in self.monitors if view.name == name), None)


# --- logs -----------------------------------------------------------------------------------


@frozen
class LogPage:
    """A window on a role's output. Lines are raw foreign text."""

    path: str
    lines: tuple[str, ...] = ()
    start: int = 0
    """Byte offset of the first line in the file."""
    end: int = 0
    """Byte offset after the last line: where following goes on."""
    size: int = 0
    error: str | None = None


@frozen
class Found:
    """How far a search through a log came."""

    line: int | None
    """Byte offset of the line that was found."""
    goes_on: int | None
    """Where to search on; None: there is no more."""
    size: int = 0
