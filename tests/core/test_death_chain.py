"""Explanations of the last death of a role, built from hand-written events."""

from __future__ import annotations

from typing import Any

import pytest
from failure_ledger import ZONE, at, ledger
from hypothesis import given
from hypothesis import strategies as st

from console.core.explain.death_chain import ExplanationStep, explain_last_death
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import RestartPolicy, Role
from console.core.model.time import Moment
from console.core.text.formatting import sanitize_text

START = Moment(1_762_165_640.0, 1000.0, "b1")
ROLE = Role("worker", "rpa_worker.py", ("python", "rpa_worker.py"))
ANA = "console:ana@pts/3"
K = EventKind


def line(
    number: int, seconds: float, kind: EventKind, pid: int | None = None, actor: str = "",
    reason: str = "", role: str = "worker", token: int | None = None, **data: Any,
) -> Event:  # fmt: skip
    identity = Identity(pid, 1, "b1") if pid else None
    return Event(kind, START.plus(seconds), role, actor, reason, identity, token, data, number)


def parts(steps: tuple[ExplanationStep, ...]) -> list[str]:
    return [step.part for step in steps]


def chain(*events: Event, role: Role = ROLE, after: float = 1000) -> tuple[ExplanationStep, ...]:
    return explain_last_death(role, events, START.plus(after))


def say(steps: tuple[ExplanationStep, ...], part: str) -> str:
    return "; ".join(step.text for step in steps if step.part == part)


STARTED = line(1, 0, K.STARTED, 7, ANA, token=1)
DIED = line(2, 100, K.DIED, 7, "shim", "ended by SIGKILL", token=1, uptime_s=100.0,
            signal="SIGKILL", stderr=["one", "bad \x1b[31m thing"])  # fmt: skip


def test_role_that_never_started_has_only_an_outcome() -> None:
    (step,) = chain()
    assert (step.part, step.moment, step.event_ids) == ("outcome", None, ())
    assert "never been started" in step.text
    (step,) = chain(line(4, 1, K.REFUSED, None, ANA, "no command is configured"))
    assert step.text.endswith("refused: no command is configured")
    assert step.event_ids == (4,)


def test_running_role_without_a_death_has_only_an_outcome() -> None:
    (step,) = chain(STARTED)
    assert "PID 7 was started by console:ana@pts/3 16m ago" in step.text
    (step,) = chain(line(1, 0, K.ADOPTED, 7, "outside"))
    assert "PID 7 was adopted" in step.text


def test_first_start_by_policy_is_named() -> None:
    (step,) = chain(line(1, 0, K.STARTED, 7, "policy", token=1))
    assert "PID 7 was started by policy (first start of this daemon) 16m ago" in step.text


def test_launcher_that_restarts_a_killed_worker_is_named() -> None:
    killed = [
        STARTED,
        line(2, 100, K.ASKED, 7, ANA, verb="kill"),
        line(3, 101, K.DIED, 7, "shim", "ended by SIGTERM", uptime_s=101.0),
        line(4, 101, K.ENDED, 7, ANA, "gracefully", verb="kill"),
    ]
    steps = chain(*killed, line(5, 103, K.ADOPTED, 8, "outside", launcher="PID 5 (sh loop.sh)"))
    assert say(steps, "action").endswith(
        "PID 5 (sh loop.sh) started PID 8 2s later: end that first to keep it down"
    )
    steps = chain(*killed, line(5, 103, K.ADOPTED, 8, "outside", "found running"))
    assert "something else than rpa-console started PID 8" in say(steps, "action")
    steps = chain(*killed, line(5, 103, K.STARTED, 8, "cli:cron", token=2))
    assert "cli:cron started PID 8 under token 2" in say(steps, "action")
    assert "started" not in say(chain(*killed), "action")


def test_crash_restarted_by_policy_is_explained() -> None:
    again = line(3, 105, K.STARTED, 8, "policy", token=2)
    steps = chain(STARTED, DIED, again)
    assert parts(steps) == ["symptom", "detector", "rule", "action", "outcome"]
    assert [step.event_ids for step in steps] == [(2,), (2,), (2,), (3,), (3,)]
    assert say(steps, "symptom") == (
        'PID 7 was gone: ended by SIGKILL after 1m; it last said "bad \\x1b[31m thing"'
    )
    assert say(steps, "detector") == (
        "its shim, which waits for it, saw it die and certified it; "
        "nobody here asked for it: SIGKILL came from outside"
    )
    assert say(steps, "rule").startswith("restart 1 of 3 after 5 s of back-off")
    assert say(steps, "action") == "policy started PID 8 under token 2, 5s later"
    assert say(steps, "outcome") == "PID 8 runs, for 14m now"


def test_pending_restart_is_explained_during_backoff() -> None:
    steps = chain(STARTED, DIED, after=102)
    assert say(steps, "action") == "waits: restart 1 of 3, due in 3s"
    assert say(steps, "outcome") == "not running for 2s now"


def test_consecutive_deaths_are_explained_up_to_the_parking() -> None:
    night = [e for e in ledger() if e.id <= 30]
    steps = explain_last_death(ROLE, night, at("00:00:00"))
    assert "OOM killer" in say(steps, "symptom")
    assert steps[0].event_ids == (23,)
    actions = [step for step in steps if step.part == "action"]
    assert [step.event_ids for step in actions] == [(24,), (25,), (29,)]
    assert say(steps, "outcome").startswith("parked for 1m now: a person must act")


def test_kill_by_an_operator_is_explained() -> None:
    asked = line(2, 50, K.ASKED, 7, ANA, verb="kill")
    died = line(3, 51, K.DIED, 7, "shim", "ended by SIGTERM", uptime_s=51.0)
    ended = line(4, 51, K.ENDED, 7, ANA, "politely", verb="kill")
    steps = chain(STARTED, asked, died, ended)
    assert parts(steps) == ["symptom", "detector", "rule", "action", "outcome"]
    assert "nothing wrong with PID 7" in say(steps, "symptom")
    assert say(steps, "detector") == f"{ANA} asked for it"
    assert "stays down until an ensure" in say(steps, "rule")
    assert (say(steps, "action"), steps[3].event_ids) == ("PID 7 ended: politely", (3, 4))
    assert say(steps, "outcome") == f"down for 15m now, as {ANA} wished"


def test_restart_by_an_operator_after_a_failed_canary_is_explained() -> None:
    canary = line(2, 40, K.MONITOR_CHANGED, None, "daemon", "canary: not taken", role="",
                  monitor="canary", state="failing")  # fmt: skip
    asked = line(3, 50, K.ASKED, 7, ANA, verb="restart")
    died = line(4, 51, K.DIED, 7, "shim", "ended by SIGTERM", uptime_s=51.0)
    again = line(5, 52, K.STARTED, 8, ANA, token=2)
    steps = chain(STARTED, canary, asked, died, again)
    assert (say(steps, "symptom"), steps[0].event_ids) == ("canary: not taken", (2,))
    assert say(steps, "rule").startswith("restart: 10 s of grace")
    assert say(steps, "outcome") == "PID 8 runs, for 15m now"


def test_restart_of_a_stalled_worker_by_policy_is_explained() -> None:
    stalled = line(2, 50, K.STALLED, 7, "daemon", "4 waiting, nothing finished for 30s")
    asked = line(3, 55, K.ASKED, 7, "policy", verb="restart")
    died = line(4, 56, K.DIED, 7, "shim", "ended by SIGTERM", uptime_s=56.0)
    steps = chain(STARTED, stalled, asked, died, line(5, 57, K.STARTED, 8, "policy", token=2))
    assert say(steps, "symptom") == "4 waiting, nothing finished for 30s"
    assert "becomes of the work" in say(steps, "detector")
    assert say(steps, "rule").startswith('policy: stalled = "restart"; restart: 10 s of grace')


def test_ended_duplicate_is_explained() -> None:
    second = line(2, 1, K.ADOPTED, 9, "outside")
    asked = line(3, 50, K.ASKED, 9, ANA, "surplus: keep the oldest", verb="end-duplicates")
    died = line(4, 51, K.DIED, 9, "guard", "ended on request, politely")
    steps = chain(STARTED, second, asked, died)
    assert say(steps, "symptom") == "PID 9 ran beside what was wanted: 1"
    assert say(steps, "rule") == "at most 1 may run; the oldest stays"
    assert say(steps, "outcome") == "PID 7 runs, for 16m now"


def test_adopted_worker_with_unknown_exit_code_is_explained() -> None:
    died = line(
        2, 100, K.DIED, 7, "outside", "exit code unknown (not started by us)", uptime_s=900.0
    )
    steps = chain(line(1, 0, K.ADOPTED, 7, "outside"), died)
    assert "nobody can tell how it ended" in say(steps, "detector")


def test_failed_start_is_explained() -> None:
    died = line(1, 1, K.DIED, 7, "shim", "exited with code 1", uptime_s=0.1)
    failed = line(2, 1, K.FAILED, 7, ANA, "exited with code 1: no such file", verb="ensure")
    steps = chain(died, failed)
    assert say(steps, "symptom").startswith("a start did not succeed: exited with code 1")
    assert steps[0].event_ids == (1, 2)
    assert "was not ended by a person" in say(steps, "rule")
    assert say(steps, "action") == "none: nobody has started it again"


@pytest.mark.parametrize(
    ("role", "rule"),
    [
        (Role("worker", "x", ("x",), policy=RestartPolicy(enabled=False)), "switched off"),
        (Role("worker", "x"), "no command is configured"),
    ],
)
def test_rule_step_says_why_policy_does_not_apply(role: Role, rule: str) -> None:
    assert rule in say(chain(STARTED, DIED, role=role), "rule")


@pytest.mark.parametrize(
    ("signal", "reason", "outside"),
    [
        ("SIGKILL", "ended by SIGKILL", True),
        ("SIGTERM", "ended by SIGTERM", True),
        ("SIGKILL", "ended by SIGKILL: the kernel ran out of memory here (OOM killer)", False),
        ("SIGSEGV", "ended by SIGSEGV", False),
        (None, "exited with code 1", False),
        (["SIGKILL"], "ended by SIGKILL", False),
    ],
)
def test_unrequested_kill_signal_is_attributed_to_outside(
    signal: Any, reason: str, outside: bool
) -> None:
    died = line(2, 100, K.DIED, 7, "shim", reason, signal=signal)
    assert say(chain(STARTED, died), "detector").endswith("came from outside") == outside
    asked = line(3, 99, K.ASKED, 7, ANA, verb="kill")
    assert "outside" not in say(chain(STARTED, asked, died), "detector")


def test_restart_called_off_by_an_operator_is_explained() -> None:
    off = line(3, 102, K.ASKED, None, ANA, "nothing runs; it shall stay so", verb="kill")
    steps = chain(STARTED, DIED, off, after=160)
    assert say(steps, "action") == f"none: {ANA} called the restart off, 2s later"
    assert say(steps, "outcome") == f"down for 1m now, as {ANA} wished"
    assert [step.moment and step.moment.at - START.at for step in steps] == [
        100,
        100,
        100,
        102,
        100,
    ]
    assert [step.event_ids for step in steps[3:]] == [(3,), (3,)]


def test_kill_of_a_parked_role_means_it_stays_down() -> None:
    parked = line(3, 101, K.PARKED, None, "policy", "3 restarts")
    off = line(4, 103, K.ASKED, None, ANA, "nothing runs; it shall stay so", verb="kill")
    steps = chain(STARTED, DIED, parked, off)
    assert say(steps, "action").endswith(f"; {ANA} wished it to stay down, 3s later")


def test_downtime_counts_from_the_last_death() -> None:
    again = line(3, 105, K.STARTED, 8, "policy", token=2)
    died = line(4, 130, K.DIED, 8, "shim", "exited with code 1", uptime_s=25.0)
    off = line(5, 131, K.ASKED, None, ANA, "nothing runs; it shall stay so", verb="kill")
    steps = chain(STARTED, DIED, again, died, off, after=140)
    assert steps[0].event_ids == (2,)
    assert [step.event_ids for step in steps if step.part == "action"] == [(3,), (4,), (5,)]
    assert say(steps, "outcome") == f"down for 10s now, as {ANA} wished"


def test_every_step_has_a_moment() -> None:
    asked = line(2, 50, K.ASKED, 7, ANA, verb="kill")
    killed = line(3, 51, K.DIED, 7, "shim", "ended by SIGTERM", uptime_s=51.0)
    parked = line(3, 101, K.PARKED, None, "policy", "3 restarts")
    off = Role("worker", "x", ("x",), policy=RestartPolicy(enabled=False))
    for steps, outcome in (
        (chain(STARTED, asked, killed), 51),
        (chain(STARTED, DIED, parked), 101),
        (chain(STARTED, DIED, after=101), 100),
        (chain(STARTED, DIED, after=200), 100),  # due, but not started yet
        (chain(STARTED, DIED, role=off), 100),
    ):
        assert all(step.moment is not None for step in steps), steps
        assert steps[-1].moment and steps[-1].moment.at - START.at == outcome


events = st.lists(
    st.builds(
        line, st.integers(1, 99), st.floats(0, 5000), st.sampled_from(EventKind),
        st.none() | st.integers(1, 3), st.sampled_from(["", "policy", "shim", "outside", ANA]),
        st.text(max_size=9), st.sampled_from(["worker", "", "other"]),
        verb=st.sampled_from(["ensure", "kill", "restart", "end-duplicates", None, 3]),
        uptime_s=st.none() | st.floats(0, 9999), stderr=st.none() | st.lists(st.text()),
    ),
    max_size=30,
)  # fmt: skip


@given(events)
def test_any_ledger_can_be_explained(found: list[Event]) -> None:
    steps = explain_last_death(ROLE, found, START.plus(9999))
    assert steps and parts(steps)[-1] == "outcome"
    known = {event.id for event in found}
    assert all(set(step.event_ids) <= known for step in steps)
    assert all(sanitize_text(step.text) == step.text for step in steps)


def test_failure_ledger_has_a_time_zone() -> None:
    assert at("00:00:00").at - at("23:00:00").at == 3600 and ZONE is not None
