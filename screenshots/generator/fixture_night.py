"""One scripted night: the state that pictures and tests of the screen are drawn from."""

from __future__ import annotations

from console.core.model import (
    BaselineView,
    DaemonView,
    Event,
    EventKind,
    Health,
    HealthState,
    Identity,
    Instance,
    Lease,
    LeaseState,
    MetricView,
    Moment,
    MonitorView,
    Owner,
    PipelineView,
    Process,
    QueueView,
    Role,
    RoleState,
    RoleView,
    Sample,
    Snapshot,
    Verdict,
    WatchdogView,
)

BOOT = "5f0c2b7e"
START = 1_795_305_630.0
NOW = Moment(START + 19_260.0, 419_260.0, BOOT)
WELL = "all roles run, all monitors are content"
DOWN = "worker: not running; backoff: restart 1 of 3"
WORKER = "rpa_worker.py --server http://127.0.0.1:8091 --interval 0.5 --log-level INFO"


def past(seconds: float) -> Moment:
    """The moment so many seconds before the night's now."""
    return NOW.plus(-seconds)


def process(pid: int, ppid: int, command: str, age: float) -> Process:
    """A process that started `age` seconds ago."""
    started = past(age)
    identity = Identity(pid, int(started.tick * 100), BOOT)
    return Process(identity, ppid, tuple(command.split()), started)


def worker(pid: int = 40864, age: float = 11_237.0, leased: bool = True) -> Instance:
    """A launcher and its interpreter: one worker."""
    pair = (
        process(pid, 40_861 if leased else 900, f".venv/bin/python {WORKER}", age),
        process(pid + 6, pid, f"/usr/bin/python3.11 {WORKER}", age - 0.1),
    )
    return Instance("worker", pair, leased=leased, token=41 if leased else None)


def roles() -> tuple[RoleView, ...]:
    """A worker that died at 02:14 and was repaired, and an adopted watchdog."""
    one = worker()
    dog = Instance(
        "watchdog",
        (process(27428, 1, "python task_watchdog.py --interval 60 --auto-recover", 24_228.0),),
    )
    died = Event(
        EventKind.DIED,
        past(11_243.0),
        "worker",
        "shim",
        "killed by signal 9 after 2h11m",
        Identity(39120, 40_012_300, BOOT),
        40,
    )
    owner = Owner(one.identity, 41, one.root.started, process(40861, 1, "shim", 11_238.0).identity)
    return (
        RoleView(
            Role("worker", "rpa_worker.py", ("python", "rpa_worker.py")),
            RoleState.READY,
            since=one.root.started,
            instances=(one,),
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
            since=dog.root.started,
            instances=(dog,),
            usage={27428: (0.1, 23_068_672)},
        ),
    )


def monitors() -> tuple[MonitorView, ...]:
    """Five monitors, all on time."""
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
            Sample(name, past(age)),
            past(age).plus(every),
            result,
        )
        for name, every, age, result in rows
    )


def baseline() -> BaselineView:
    """31 % of eight hours, and the one restart that will cost it."""
    return BaselineView(
        "collecting",
        past(8928.0),
        past(8928.0).plus(28_800.0),
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
        gap=(past(7000.0), 89.0),
    )


def events() -> tuple[Event, ...]:
    """The ledger of the night, newest last."""
    old, new = Identity(39120, 40_012_300, BOOT), worker().identity
    dog = Identity(27428, 39_503_200, BOOT)
    rows = (
        (19_200.0, EventKind.DAEMON_STARTED, "", "cli:ana@pts/3", "five monitors", None),
        (19_198.0, EventKind.ADOPTED, "watchdog", "outside", "its launcher had ended", dog),
        (19_140.0, EventKind.STARTED, "worker", "cli:ana@pts/3", "ensure: none was found", old),
        (19_131.0, EventKind.READY, "worker", "policy", "its first task was done", old),
        (11_243.0, EventKind.DIED, "worker", "shim", "killed by signal 9 after 2h11m", old),
        (11_243.0, EventKind.VERDICT_CHANGED, "", "daemon", DOWN, None),
        (11_237.0, EventKind.STARTED, "worker", "policy", "restart 1 of 3", new),
        (11_229.0, EventKind.READY, "worker", "policy", "its first task was done", new),
        (11_229.0, EventKind.VERDICT_CHANGED, "", "daemon", WELL, None),
        (9010.0, EventKind.CONFIRMED, "watchdog", "cli:cron", "ensure: it runs already", dog),
        (8928.0, EventKind.BASELINE_STARTED, "", "console:ana@pts/3", "8 hours", None),
        (5410.0, EventKind.CONFIRMED, "worker", "cli:cron", "ensure: it runs already", new),
        (1820.0, EventKind.REFUSED, "worker", "cli:bo@pts/5", "kill: PID 39120 is gone", old),
    )
    return tuple(
        Event(
            kind, past(age), role, actor, reason, identity, _token(identity), _said(reason), number
        )
        for number, (age, kind, role, actor, reason, identity) in enumerate(rows)
    )


def _said(reason: str) -> dict[str, str]:
    """What a change of the verdict has beside its reason."""
    return {WELL: {"verdict": "healthy"}, DOWN: {"verdict": "down"}}.get(reason, {})


def _token(identity: Identity | None) -> int | None:
    return {39120: 40, 40864: 41}.get(identity.pid) if identity else None


def queue() -> QueueView:
    """Three waiting, one in flight, four of 216 failed."""
    return QueueView(
        "http://127.0.0.1:8091",
        HealthState.OK,
        "",
        past(2.0),
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
        finished=past(21.0),
        drain_s=96.0,
    )


def night() -> Snapshot:
    """The whole: healthy again since the repair."""
    return Snapshot(
        host="robot-7",
        box="invoices",
        moment=NOW,
        verdict=Verdict.HEALTHY,
        since=past(11_229.0),
        roles=roles(),
        queue=queue(),
        watchdog=WatchdogView(HealthState.OK, "", past(14.0), 27428, past(24_228.0), past(12.0)),
        pipeline=PipelineView(
            HealthState.OK,
            "",
            past(41.0),
            past(41.0),
            "read",
            (),
            (("queue_size", 3.0, "ok"), ("success_rate", 98.2, "ok"), ("latency_p95", 2.4, "ok")),
            {"canary": "in 12m", "report": "06:00"},
        ),
        baseline=baseline(),
        monitors=monitors(),
        events=events(),
        daemon=DaemonView(True, 38_002, past(19_200.0), reason="launcher ended: normal"),
    )
