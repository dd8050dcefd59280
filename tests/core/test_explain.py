"""Explanations of a current stall or of a parked role. Resolved stalls are left out."""

from __future__ import annotations

import pytest
from ledger_builders import PERSON, ROLE, asked, at, died, started, who

from console.core.explain.death_chain import ExplanationStep, explain_last_death
from console.core.explain.explain import explain_role
from console.core.model.commands import Verb
from console.core.model.events import Event, EventKind
from console.core.model.roles import Role
from console.core.records import replace

POLICY = "policy"


def stalled(when: float, number: int) -> Event:
    return Event(EventKind.STALLED, at(when), "worker", "daemon", "4 wait", who(number), number)


def parked(when: float) -> Event:
    return Event(EventKind.PARKED, at(when), "worker", POLICY, "3 automatic restarts")


def numbered(*events: Event) -> tuple[Event, ...]:
    return tuple(replace(event, id=number) for number, event in enumerate(events, 1))


def told(*events: Event, role: Role = ROLE, after: float = 400.0) -> dict[str, ExplanationStep]:
    steps = explain_role(role, numbered(*events), at(after))
    assert all(step.moment is not None for step in steps)
    return {step.part: step for step in steps}


EAGER = replace(ROLE, policy=replace(ROLE.policy, stalled="restart"))


def test_current_stall_is_explained_instead_of_an_earlier_death() -> None:
    before = (started(0, 1), died(90, 1, 90.0), started(95, 2))
    chain = told(*before, stalled(100, 2))
    assert list(chain) == ["symptom", "detector", "rule", "action", "outcome"]
    assert chain["symptom"].text == "PID 2 lives and does no work: 4 wait"
    assert chain["symptom"].event_ids == chain["outcome"].event_ids == (4,)
    assert "the daemon" in chain["detector"].text
    assert 'stalled = "report"' in chain["rule"].text
    assert chain["action"].text == "none: nobody has restarted it"
    assert chain["outcome"].text.startswith("PID 2 has done no work for 5m now: a person must act")


def test_pending_restart_of_a_stalled_worker_is_explained() -> None:
    chain = told(started(95, 2), stalled(100, 2), role=EAGER, after=102)
    assert 'stalled = "restart"' in chain["rule"].text
    assert chain["action"].text == "waits: restart 1 of 3, due in 3s"
    assert "a person must act" not in chain["outcome"].text


def test_restart_attempts_are_explained_with_their_events() -> None:
    mine = asked(130, 2, Verb.RESTART)
    failed = Event(
        EventKind.FAILED, at(150), "worker", PERSON, "it would not end", who(2),
        data={"verb": "restart"},
    )  # fmt: skip
    steps = explain_role(ROLE, numbered(started(95, 2), stalled(100, 2), mine, failed), at(400))
    actions = [(step.text, step.event_ids) for step in steps if step.part == "action"]
    assert actions == [
        (f"{PERSON} asked for a restart, 30s later", (3,)),
        (f"{PERSON} tried and failed, 50s later: it would not end", (4,)),
    ]
    chain = told(started(95, 2), stalled(100, 2), parked(101), role=EAGER)
    assert chain["action"].text.startswith("parked, 1s later") and chain["action"].event_ids == (3,)
    assert "a person must act" in chain["outcome"].text


@pytest.mark.parametrize(
    "after",
    [
        Event(EventKind.READY, at(200), "worker", "daemon", "works", who(2)),
        died(200, 2, 105.0),
        Event(EventKind.ENDED, at(200), "worker", PERSON, "politely", who(2)),
    ],
)
def test_resolved_stall_is_not_explained(after: Event) -> None:
    events = numbered(started(95, 2), stalled(100, 2), after)
    assert explain_role(ROLE, events, at(400)) == explain_last_death(ROLE, events, at(400))


def test_parked_role_is_explained_without_its_death_events() -> None:
    chain = told(parked(100))
    assert chain["rule"].text == "at most 3 restarts in 10m"
    assert chain["outcome"].text == "parked for 5m now: a person must act"
    assert chain["outcome"].event_ids == (1,)
