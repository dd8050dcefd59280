"""Alerts are raised once after two samples, and open alerts are derived from events only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.alerts import (
    UnconfirmedAlerts,
    detect_alerts,
    fold_open_alerts,
    update_alerts,
    update_reasons,
)
from console.core.baseline.thresholds import Thresholds
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import (
    Alert,
    BaselineView,
    MetricView,
    MonitorView,
    QueueView,
    RoleView,
    Severity,
)
from console.core.records import replace

NOW = Moment(1_762_165_640.0, 1000.0, "b1")
WORKER = Role("worker", "rpa_worker.py")
K = EventKind


def instance(pid: int) -> Instance:
    return Instance("worker", (Process(Identity(pid, 1, "b1"), 1, ("x",), NOW),))


def role(found: int, state: RoleState = RoleState.READY, name: str = "worker") -> RoleView:
    found_ = tuple(instance(pid) for pid in range(1, found + 1))
    return RoleView(replace(WORKER, name=name), state, "why", instances=found_)


def test_alert_reason_follows_the_role_state() -> None:
    death = Event(K.DIED, NOW, "worker", "shim", "exit code 1")
    waiting = replace(role(0, RoleState.BACKOFF), last_death=death, reason="restart 2 of 3")
    parked = replace(role(0, RoleState.PARKED), last_death=death, reason="3 restarts within 10m")
    (raised,) = detect_alerts(snapshot(waiting))
    assert raised.reason == "exit code 1", "a counter is out of date before it is read"
    acknowledged = replace(raised, acknowledged="ana", event_id=9)
    (now,) = update_reasons([acknowledged], detect_alerts(snapshot(parked)))
    assert now == replace(acknowledged, reason="exit code 1; 3 restarts within 10m")
    assert update_reasons([acknowledged], detect_alerts(snapshot(role(1)))) == (acknowledged,)


def monitor(name: str, state: HealthState, reason: str = "why", error: str = "") -> MonitorView:
    return MonitorView(name, 10.0, Health(state, reason), Sample(name, NOW, error=error or None))


def snapshot(*roles: RoleView, monitors: Sequence[MonitorView] = (), **more: object) -> Snapshot:
    return Snapshot("h", "b", NOW, Verdict.UNKNOWN, roles=roles, monitors=tuple(monitors), **more)  # type: ignore[arg-type]


def keys(found: Sequence[Alert]) -> list[str]:
    return [alert.key for alert in found]


GOOD = snapshot(role(1))
DOWN = snapshot(role(0, RoleState.BACKOFF))
BLIND = snapshot(role(0, RoleState.UNKNOWN))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (GOOD, []),
        (DOWN, [("worker.down", "critical")]),
        (snapshot(role(0, RoleState.STARTING)), []),
        (BLIND, []),
        (snapshot(role(2)), [("worker.duplicates", "critical")]),
        (
            snapshot(role(0, RoleState.PARKED)),
            [("worker.down", "critical"), ("worker.parked", "critical")],
        ),
        (snapshot(role(1, RoleState.STALLED)), [("worker.stalled", "critical")]),
        (snapshot(role(0, RoleState.STOPPED, "watchdog")), [("watchdog.down", "warning")]),
        (
            snapshot(replace(role(1), lease=Lease(LeaseState.ORPHANED, holders=(4,)))),
            [("worker.lease", "warning")],
        ),
        (
            snapshot(monitors=[monitor("queue", HealthState.FAILING, "no answer")]),
            [("queue.down", "critical")],
        ),
        (
            snapshot(
                monitors=[monitor("queue", HealthState.FAILING)], queue=QueueView("u", size=44)
            ),
            [("queue.long", "critical")],
        ),
        (
            snapshot(monitors=[monitor("canary", HealthState.FAILING, "not taken")]),
            [("canary.failing", "warning")],
        ),
        (snapshot(monitors=[monitor("worker", HealthState.FAILING)]), []),
        (
            snapshot(monitors=[monitor("pipeline", HealthState.OVERDUE)]),
            [("pipeline.blind", "warning")],
        ),
        (
            snapshot(monitors=[monitor("queue", HealthState.UNKNOWN, error="hung")]),
            [("queue.blind", "warning")],
        ),
        (
            snapshot(
                role(0, RoleState.STOPPED, "watchdog"),
                monitors=[monitor("watchdog", HealthState.FAILING)],
            ),
            [("watchdog.down", "warning")],
        ),
        (
            snapshot(
                baseline=BaselineView(
                    "collecting", metrics=(MetricView("restarts", 1, "", "<= 0", "fail"),)
                )
            ),
            [("baseline.failed", "info")],
        ),
        (snapshot(baseline=BaselineView("invalid")), [("baseline.invalid", "info")]),
    ],
)
def test_detect_alerts_maps_findings_to_keys_and_severities(
    view: Snapshot, expected: list[tuple[str, str]]
) -> None:
    assert [(one.key, one.severity.value) for one in detect_alerts(view)] == expected


LEARNT = Thresholds(92.0, 0.5, 8, 32)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (QueueView("u", size=8, success_rate=92.0, latency_s=0.5), []),
        (QueueView("u", size=9), [("queue.long", "warning")]),
        (QueueView("u", size=33), [("queue.long", "critical")]),
        (QueueView("u", latency_s=0.51), [("canary.slow", "warning")]),
    ],
)
def test_detect_alerts_uses_learnt_thresholds(
    view: QueueView, expected: list[tuple[str, str]]
) -> None:
    found = detect_alerts(snapshot(role(1), queue=view), LEARNT)
    assert [(one.key, one.severity.value) for one in found] == expected
    assert detect_alerts(snapshot(role(1), queue=view)) == ()


@pytest.mark.parametrize(
    ("health", "queue", "expected"),
    [
        (Health(HealthState.FAILING, "x", kind="tasks"), {}, ("queue.success", "critical")),
        (Health(HealthState.FAILING, "x", False, "tasks", True), {}, ("queue.success", "critical")),
        (Health(HealthState.FAILING, "x", False, "tasks"), {}, ("queue.success", "warning")),
        # A long queue that drains is a warning. One that does not drain is critical.
        (Health(HealthState.FAILING, "x", False, "long"), {"size": 30, "drain_s": 60.0},
         ("queue.long", "warning")),
        (Health(HealthState.FAILING, "x", False, "long"), {"size": 30}, ("queue.long", "critical")),
        (Health(HealthState.FAILING, "x", kind="silent"), {}, ("queue.down", "critical")),
        (Health(HealthState.OK), {"loss_message": "began anew: 3 waiting", "lost_tasks": 3},
         ("queue.lost", "critical")),
    ],
)  # fmt: skip
def test_detect_alerts_maps_queue_health_to_severity(
    health: Health, queue: dict[str, Any], expected: tuple[str, str]
) -> None:
    watched = [MonitorView("queue", 10.0, health)]
    view = snapshot(role(1), monitors=watched, queue=QueueView("u", **queue))
    assert [(one.key, one.severity.value) for one in detect_alerts(view)] == [expected]


def test_new_queue_server_without_lost_tasks_raises_no_alert() -> None:
    view = snapshot(role(1), queue=QueueView("u", loss_message="began anew: 5 results"))
    assert detect_alerts(view) == ()


class Book:
    """A daemon that evaluates snapshots and writes the alert events."""

    def __init__(self) -> None:
        self.watch, self.events = UnconfirmedAlerts(), list[Event]()

    @property
    def stand(self) -> tuple[Alert, ...]:
        return fold_open_alerts(self.events)

    def write(self, kind: EventKind, alert: Alert, actor: str = "daemon") -> None:
        data = {"key": alert.key, "severity": alert.severity.value, "title": alert.title}
        event = Event(kind, NOW, "", actor, alert.reason, data=data, id=len(self.events) + 1)
        self.events.append(event)

    def look(self, view: Snapshot) -> list[str]:
        self.watch, raised, resolved = update_alerts(self.watch, self.stand, view)
        for alert in raised:
            self.write(K.ALERT_RAISED, alert)
        for alert in resolved:
            self.write(K.ALERT_RESOLVED, alert)
        return [f"+{one.key}" for one in raised] + [f"-{one.key}" for one in resolved]


def test_alert_needs_two_samples_to_be_raised_and_to_be_resolved() -> None:
    daemon = Book()
    assert [daemon.look(one) for one in (DOWN, DOWN, DOWN, GOOD, GOOD, GOOD)] == [
        [], ["+worker.down"], [], [], ["-worker.down"], [],
    ]  # fmt: skip


def test_flapping_neither_raises_nor_resolves_alerts() -> None:
    daemon = Book()
    assert [daemon.look(one) for one in (DOWN, GOOD) * 5] == [[]] * 10
    for view in (DOWN, DOWN, *(GOOD, DOWN) * 5):
        daemon.look(view)
    assert keys(daemon.stand) == ["worker.down"] and len(daemon.events) == 1


def test_unknown_state_neither_raises_nor_resolves_alerts() -> None:
    daemon = Book()
    for view in (DOWN, DOWN, BLIND, BLIND, BLIND):
        daemon.look(view)
    assert keys(daemon.stand) == ["worker.down"]
    late = snapshot(role(1), monitors=[monitor("worker", HealthState.OVERDUE)])
    for _ in range(3):
        daemon.look(late)
    assert keys(daemon.stand) == ["worker.down", "worker.blind"]


def test_acknowledged_alert_stays_open_until_resolved() -> None:
    daemon = Book()
    for view in (DOWN, DOWN):
        daemon.look(view)
    daemon.write(K.ALERT_ACKNOWLEDGED, daemon.stand[0], "cli:ana")
    assert [daemon.look(DOWN) for _ in range(3)] == [[]] * 3
    (alert,) = daemon.stand
    assert (alert.acknowledged, alert.event_id, alert.since) == ("cli:ana", 1, NOW)
    assert [daemon.look(GOOD) for _ in range(2)] == [[], ["-worker.down"]]
    assert daemon.stand == ()
    for view in (DOWN, DOWN):
        daemon.look(view)
    assert daemon.stand[0].acknowledged == ""


def test_alerts_are_sorted_by_severity() -> None:
    view = snapshot(
        role(2),
        monitors=[monitor("canary", HealthState.FAILING)],
        baseline=BaselineView("invalid"),
    )
    assert [one.severity for one in detect_alerts(view)] == list(Severity)


def test_fold_open_alerts_tolerates_malformed_events() -> None:
    malformed = [
        Event(K.ALERT_RAISED, NOW, data={"key": "a.b", "severity": "apocalyptic"}),
        Event(K.ALERT_RAISED, NOW, data={}),
        Event(K.ALERT_ACKNOWLEDGED, NOW, data={"key": 4}),
        Event(K.ALERT_RESOLVED, NOW),
    ]
    (alert,) = fold_open_alerts(malformed)
    assert (alert.key, alert.severity, alert.title) == ("a.b", Severity.WARNING, "a.b")


views = st.sampled_from(
    [GOOD, DOWN, BLIND, snapshot(role(2)), snapshot(role(0, RoleState.PARKED))]
)  # fmt: skip


@given(st.lists(views, max_size=40), st.integers(0, 40))
def test_daemon_restart_never_raises_an_open_alert_again(
    looks: list[Snapshot], restart: int
) -> None:
    daemon = Book()
    for index, view in enumerate(looks):
        if index == restart:
            daemon.watch = UnconfirmedAlerts()  # A restarted daemon keeps only the events.
        before = set(keys(daemon.stand))
        changes = daemon.look(view)
        assert not {one[1:] for one in changes if one[0] == "+"} & before
        assert {one[1:] for one in changes if one[0] == "-"} <= before
    raised = [e.data["key"] for e in daemon.events if e.kind is K.ALERT_RAISED]
    over = [e.data["key"] for e in daemon.events if e.kind is K.ALERT_RESOLVED]
    assert sorted(raised) == sorted(over + keys(daemon.stand))


@given(st.lists(views, max_size=30), st.integers(0, 30))
def test_fold_open_alerts_resumes_at_any_event(looks: list[Snapshot], cut: int) -> None:
    daemon = Book()
    for view in looks:
        daemon.look(view)
    for again in (cut, max(0, cut - 3)):  # Events that are read twice change nothing.
        assert (
            fold_open_alerts(daemon.events[again:], fold_open_alerts(daemon.events[:cut]))
            == daemon.stand
        )
