"""The scripted night: the snapshot from which screenshots and tests of the screen are drawn."""

from __future__ import annotations

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner, Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import (
    BaselineView,
    DaemonView,
    MetricView,
    MonitorView,
    PipelineView,
    QueueView,
    RoleView,
    WatchdogView,
)

BOOT_ID = "5f0c2b7e"
STARTED_AT_S = 1_795_305_630.0
NOW = Moment(STARTED_AT_S + 19_260.0, 419_260.0, BOOT_ID)
HEALTHY_REASON = "all roles run, all monitors are content"
DOWN_REASON = "worker: not running; backoff: restart 1 of 3"
WORKER_COMMAND = "rpa_worker.py --server http://127.0.0.1:8091 --interval 0.5 --log-level INFO"


def moment_ago(seconds: float) -> Moment:
    """Return the moment that many seconds before `NOW`."""
    return NOW.plus(-seconds)


def make_process(pid: int, ppid: int, command: str, age_s: float) -> Process:
    """Return a process that started `age_s` seconds ago."""
    started = moment_ago(age_s)
    identity = Identity(pid, int(started.tick * 100), BOOT_ID)
    return Process(identity, ppid, tuple(command.split()), started)


def make_worker(pid: int = 40864, age_s: float = 11_237.0, leased: bool = True) -> Instance:
    """Return one worker instance: a launcher and its interpreter."""
    pair = (
        make_process(pid, 40_861 if leased else 900, f".venv/bin/python {WORKER_COMMAND}", age_s),
        make_process(pid + 6, pid, f"/usr/bin/python3.11 {WORKER_COMMAND}", age_s - 0.1),
    )
    return Instance("worker", pair, leased=leased, token=41 if leased else None)


def roles() -> tuple[RoleView, ...]:
    """Return two roles: a worker that died at 02:14 and was restarted, and an adopted watchdog."""
    worker = make_worker()
    watchdog = Instance(
        "watchdog",
        (make_process(27428, 1, "python task_watchdog.py --interval 60 --auto-recover", 24_228.0),),
    )
    died = Event(
        EventKind.DIED,
        moment_ago(11_243.0),
        "worker",
        "shim",
        "killed by signal 9 after 2h11m",
        Identity(39120, 40_012_300, BOOT_ID),
        40,
    )
    owner = Owner(
        worker.identity, 41, worker.root.started, make_process(40861, 1, "shim", 11_238.0).identity
    )
    return (
        RoleView(
            Role("worker", "rpa_worker.py", ("python", "rpa_worker.py")),
            RoleState.READY,
            since=worker.root.started,
            instances=(worker,),
            lease=Lease(LeaseState.HELD, owner, (40861, 40864)),
            token=41,
            usage={40864: (1.4, 50_331_648)},
            restarts=0,
            restarts_total=1,
            last_death=died,
        ),
        RoleView(
            Role("watchdog", "task_watchdog.py", ("python", "task_watchdog.py")),
            RoleState.READY,
            since=watchdog.root.started,
            instances=(watchdog,),
            usage={27428: (0.1, 23_068_672)},
        ),
    )


def monitors() -> tuple[MonitorView, ...]:
    """Return five monitors, all of them on time."""
    rows = (
        ("canary", 1800.0, 1042.0, "answered in 1.17 s: 0.31 queue, 0.86 work"),
        ("worker", 300.0, 122.0, "worker 1, watchdog 1"),
        ("watchdog", 60.0, 14.0, "heartbeat 12 s old"),
        ("queue", 5.0, 2.0, "3 waiting, 1 in work, 212 done"),
        ("pipeline", 60.0, 41.0, "7 channels, no anomaly"),
    )
    return tuple(
        MonitorView(
            name,
            every,
            Health(HealthState.OK),
            Sample(name, moment_ago(age)),
            moment_ago(age).plus(every),
            result,
        )
        for name, every, age, result in rows
    )


def baseline() -> BaselineView:
    """Return a baseline at 31 % of eight hours, which one more restart makes fail."""
    return BaselineView(
        "collecting",
        moment_ago(8928.0),
        moment_ago(8928.0).plus(28_800.0),
        0.31,
        0.99,
        (
            MetricView("success_rate", 98.2, "%", ">= 95", "pass", 212),
            MetricView("latency_s", 1.31, "s", "< 5", "pass", 6),
            MetricView("uptime", 100.0, "%", ">= 100", "pass", 1786),
            MetricView("queue_size", 3.0, "", "< 10", "pass", 1786),
            MetricView(
                "restarts", 0.0, "", "<= 0", "undecided", 0, "passes unless there is 1 more restart"
            ),
        ),
        longest_gap=(moment_ago(7000.0), 89.0),
    )


def events() -> tuple[Event, ...]:
    """Return the event log of the night, oldest first."""
    old, new = Identity(39120, 40_012_300, BOOT_ID), make_worker().identity
    watchdog = Identity(27428, 39_503_200, BOOT_ID)
    rows = (
        (19_200.0, EventKind.DAEMON_STARTED, "", "cli:ana@pts/3", "five monitors", None),
        (19_198.0, EventKind.ADOPTED, "watchdog", "outside", "its launcher had ended", watchdog),
        (19_140.0, EventKind.STARTED, "worker", "cli:ana@pts/3", "ensure: none was found", old),
        (19_131.0, EventKind.READY, "worker", "policy", "its first task was done", old),
        (11_243.0, EventKind.DIED, "worker", "shim", "killed by signal 9 after 2h11m", old),
        (11_243.0, EventKind.VERDICT_CHANGED, "", "daemon", DOWN_REASON, None),
        (11_237.0, EventKind.STARTED, "worker", "policy", "restart 1 of 3", new),
        (11_229.0, EventKind.READY, "worker", "policy", "its first task was done", new),
        (11_229.0, EventKind.VERDICT_CHANGED, "", "daemon", HEALTHY_REASON, None),
        (9010.0, EventKind.CONFIRMED, "watchdog", "cli:cron", "ensure: it runs already", watchdog),
        (8928.0, EventKind.BASELINE_STARTED, "", "console:ana@pts/3", "8 hours", None),
        (5410.0, EventKind.CONFIRMED, "worker", "cli:cron", "ensure: it runs already", new),
        (1820.0, EventKind.REFUSED, "worker", "cli:bo@pts/5", "kill: PID 39120 is gone", old),
    )
    return tuple(
        Event(
            kind,
            moment_ago(age),
            role,
            actor,
            reason,
            identity,
            _token_of(identity),
            _verdict_data(reason),
            number,
        )
        for number, (age, kind, role, actor, reason, identity) in enumerate(rows)
    )


def _verdict_data(reason: str) -> dict[str, str]:
    """Return the event data of a verdict change with this reason; empty for other reasons."""
    return {HEALTHY_REASON: {"verdict": "healthy"}, DOWN_REASON: {"verdict": "down"}}.get(
        reason, {}
    )


def _token_of(identity: Identity | None) -> int | None:
    return {39120: 40, 40864: 41}.get(identity.pid) if identity else None


def queue() -> QueueView:
    """Return a queue with three waiting tasks, one in flight, and four of 216 failed."""
    return QueueView(
        "http://127.0.0.1:8091",
        HealthState.OK,
        "",
        moment_ago(2.0),
        3,
        0,
        3,
        0,
        1,
        212,
        4,
        98.2,
        1.31,
        oldest_s=42.0,
        lease_s=1.0,
        last_finished=moment_ago(21.0),
        drain_s=96.0,
    )


def healthy_snapshot() -> Snapshot:
    """Return the snapshot at `NOW`: healthy since the restart."""
    return Snapshot(
        host="robot-7",
        box="invoices",
        moment=NOW,
        verdict=Verdict.HEALTHY,
        since=moment_ago(11_229.0),
        roles=roles(),
        queue=queue(),
        watchdog=WatchdogView(
            HealthState.OK, "", moment_ago(14.0), 27428, moment_ago(24_228.0), moment_ago(12.0)
        ),
        pipeline=PipelineView(
            HealthState.OK,
            "",
            moment_ago(41.0),
            moment_ago(41.0),
            "read",
            (),
            (("queue_size", 3.0, "ok"), ("success_rate", 98.2, "ok"), ("latency_p95", 2.4, "ok")),
            {"canary": "in 12m", "report": "06:00"},
        ),
        baseline=baseline(),
        monitors=monitors(),
        events=events(),
        daemon=DaemonView(True, 38_002, moment_ago(19_200.0), reason="launcher ended: normal"),
    )
