"""Alerts: what is wrong in two looks is raised once; the ledger alone says what stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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

NOW = Moment(1_762_165_640.0, 1000.0, "b1")
WORKER = Role("worker", "rpa_worker.py")
K = EventKind


def instance(pid: int) -> Instance:
    return Instance("worker", (Process(Identity(pid, 1, "b1"), 1, ("x",), NOW),))


def role(found: int, state: RoleState = RoleState.READY, name: str = "worker") -> RoleView:
    found_ = tuple(instance(pid) for pid in range(1, found + 1))
    return RoleView(replace(WORKER, name=name), state, "why", instances=found_)


def test_the_text_of_an_alert_follows_the_state() -> None:
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
def test_what_is_wrong(view: Snapshot, expected: list[tuple[str, str]]) -> None:
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
def test_what_is_not_normal_here(view: QueueView, expected: list[tuple[str, str]]) -> None:
    found = detect_alerts(snapshot(role(1), queue=view), LEARNT)
    assert [(one.key, one.severity.value) for one in found] == expected
    assert detect_alerts(snapshot(role(1), queue=view)) == ()


@pytest.mark.parametrize(
    ("health", "queue", "expected"),
    [
        (Health(HealthState.FAILING, "x", kind="tasks"), {}, ("queue.success", "critical")),
        (Health(HealthState.FAILING, "x", False, "tasks", True), {}, ("queue.success", "critical")),
        (Health(HealthState.FAILING, "x", False, "tasks"), {}, ("queue.success", "warning")),
        # a queue that gets shorter is a warning, one that does not is more
        (Health(HealthState.FAILING, "x", False, "long"), {"size": 30, "drain_s": 60.0},
         ("queue.long", "warning")),
        (Health(HealthState.FAILING, "x", False, "long"), {"size": 30}, ("queue.long", "critical")),
        (Health(HealthState.FAILING, "x", kind="silent"), {}, ("queue.down", "critical")),
        (Health(HealthState.OK), {"loss_message": "began anew: 3 waiting", "lost_tasks": 3},
         ("queue.lost", "critical")),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_queue(
    health: Health, queue: dict[str, Any], expected: tuple[str, str]
) -> None:
    watched = [MonitorView("queue", 10.0, health)]
    view = snapshot(role(1), monitors=watched, queue=QueueView("u", **queue))
    assert [(one.key, one.severity.value) for one in detect_alerts(view)] == [expected]


def test_a_new_server_that_lost_no_task_is_no_alert() -> None:
    view = snapshot(role(1), queue=QueueView("u", loss_message="began anew: 5 results"))
    assert detect_alerts(view) == ()


class Book:
    """A daemon's looks, and the ledger that it writes."""

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


def test_raised_after_two_looks_and_resolved_after_two() -> None:
    book = Book()
    assert [book.look(one) for one in (DOWN, DOWN, DOWN, GOOD, GOOD, GOOD)] == [
        [], ["+worker.down"], [], [], ["-worker.down"], [],
    ]  # fmt: skip


def test_flapping_raises_nothing_and_resolves_nothing() -> None:
    book = Book()
    assert [book.look(one) for one in (DOWN, GOOD) * 5] == [[]] * 10
    for view in (DOWN, DOWN, *(GOOD, DOWN) * 5):
        book.look(view)
    assert keys(book.stand) == ["worker.down"] and len(book.events) == 1


def test_what_cannot_be_seen_neither_raises_nor_resolves() -> None:
    book = Book()
    for view in (DOWN, DOWN, BLIND, BLIND, BLIND):
        book.look(view)
    assert keys(book.stand) == ["worker.down"]
    late = snapshot(role(1), monitors=[monitor("worker", HealthState.OVERDUE)])
    for _ in range(3):
        book.look(late)
    assert keys(book.stand) == ["worker.down", "worker.blind"]


def test_an_acknowledged_alert_stands_quietly_until_it_is_resolved() -> None:
    book = Book()
    for view in (DOWN, DOWN):
        book.look(view)
    book.write(K.ALERT_ACKNOWLEDGED, book.stand[0], "cli:ana")
    assert [book.look(DOWN) for _ in range(3)] == [[]] * 3
    (alert,) = book.stand
    assert (alert.acknowledged, alert.event_id, alert.since) == ("cli:ana", 1, NOW)
    assert [book.look(GOOD) for _ in range(2)] == [[], ["-worker.down"]]
    assert book.stand == ()
    for view in (DOWN, DOWN):
        book.look(view)
    assert book.stand[0].acknowledged == ""


def test_the_worst_comes_first() -> None:
    view = snapshot(
        role(2),
        monitors=[monitor("canary", HealthState.FAILING)],
        baseline=BaselineView("invalid"),
    )
    assert [one.severity for one in detect_alerts(view)] == list(Severity)


def test_foreign_lines_of_the_ledger_break_nothing() -> None:
    odd = [
        Event(K.ALERT_RAISED, NOW, data={"key": "a.b", "severity": "apocalyptic"}),
        Event(K.ALERT_RAISED, NOW, data={}),
        Event(K.ALERT_ACKNOWLEDGED, NOW, data={"key": 4}),
        Event(K.ALERT_RESOLVED, NOW),
    ]
    (alert,) = fold_open_alerts(odd)
    assert (alert.key, alert.severity, alert.title) == ("a.b", Severity.WARNING, "a.b")


views = st.sampled_from(
    [GOOD, DOWN, BLIND, snapshot(role(2)), snapshot(role(0, RoleState.PARKED))]
)  # fmt: skip


@given(st.lists(views, max_size=40), st.integers(0, 40))
def test_nothing_is_raised_twice_and_a_restart_changes_nothing(
    looks: list[Snapshot], restart: int
) -> None:
    book = Book()
    for index, view in enumerate(looks):
        if index == restart:
            book.watch = (
                UnconfirmedAlerts()
            )  # the daemon was restarted: what it keeps is the ledger
        before = set(keys(book.stand))
        said = book.look(view)
        assert not {one[1:] for one in said if one[0] == "+"} & before
        assert {one[1:] for one in said if one[0] == "-"} <= before
    raised = [e.data["key"] for e in book.events if e.kind is K.ALERT_RAISED]
    over = [e.data["key"] for e in book.events if e.kind is K.ALERT_RESOLVED]
    assert sorted(raised) == sorted(over + keys(book.stand))


@given(st.lists(views, max_size=30), st.integers(0, 30))
def test_the_fold_can_be_taken_up_anywhere(looks: list[Snapshot], cut: int) -> None:
    book = Book()
    for view in looks:
        book.look(view)
    for again in (cut, max(0, cut - 3)):  # lines that are read twice change nothing
        assert (
            fold_open_alerts(book.events[again:], fold_open_alerts(book.events[:cut])) == book.stand
        )
