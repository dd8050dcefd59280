"""The snapshot of a box is built from samples, events and observations with their age."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import DaemonView
from console.core.snapshot.builder import (
    MAX_SNAPSHOT_EVENTS,
    MonitorInputs,
    SnapshotInputs,
    build_snapshot,
)
from console.core.supervision.role_codec import RoleObservation, encode_observation

NOW = Moment(1_000_000.0, 5_000.0, "boot")
WORKER = Role("worker", "rpa_worker.py", command=("python", "rpa_worker.py"))
OK = Health(HealthState.OK)
HELD = Lease(LeaseState.HELD)


def instance(pid: int, age: float, leased: bool = True, state: str = "S") -> Instance:
    started = NOW.plus(-age)
    identity = Identity(pid, int(started.tick * 100), "boot")
    process = Process(identity, 1, ("python", "rpa_worker.py"), started, state)
    return Instance("worker", (process,), leased, 3 if leased else None)


def sample(monitor: str, age: float = 1.0, error: str | None = None, **data: Any) -> Sample:
    return Sample(monitor, NOW.plus(-age), data, error)


def look(*instances: Instance, age: float = 1.0, lease: Lease = HELD) -> Sample:
    return sample(
        "worker", age, roles={"worker": encode_observation(RoleObservation(instances, lease))}
    )


def event(kind: EventKind, age: float, **more: Any) -> Event:
    return Event(kind, NOW.plus(-age), more.pop("role", "worker"), **more)


def snapshot(*samples: Sample, events: tuple[Event, ...] = (), **facts: Any) -> Snapshot:
    """Build the snapshot of the box from these samples, oldest first."""
    health = facts.pop("health", {})
    names = ("canary", "queue", "worker", "watchdog", "pipeline")
    monitors = {
        name: MonitorInputs(
            name,
            300.0,
            [one for one in samples if one.monitor == name],
            health.get(name, OK),
        )
        for name in names
    }
    daemon = DaemonView(True, 1)
    return build_snapshot(
        SnapshotInputs(
            "host", "box", "http://q", (WORKER,), monitors, events, daemon=daemon, **facts
        ),
        NOW,
    )


def state(shown: Snapshot) -> tuple[str, str]:
    view = shown.roles[0]
    return view.state.value, view.reason


def test_worker_is_ready_only_with_proof_of_work_since_its_start() -> None:
    young, old = instance(5, 60), instance(5, 7200)
    done = sample("canary", 600, ok=True)
    assert state(snapshot(look(young)))[0] == "RUNNING"
    assert state(snapshot(done, look(young)))[0] == "RUNNING"
    assert state(snapshot(done, look(old)))[0] == "READY"
    counted = [sample("queue", 30, completed=7), sample("queue", 20, completed=8)]
    assert state(snapshot(*counted, look(young)))[0] == "RUNNING", "a ping raises the counter too"
    answered = sample("queue", 20, worked_s=5.0, answered_s=0.0)
    assert state(snapshot(answered, look(young)))[0] == "READY"
    before_it = sample("queue", 20, worked_s=50.0, answered_s=0.0)
    assert state(snapshot(before_it, look(young)))[0] == "RUNNING"


def test_untaken_canary_makes_the_worker_stalled() -> None:
    words = "no worker took it within 30 s"
    failing = {"canary": Health(HealthState.FAILING, f"not taken: {words}")}
    last = sample("canary", 5, ok=False, failed_at="taken", detail=words)
    shown = snapshot(last, look(instance(5, 60)), health=failing)
    assert state(shown) == ("STALLED", f"canary not taken: {words}")
    assert shown.verdict is Verdict.DOWN
    late = {"canary": Health(HealthState.OVERDUE, "nobody has looked for an hour")}
    assert state(snapshot(last, look(instance(5, 60)), health=late))[0] == "RUNNING"
    refused = sample("canary", 5, ok=False, failed_at="accepted")
    assert state(snapshot(refused, look(instance(5, 60)), health=failing))[0] == "RUNNING"


def test_stalled_worker_is_ready_after_new_proof_of_work() -> None:
    stalled = event(EventKind.STALLED, 40, identity=instance(5, 600).identity)
    done = sample("canary", 300, ok=True)
    assert state(snapshot(done, look(instance(5, 600)), events=(stalled,)))[0] == "RUNNING"
    done = sample("canary", 20, ok=True)
    view = snapshot(done, look(instance(5, 600)), events=(stalled,)).roles[0]
    assert (view.state, view.last_proof_of_work) == (RoleState.READY, done.moment)


def test_stopped_worker_process_is_stalled() -> None:
    assert state(snapshot(look(instance(5, 60, state="T")))) == (
        "STALLED",
        "PID 5 is stopped (SIGSTOP)",
    )


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ((), "nobody has looked yet"),
        ((look(instance(5, 600), age=480.0),), "the worker monitor is overdue"),
        ((look(instance(5, 60)), sample("worker", 0.5, "PermissionError")), "could not look"),
        ((sample("worker", 1.0, roles="nonsense"),), "nobody has looked yet"),
        ((sample("worker", 1.0, roles={}),), "nobody has looked yet"),
    ],
)
def test_role_without_a_usable_observation_is_unknown(
    history: tuple[Sample, ...], words: str
) -> None:
    shown = snapshot(*history)
    found, reason = state(shown)
    assert found == "UNKNOWN"
    assert words in reason
    assert shown.roles[0].instances == ()
    assert shown.verdict is Verdict.UNKNOWN


def test_disabled_worker_monitor_leaves_roles_unknown() -> None:
    off = {"worker": Health(HealthState.OFF, "switched off")}
    assert state(snapshot(look(instance(5, 60)), health=off))[0] == "UNKNOWN"


def test_own_observation_takes_precedence_over_samples() -> None:
    seen = {"worker": RoleObservation((instance(9, 30),), HELD)}
    shown = snapshot(look(instance(5, 60)), observed_roles=seen)
    assert [one.pid for one in shown.roles[0].instances] == [9]


def test_surplus_follows_the_keep_rule() -> None:
    both = instance(5, 60), instance(6, 30, leased=False)
    shown = snapshot(look(*both))
    assert shown.roles[0].surplus == {both[1].identity}
    assert shown.verdict is Verdict.DEGRADED


def test_events_determine_since_and_restart_counts() -> None:
    identity = instance(4, 500).identity
    events = (
        event(EventKind.STARTED, 500, identity=identity),
        event(EventKind.DIED, 400, identity=identity, reason="ended by SIGKILL"),
        event(EventKind.STARTED, 390, actor="policy", identity=instance(5, 390).identity),
        event(EventKind.VERDICT_CHANGED, 100, role="", data={"verdict": "healthy"}),
    )
    others = [sample(name) for name in ("canary", "queue", "watchdog", "pipeline")]
    shown = snapshot(*others, look(instance(5, 390)), events=events)
    view = shown.roles[0]
    assert (view.restarts, view.restarts_total, view.token) == (1, 1, 3)
    assert view.last_death == events[1]
    assert (shown.verdict, shown.since) == (Verdict.HEALTHY, NOW.plus(-100))
    worse = snapshot(events=events)
    assert (worse.verdict, worse.since) == (Verdict.UNKNOWN, None)


def test_absent_role_is_in_backoff_until_its_retry_time() -> None:
    identity = instance(4, 500).identity
    events = (
        event(EventKind.STARTED, 500, identity=identity),
        event(EventKind.DIED, 2, identity=identity, data={"uptime_s": 498.0}),
    )
    view = snapshot(look(lease=Lease(LeaseState.FREE)), events=events).roles[0]
    assert view.state is RoleState.BACKOFF
    assert view.retry_at == NOW.plus(3)
    assert view.since == NOW.plus(-2)


def test_next_run_follows_from_the_last_sample() -> None:
    shown = snapshot(sample("queue", 100.0))
    queue = shown.monitor("queue")
    assert queue is not None
    assert queue.next_run == NOW.plus(200)
    canary = shown.monitor("canary")
    assert canary is not None
    assert (canary.next_run, canary.health.state) == (None, HealthState.UNKNOWN)


def test_snapshot_contains_only_the_newest_events() -> None:
    events = tuple(
        event(EventKind.NOTICED, 10_000 - n, id=n) for n in range(MAX_SNAPSHOT_EVENTS + 50)
    )
    assert snapshot(events=events).events == events[50:]


def test_worker_in_a_long_task_is_reported_busy() -> None:
    old, young = instance(5, 7200), instance(5, 60)
    held = sample("queue", 10, oldest_lease_s=90.0, lease_task="rpa 7a1c", worked_s=5.0)
    assert state(snapshot(held, look(old))) == ("READY", "busy: rpa for 1m")
    assert state(snapshot(held, look(young)))[1] == "seen to work", "a dead worker has left it"
    short = sample("queue", 1, oldest_lease_s=1.0, lease_task="rpa 7a1c", worked_s=5.0)
    assert state(snapshot(short, look(old)))[1] == "seen to work"
    over = sample("queue", 10, overrun_s=190.0, overrun_task="rpa", worked_s=5.0)
    assert state(snapshot(over, look(old)))[1] == "busy: rpa for 3m"


def test_sample_of_an_earlier_watchdog_does_not_judge_the_new_one() -> None:
    watchdog = Role("watchdog", "task_watchdog.py")

    def judged(uptime: float) -> HealthState:
        process = Process(Identity(9, 9, "b1"), 1, ("w",), NOW.plus(-uptime))
        seen = {
            "watchdog": RoleObservation((Instance("watchdog", (process,)),), Lease(LeaseState.FREE))
        }
        failing = Health(HealthState.FAILING, "no process matches: name it")
        looks = {"watchdog": MonitorInputs("watchdog", 30.0, [sample("watchdog", 10)], failing)}
        daemon = DaemonView(True, 1)
        facts = SnapshotInputs("host", "box", "http://q", (watchdog,), looks, (), seen, daemon)
        return build_snapshot(facts, NOW).monitors[0].health.state

    assert judged(5) is HealthState.OK
    assert judged(60) is HealthState.FAILING
