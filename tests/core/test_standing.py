"""Why, while it lasts: a stall and a park that stand are told, and what is over is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from story import PERSON, ROLE, asked, at, died, started, who

from console.core.explain.death_chain import ExplanationStep, explain_last_death
from console.core.explain.explain import explain_role
from console.core.model.commands import Verb
from console.core.model.events import Event, EventKind
from console.core.model.roles import Role

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


def test_a_stall_that_stands_is_told_before_a_death_that_is_over() -> None:
    before = (started(0, 1), died(90, 1, 90.0), started(95, 2))
    chain = told(*before, stalled(100, 2))
    assert list(chain) == ["symptom", "detector", "rule", "action", "outcome"]
    assert chain["symptom"].text == "PID 2 lives and does no work: 4 wait"
    assert chain["symptom"].event_ids == chain["outcome"].event_ids == (4,)
    assert "the daemon" in chain["detector"].text
    assert 'stalled = "report"' in chain["rule"].text
    assert chain["action"].text == "none: nobody has restarted it"
    assert chain["outcome"].text.startswith("PID 2 has done no work for 5m now: a person must act")


def test_policy_says_when_it_will_restart_what_stalls() -> None:
    chain = told(started(95, 2), stalled(100, 2), role=EAGER, after=102)
    assert 'stalled = "restart"' in chain["rule"].text
    assert chain["action"].text == "waits: restart 1 of 3, due in 3s"
    assert "a person must act" not in chain["outcome"].text


def test_what_was_tried_is_told_with_its_lines() -> None:
    mine = asked(130, 2, Verb.RESTART)
    failed = Event(
        EventKind.FAILED, at(150), "worker", PERSON, "it would not end", who(2),
        data={"verb": "restart"},
    )  # fmt: skip
    steps = explain_role(ROLE, numbered(started(95, 2), stalled(100, 2), mine, failed), at(400))
    deeds = [(step.text, step.event_ids) for step in steps if step.part == "action"]
    assert deeds == [
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
def test_a_stall_that_is_over_is_not_what_stands(after: Event) -> None:
    events = numbered(started(95, 2), stalled(100, 2), after)
    assert explain_role(ROLE, events, at(400)) == explain_last_death(ROLE, events, at(400))


def test_a_park_is_told_where_the_deaths_are_forgotten() -> None:
    chain = told(parked(100))
    assert chain["rule"].text == "at most 3 restarts in 10m"
    assert chain["outcome"].text == "parked for 5m now: a person must act"
    assert chain["outcome"].event_ids == (1,)
