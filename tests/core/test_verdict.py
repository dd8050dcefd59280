"""The verdict and its reasons from the views, and the detection of overdue monitors."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.alerts import UnconfirmedAlerts, update_alerts
from console.core.explain.verdict_chain import explain_subject, explain_verdict
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import Alert, DaemonView, MonitorView, QueueView, RoleView, Severity
from console.core.verdict import (
    HEARTBEAT_TIMEOUT_S,
    check_overdue,
    compute_judgement,
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
    """Return the verdict on these roles and monitors, and its reasons."""
    roles = [one for one in views if isinstance(one, RoleView)]
    monitors = [one for one in views if isinstance(one, MonitorView)]
    judgement = compute_judgement(roles, monitors, daemon, NOW)
    found, reasons = judgement.verdict, judgement.reasons
    return found.value, reasons


def test_verdict_without_findings_is_healthy_with_a_reason() -> None:
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
def test_each_finding_has_its_verdict_and_reason(
    view: RoleView | MonitorView, expected: str, words: str
) -> None:
    found, reasons = judged(view)
    assert found == expected
    assert words in reasons[0]


def test_disabled_monitor_does_not_affect_the_verdict() -> None:
    assert judged(role("worker"), monitor("canary", HealthState.OFF))[0] == "healthy"


def test_reasons_are_sorted_by_severity_without_duplicates() -> None:
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


def test_missing_daemon_makes_the_verdict_unknown() -> None:
    found, reasons = judged(role("worker"), daemon=DaemonView(reason="no daemon"))
    assert (found, reasons) == ("unknown", ("no daemon",))
    assert judged(role("worker"), daemon=DaemonView(in_this_process=True))[0] == "healthy"


def test_daemon_without_a_heartbeat_makes_the_verdict_unknown() -> None:
    beating = DaemonView(True, 7, heartbeat=NOW.plus(-HEARTBEAT_TIMEOUT_S + 1))
    hung = DaemonView(True, 7, heartbeat=NOW.plus(-HEARTBEAT_TIMEOUT_S - 1))
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
def test_check_overdue_by_sample_age_and_error(
    age: float, error: str | None, state: HealthState
) -> None:
    last = Sample("queue", NOW.plus(-age), error=error)
    assert check_overdue(OK, [last], 10.0, NOW).state is state


@pytest.mark.parametrize(
    ("seen", "tried", "state"),
    [
        (54.0, (24.0, 1.0), HealthState.UNKNOWN),
        (56.0, (26.0, 1.0), HealthState.OVERDUE),
        (None, (54.0, 1.0), HealthState.UNKNOWN),
        (None, (56.0, 1.0), HealthState.OVERDUE),
    ],
)
def test_failed_samples_do_not_prevent_an_overdue_monitor(
    seen: float | None, tried: tuple[float, ...], state: HealthState
) -> None:
    """A probe that hangs for 30 s records errors. Its monitor is overdue all the same."""
    real = [Sample("queue", NOW.plus(-seen))] if seen else []
    hung = [Sample("queue", NOW.plus(-age), error="did not answer within 30 s") for age in tried]
    health = check_overdue(OK, [*real, *hung], 10.0, NOW, 30.0)
    assert health.state is state and health.reason.startswith("did not answer within 30 s")
    again = Sample("queue", NOW)
    assert check_overdue(OK, [*real, *hung, again], 10.0, NOW, 30.0) is OK


def test_wall_clock_change_does_not_make_monitors_overdue() -> None:
    stepped = Moment(NOW.at + 3600, NOW.tick, NOW.boot)
    assert check_overdue(OK, [Sample("queue", NOW)], 10.0, stepped).state is HealthState.OK


def test_monitor_without_samples_is_unknown_and_disabled_stays_off() -> None:
    assert check_overdue(OK, [], 10.0, NOW).state is HealthState.UNKNOWN
    off = Health(HealthState.OFF, "switched off")
    assert check_overdue(off, [], 10.0, NOW) is off
    assert (
        check_overdue(OK, [Sample("canary", NOW.plus(-54))], 10.0, NOW, 30.0).state
        is HealthState.OK
    )


def test_no_role_and_no_monitor_is_healthy() -> None:
    assert compute_judgement((), (), RUNS, NOW).verdict is Verdict.HEALTHY


# --- root causes and consequences -----------------------------------------------------------


def failing(
    name: str, reason: str, kind: str = "", severe: bool = True, **data: Any
) -> MonitorView:
    health = Health(HealthState.FAILING, reason, severe, kind)
    return MonitorView(name, 10.0, health, Sample(name, NOW, data))


HUNG = failing("queue", "no answer: timed out after 3 s", "silent")
CANARY = failing("canary", "not accepted: timed out after 3 s", failed_at="accepted")
LATE = failing("canary", "not taken: no worker took it within 30 s", failed_at="taken")
LONG = failing("queue", "31 tasks wait", "long", False)
DOG = failing("watchdog", "reports server_down", "reports", anomalies=["server_down"])
STALLED = role("worker", 1, "STALLED", reason="4 waiting, nothing finished for 1m")


@pytest.mark.parametrize(
    ("views", "reasons", "follows"),
    [
        ([role("worker"), HUNG, CANARY, DOG], ["queue: no answer"],
         ["canary: not accepted: timed out after 3 s (follows from queue)",
          "watchdog: reports server_down (follows from queue)"]),
        ([STALLED, LONG, LATE], ["worker: stalled"],
         ["queue: 31 tasks wait (follows from worker)",
          "canary: not taken: no worker took it within 30 s (follows from worker)"]),
        ([role("worker", 0, "PARKED", reason="3"), LATE], ["worker: not running"],
         ["canary: not taken: no worker took it within 30 s (follows from worker)"]),
        # With two causes, a shared consequence follows from the queue server.
        ([role("worker", 0, "STOPPED"), HUNG, CANARY], ["queue: no answer", "worker: not running"],
         ["canary: not accepted: timed out after 3 s (follows from queue)"]),
        # A role is the cause of the findings of its own monitor.
        ([role("queue", 1, "STALLED", reason="stopped"), HUNG, CANARY], ["queue: stalled"],
         ["queue: no answer: timed out after 3 s (follows from queue)",
          "canary: not accepted: timed out after 3 s (follows from queue)"]),
        # A finding without a cause is a reason of its own.
        ([role("worker"), LATE, LONG], ["canary: not taken", "queue: 31 tasks"], []),
        ([role("worker"), HUNG, failing("canary", "wrong answer: x", failed_at="answer")],
         ["queue: no answer", "canary: wrong answer"], []),
        ([HUNG, failing("watchdog", "r", "reports", anomalies=["server_down", "disk_full"])],
         ["queue: no answer", "watchdog: r"], []),
    ],
)  # fmt: skip
def test_root_cause_comes_first_and_consequences_are_listed_under_it(
    views: list[Any], reasons: list[str], follows: list[str]
) -> None:
    roles = [one for one in views if isinstance(one, RoleView)]
    monitors = [one for one in views if isinstance(one, MonitorView)]
    judgement = compute_judgement(roles, monitors, RUNS, NOW)
    assert len(judgement.reasons) == len(reasons)
    assert all(a.startswith(b) for a, b in zip(judgement.reasons, reasons, strict=True)), (
        judgement.reasons
    )
    assert list(judgement.consequences) == follows
    assert judgement.root_subject == reasons[0].split(":")[0]
    assert judgement.verdict is Verdict.DOWN


def test_overdue_monitors_follow_from_a_missing_daemon() -> None:
    late = [MonitorView(n, 10.0, Health(HealthState.OVERDUE, "late")) for n in ("queue", "canary")]
    judgement = compute_judgement([role("worker")], late, DaemonView(reason="no daemon"), NOW)
    assert (judgement.reasons, len(judgement.consequences), judgement.root_subject) == (
        ("no daemon",),
        2,
        "daemon",
    )


def picture(*views: Any, **more: Any) -> Snapshot:
    roles = tuple(one for one in views if isinstance(one, RoleView))
    monitors = tuple(one for one in views if isinstance(one, MonitorView))
    result = compute_judgement(roles, monitors, RUNS, NOW)
    return Snapshot(
        "h", "b", NOW, result.verdict, result.reasons, result.consequences, result.root_subject,
        roles=roles, monitors=monitors, **more,
    )  # fmt: skip


def test_alerts_are_raised_for_the_cause_and_not_for_its_symptoms() -> None:
    stalled = picture(STALLED, LONG, LATE, queue=QueueView("u", size=31))
    watch, _, _ = update_alerts(UnconfirmedAlerts(), (), stalled)
    _, raised, _ = update_alerts(watch, (), stalled)
    assert [one.key for one in raised] == ["worker.stalled"]
    older = Alert("queue.long", Severity.CRITICAL, "long", "x", NOW.plus(-60))
    both = (older, Alert("worker.stalled", Severity.CRITICAL, "s", "x", NOW))
    watch, raised, resolved = update_alerts(UnconfirmedAlerts(), both, stalled)
    assert (raised, resolved, update_alerts(watch, both, stalled)[2]) == ((), (), ())


def test_explain_verdict_starts_from_the_root_cause() -> None:
    turned = Event(EventKind.MONITOR_CHANGED, NOW.plus(-60), id=7,
                   data={"monitor": "queue", "state": "failing"})  # fmt: skip
    steps = explain_verdict(picture(role("worker"), HUNG, CANARY), [turned])
    assert [one.part for one in steps] == [
        "verdict", "follows", "symptom", "detector", "rule", "action", "outcome",
    ]  # fmt: skip
    assert steps[0].text == "the box is DOWN: queue: no answer: timed out after 3 s"
    assert steps[-1].text == "queue is failing for 1m now" and steps[-1].event_ids == (7,)
    assert "[roles.queue]" in steps[-2].text


def test_explain_subject_quotes_the_failing_tasks() -> None:
    bad = failing("queue", "the last 12 tasks failed", "tasks")
    queue = QueueView("u", size=0, failures=(("ocr", "no window", 12),))
    texts = [one.text for one in explain_subject("queue", picture(bad, queue=queue), ())]
    assert "12 of the last 20 tasks: ocr: no window" in texts
