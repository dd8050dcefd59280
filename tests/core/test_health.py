"""From views to one verdict in words; and when a monitor is late."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.health import HUNG_S, timely, verdict
from console.core.model import (
    DaemonView,
    Health,
    HealthState,
    Identity,
    Instance,
    Lease,
    LeaseState,
    Moment,
    MonitorView,
    Process,
    Role,
    RoleState,
    RoleView,
    Sample,
    Verdict,
)

NOW = Moment(1_000_000.0, 5_000.0, "boot")
RUNS = DaemonView(True, 7)
OK = Health(HealthState.OK)


def role(name: str, found: int = 1, state: str = "READY", **more: Any) -> RoleView:
    one = Instance(name, (Process(Identity(1, 1, "boot"), 1, (), NOW),))
    wanted = Role(name, f"{name}.py")
    return RoleView(wanted, RoleState(state), instances=(one,) * found, **more)


def monitor(name: str, state: HealthState, reason: str = "") -> MonitorView:
    return MonitorView(name, 10.0, Health(state, reason))


def judged(
    *views: RoleView | MonitorView, daemon: DaemonView = RUNS
) -> tuple[str, tuple[str, ...]]:
    """The verdict on some roles and monitors, and its reasons."""
    roles = [one for one in views if isinstance(one, RoleView)]
    monitors = [one for one in views if isinstance(one, MonitorView)]
    found, reasons = verdict(roles, monitors, daemon, NOW)
    return found.value, reasons


def test_nothing_wrong_is_healthy_and_says_so() -> None:
    found, reasons = judged(role("worker"), monitor("queue", HealthState.OK))
    assert found == "healthy"
    assert reasons


@pytest.mark.parametrize(
    ("view", "expected", "words"),
    [
        (role("worker", 0, "STOPPED", reason="ended by ana"), "down", "ended by ana"),
        (role("watchdog", 0, "STOPPED"), "degraded", "watchdog: not running"),
        (role("worker", 2), "degraded", "2 instances where 1 is wanted"),
        (role("worker", 1, "STALLED", reason="stopped"), "down", "stalled: stopped"),
        (role("worker", 0, "PARKED", reason="3 restarts"), "down", "parked: 3 restarts"),
        (role("worker", 0, "BACKOFF", reason="1 of 3"), "down", "backoff: 1 of 3"),
        (role("worker", 0, "STARTING", reason="held"), "degraded", "starting: held"),
        (role("worker", 0, "UNKNOWN", reason="nobody looked"), "unknown", "nobody looked"),
        (role("worker", lease=Lease(LeaseState.ORPHANED, holders=(5,))), "degraded", "PID 5"),
        (role("worker", lease=Lease(LeaseState.REPLACED, reason="gone")), "degraded", "gone"),
        (monitor("canary", HealthState.FAILING, "not taken"), "down", "canary: not taken"),
        (monitor("pipeline", HealthState.FAILING, "old"), "degraded", "pipeline: old"),
        (monitor("pipeline", HealthState.OVERDUE, "late"), "unknown", "pipeline monitor: late"),
        (monitor("queue", HealthState.UNKNOWN, "blip"), "unknown", "queue monitor: blip"),
    ],
)
def test_each_finding_has_its_weight_and_its_words(
    view: RoleView | MonitorView, expected: str, words: str
) -> None:
    found, reasons = judged(view)
    assert found == expected
    assert words in reasons[0]


def test_a_monitor_that_is_off_counts_against_nobody() -> None:
    assert judged(role("worker"), monitor("canary", HealthState.OFF))[0] == "healthy"


def test_the_worst_comes_first_and_nothing_is_said_twice() -> None:
    found, reasons = judged(
        role("watchdog", 0, "STOPPED"),
        role("worker", 0, "STOPPED"),
        monitor("pipeline", HealthState.UNKNOWN, "?"),
        monitor("watchdog", HealthState.FAILING, "no process"),
        monitor("worker", HealthState.FAILING, "worker 0/1"),
    )
    assert found == "down"
    assert [reason.split(":")[0] for reason in reasons] == [
        "worker", "watchdog", "pipeline monitor",
    ]  # fmt: skip


def test_nobody_who_watches_is_unknown_and_never_healthy() -> None:
    found, reasons = judged(role("worker"), daemon=DaemonView(reason="no daemon"))
    assert (found, reasons) == ("unknown", ("no daemon",))
    assert judged(role("worker"), daemon=DaemonView(here=True))[0] == "healthy"


def test_a_daemon_without_a_heartbeat_hangs() -> None:
    beating = DaemonView(True, 7, heartbeat=NOW.plus(-HUNG_S + 1))
    hung = DaemonView(True, 7, heartbeat=NOW.plus(-HUNG_S - 1))
    assert judged(role("worker"), daemon=beating)[0] == "healthy"
    found, reasons = judged(role("worker"), daemon=hung)
    assert found == "unknown"
    assert "PID 7" in reasons[0]


@pytest.mark.parametrize(
    ("age", "error", "state"),
    [
        (0.0, None, HealthState.OK),
        (24.9, None, HealthState.OK),
        (25.1, None, HealthState.OVERDUE),
        (25.1, "broken", HealthState.OVERDUE),
        (5.0, "broken", HealthState.UNKNOWN),
        (24.9, "broken", HealthState.UNKNOWN),
        (-3600.0, None, HealthState.OK),
    ],
)
def test_evidence_ages(age: float, error: str | None, state: HealthState) -> None:
    last = Sample("queue", NOW.plus(-age), error=error)
    assert timely(OK, [last], 10.0, NOW).state is state


@pytest.mark.parametrize(
    ("seen", "tried", "state"),
    [
        (54.0, (24.0, 1.0), HealthState.UNKNOWN),
        (56.0, (26.0, 1.0), HealthState.OVERDUE),
        (None, (54.0, 1.0), HealthState.UNKNOWN),
        (None, (56.0, 1.0), HealthState.OVERDUE),
    ],
)
def test_a_look_that_came_to_nothing_is_no_look(
    seen: float | None, tried: tuple[float, ...], state: HealthState
) -> None:
    """One that hangs for 30 s writes that down, again and again: it is overdue all the same."""
    real = [Sample("queue", NOW.plus(-seen))] if seen else []
    hung = [Sample("queue", NOW.plus(-age), error="did not answer within 30 s") for age in tried]
    health = timely(OK, [*real, *hung], 10.0, NOW, 30.0)
    assert health.state is state and health.reason.startswith("did not answer within 30 s")
    again = Sample("queue", NOW)
    assert timely(OK, [*real, *hung, again], 10.0, NOW, 30.0) is OK


def test_a_clock_that_was_set_makes_nobody_late() -> None:
    stepped = Moment(NOW.at + 3600, NOW.tick, NOW.boot)
    assert timely(OK, [Sample("queue", NOW)], 10.0, stepped).state is HealthState.OK


def test_what_never_looked_is_unknown_and_what_is_off_is_off() -> None:
    assert timely(OK, [], 10.0, NOW).state is HealthState.UNKNOWN
    off = Health(HealthState.OFF, "switched off")
    assert timely(off, [], 10.0, NOW) is off
    assert timely(OK, [Sample("canary", NOW.plus(-54))], 10.0, NOW, 30.0).state is HealthState.OK


def test_the_verdict_says_verdict() -> None:
    assert verdict((), (), RUNS, NOW)[0] is Verdict.HEALTHY
