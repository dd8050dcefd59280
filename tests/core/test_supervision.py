"""Policy and permission as tables with a literal now, and as a model that is driven at random."""

from __future__ import annotations

from dataclasses import replace

import pytest
from story import FREE, HELD, PERSON, ROLE, asked, at, died, failed, instance, started, who

from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Instance
from console.core.model.roles import Lease, LeaseState, Owner, RestartPolicy, Role, RoleState
from console.core.supervision.state_machine import (
    POLICY_ACTOR,
    RepairAction,
    count_recent_restarts,
    count_recent_starts,
    decide_restart,
    decide_stall_restart,
    derive_state,
    fold_events,
    lock_timeout_s,
    permit,
    select_targets,
)


def decide(events: list[Event], now: float, lease: Lease = FREE, *living: Instance) -> str:
    """What policy does, in a word, and when."""
    decision = decide_restart(ROLE, fold_events(events, ROLE), living, lease, at(now))
    due = f" {decision.due_at.since(at(0)):g}" if decision.due_at else ""
    return f"{decision.action}{due}"


LIFE = [started(0, 1, PERSON)]


@pytest.mark.parametrize(
    ("events", "now", "decision"),
    [
        ([], 0, "start"),
        (LIFE, 100, "start"),
        ([*LIFE, died(10, 1, 10)], 11, "wait 15"),
        ([*LIFE, died(10, 1, 10)], 15, "start"),
        # each further death doubles the pause: 5, 10, 20, and never more than 60
        ([*LIFE, died(10, 1, 10), started(15, 2), died(16, 2, 1)], 17, "wait 26"),
        ([*LIFE, died(10, 1, 10), started(15, 2), died(16, 2, 1), started(26, 3), died(27, 3, 1)],
         30, "wait 47"),
        # a run of sixty healthy seconds begins anew
        ([*LIFE, died(10, 1, 10), started(15, 2), died(90, 2, 75)], 91, "wait 95"),
        # three restarts within 600 s, then a person
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 4), died(39, 4, 1)], 40, "park"),
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 4), died(39, 4, 1)], 620, "start"),
        # ended by a person: stays ended
        ([*LIFE, asked(5, 1, Verb.KILL), died(6, 1, 6)], 500, "nothing"),
        ([*LIFE, died(6, 1, 6), asked(7, None, Verb.KILL)], 500, "nothing"),
        # a restart that was cut short is finished
        ([*LIFE, asked(5, 1, Verb.RESTART), died(6, 1, 6)], 12, "start"),
        # a start that is told late does not take back what was asked since
        ([asked(5, 1, Verb.KILL), started(0, 1, PERSON), died(6, 1, 6)], 500, "nothing"),
        # ensure while it is being ended: it is wanted after all
        ([*LIFE, asked(5, 1, Verb.KILL), Event(EventKind.CONFIRMED, at(5), actor=PERSON),
          died(6, 1, 6)], 500, "start"),
    ],
)  # fmt: skip
def test_policy(events: list[Event], now: float, decision: str) -> None:
    assert decide(events, now) == decision


def test_policy_leaves_alone_what_lives_or_may_live() -> None:
    events = [*LIFE, died(10, 1, 10)]
    assert decide(events, 100, FREE, instance(2)) == "nothing"
    assert decide(events, 100, HELD) == "wait 101"
    assert decide(events, 100, Lease(LeaseState.UNKNOWN)) == "nothing"
    assert decide(events, 100, Lease(LeaseState.ORPHANED)) == "start"
    off = replace(ROLE, policy=RestartPolicy(enabled=False))
    assert (
        decide_restart(off, fold_events(events, off), (), FREE, at(100)).action
        is RepairAction.NOTHING
    )
    bare = replace(ROLE, command=())
    assert (
        decide_restart(bare, fold_events(events, bare), (), FREE, at(100)).action
        is RepairAction.NOTHING
    )


def test_a_lease_that_a_dying_workers_shim_still_holds_is_looked_at_again() -> None:
    """Nobody tells when the shim lets go: without another look the worker would stay away."""
    events = [*LIFE, died(10, 1, 10)]
    dying = Lease(LeaseState.HELD, Owner(who(1), 1, at(0), shim=who(99)))
    assert decide(events, 11, dying) == "wait 15"  # the back-off comes first
    assert decide(events, 20, dying) == "wait 20.25"
    assert decide(events, 20, FREE) == "start"


def test_one_of_two_that_died_is_replaced() -> None:
    two = replace(ROLE, count=2)
    events = [started(0, 1, PERSON), started(0, 2, PERSON), died(10, 1, 10)]
    memory = fold_events(events, two)
    assert decide_restart(two, memory, [instance(2)], HELD, at(100)).action is RepairAction.START
    assert (
        decide_restart(two, memory, [instance(2), instance(3)], HELD, at(100)).action
        is RepairAction.NOTHING
    )


POOL = replace(ROLE, count=5)
BORN = [started(0, n, PERSON) for n in range(1, 6)]
AT_ONCE = [died(100 + n / 10, n, 100) for n in range(1, 6)]


def test_instances_that_die_together_are_one_event() -> None:
    memory = fold_events([*BORN, *AT_ONCE], POOL)
    assert memory.consecutive_crashes == 1
    decision = decide_restart(POOL, memory, (), FREE, at(101))
    assert decision.action is RepairAction.WAIT and decision.due_at is not None
    assert decision.due_at.since(at(100)) == pytest.approx(5.5), (
        "one back-off, not 5 x 2 x 2 x 2 x 2"
    )
    again = [started(106 + n / 2, 10 + n) for n in range(5)]
    memory = fold_events([*BORN, *AT_ONCE, *again], POOL)
    assert count_recent_restarts(POOL, memory, at(109)) == 1, "five starts answer one event"
    one = [died(130, 10, 20)]
    memory = fold_events([*BORN, *AT_ONCE, *again, *one], POOL)
    decision = decide_restart(POOL, memory, [instance(n) for n in range(11, 15)], HELD, at(141))
    assert (decision.action, decision.reason) == (RepairAction.START, "restart 2 of 3")


def test_a_pool_that_dies_at_each_start_is_parked_all_the_same() -> None:
    events, now, number = list(BORN), 100.0, 1
    for _ in range(4):
        events += [died(now + n / 10, number + n, 1.0) for n in range(5)]
        decision = decide_restart(POOL, fold_events(events, POOL), (), FREE, at(now + 0.5))
        if decision.action is RepairAction.PARK:
            break
        assert decision.due_at is not None
        now, number = decision.due_at.since(at(0)), number + 5
        events += [started(now + n / 10, number + n) for n in range(5)]
        now += 1.2
    assert decision.action is RepairAction.PARK
    assert count_recent_restarts(POOL, fold_events(events, POOL), at(now)) == 3


def test_one_that_dies_at_each_start_in_a_pool_is_parked() -> None:
    """Each was started after the death before: no two of them are one event."""
    events, others = list(BORN), [instance(n) for n in range(2, 6)]
    now, number, told = 100.0, 1, []
    for _ in range(4):
        events.append(died(now, number, 0.4))
        decision = decide_restart(POOL, fold_events(events, POOL), others, HELD, at(now))
        told.append(decision.reason)
        if decision.due_at is None:
            break
        now, number = decision.due_at.since(at(0)) + 0.5, number + 100
        events.append(started(now - 0.5, number))
    assert told[:3] == ["restart 1 of 3", "restart 2 of 3", "restart 3 of 3"]
    assert decision.action is RepairAction.PARK


def test_a_single_worker_that_dies_at_once_again_and_again_is_no_one_event() -> None:
    quick = replace(ROLE, policy=RestartPolicy(backoff_s=0.1))
    events = [*LIFE, died(10, 1, 10), started(10.1, 2), died(10.2, 2, 0.1), started(10.4, 3),
              died(10.5, 3, 0.1)]  # fmt: skip
    memory = fold_events(events, quick)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (2, 3)


# --- the first start ------------------------------------------------------------------------


def test_a_role_that_never_ran_is_started_and_that_is_no_restart() -> None:
    decision = decide_restart(ROLE, fold_events([], ROLE), (), FREE, at(0))
    assert (decision.action, decision.reason) == (RepairAction.START, "first start of this daemon")
    memory = fold_events([started(1, 1)], ROLE)
    assert memory.wanted and memory.restart_attempts == ()
    memory = fold_events([failed(1, None)], ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (1, 1)
    assert decide_restart(ROLE, memory, (), FREE, at(7)).action is RepairAction.START
    fails = [failed(second, None) for second in (1, 6, 16)]
    assert (
        decide_restart(ROLE, fold_events(fails, ROLE), (), FREE, at(40)).action is RepairAction.PARK
    )


@pytest.mark.parametrize(
    "role",
    [
        replace(ROLE, autostart=False),
        replace(ROLE, command=()),
        replace(ROLE, policy=RestartPolicy(enabled=False)),
    ],
)
def test_some_roles_are_not_started_by_themselves(role: Role) -> None:
    assert (
        decide_restart(role, fold_events([], role), (), FREE, at(0)).action is RepairAction.NOTHING
    )


def test_a_role_that_never_ran_and_shall_not_stays_down() -> None:
    events = [asked(1, None, Verb.KILL)]
    assert (
        decide_restart(ROLE, fold_events(events, ROLE), (), FREE, at(9)).action
        is RepairAction.NOTHING
    )


def test_what_a_person_has_ended_is_not_wanted_for_being_seen_again() -> None:
    """Something outside starts it once more: that is adopted, and not kept alive."""
    events = [*LIFE, asked(5, 1, Verb.KILL), died(6, 1, 6)]
    events += [Event(EventKind.ADOPTED, at(7), identity=who(8)), died(20, 8, 13)]
    assert decide(events, 500) == "nothing"
    assert decide([*events, Event(EventKind.CONFIRMED, at(30), actor=PERSON)], 500) == "start"


# --- a lease that a dead worker's shim still holds -------------------------------------------

DYING = Lease(LeaseState.HELD, Owner(who(1), 1, at(0), shim=who(99)), (99,))
CLAIMED = Lease(LeaseState.HELD, Owner(who(77), 2, at(0)), (77,))
RETAKEN = Lease(LeaseState.HELD, Owner(who(1), 1, at(0), shim=who(99)), (77,))


@pytest.mark.parametrize(
    ("lease", "events", "expected", "words"),
    [
        (DYING, LIFE, RoleState.BACKOFF, "it has just died"),
        (DYING, [*LIFE, asked(9, 1, Verb.KILL)], RoleState.STOPPING, "kill by cli:ana"),
        (DYING, [*LIFE, asked(9, 1, Verb.RESTART)], RoleState.STOPPING, "restart by cli:ana"),
        (DYING, [*LIFE, died(10, 1, 10)], RoleState.BACKOFF, "restart 1 of 3"),
        (DYING, [*LIFE, asked(9, 1, Verb.KILL), died(10, 1, 10)], RoleState.STOPPED, "ended by"),
        (CLAIMED, LIFE, RoleState.STARTING, "the lease is held"),
        (RETAKEN, LIFE, RoleState.STARTING, "the lease is held"),
        (HELD, LIFE, RoleState.STARTING, "the lease is held"),
    ],
)
def test_a_death_is_not_a_start(
    lease: Lease, events: list[Event], expected: RoleState, words: str
) -> None:
    found, reason = derive_state(ROLE, fold_events(events, ROLE), (), lease, None, None, at(10.5))
    assert found is expected and reason.startswith(words)
    off = replace(ROLE, policy=RestartPolicy(enabled=False))
    if lease is DYING and events is LIFE:
        found, reason = derive_state(off, fold_events(events, off), (), lease, None, None, at(10.5))
        assert found is RoleState.STOPPED and reason.startswith(words)


@pytest.mark.parametrize(
    ("more", "least"),
    [({}, 30), ({"settle_s": 40.0}, 40), ({"grace_s": 120.0, "settle_s": 40.0}, 160),
     ({"settle_s": 40.0, "count": 5}, 200)],
)  # fmt: skip
def test_callers_wait_longer_than_the_role_takes(more: dict[str, float], least: float) -> None:
    assert lock_timeout_s(replace(ROLE, **more)) >= least + (5 if more else 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_a_start_that_fails_at_once_counts_once(order: tuple[int, ...]) -> None:
    """The guard says `failed`, the shim says `started` and `died`; in whatever order."""
    told = [failed(16, 2), started(15, 2), died(16, 2, 0.1)]
    memory = fold_events([*LIFE, died(10, 1, 10), *(told[i] for i in order)], ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (1, 2)


def test_a_start_that_never_came_to_a_process_counts() -> None:
    memory = fold_events([*LIFE, died(10, 1, 10), failed(15, None), failed(25, None)], ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (2, 3)


def test_parked_until_a_person_acts() -> None:
    parked = Event(EventKind.PARKED, at(40), "worker", POLICY_ACTOR, "3 restarts")
    events = [*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), parked]
    assert decide(events, 10_000) == "nothing"
    for act in (
        started(50, 9, PERSON),
        Event(EventKind.CONFIRMED, at(50), actor=PERSON),
        Event(EventKind.RELEASED, at(50), actor=PERSON),
    ):
        assert fold_events([*events, act], ROLE).parked is None
    confirmed = Event(EventKind.CONFIRMED, at(50), actor=POLICY_ACTOR)
    assert fold_events([*events, confirmed], ROLE).parked is not None
    hour = [Event(EventKind.ADOPTED, at(60), identity=who(8)), died(4000, 8, 3700)]
    assert fold_events([*events, *hour], ROLE).parked is None, "a healthy hour"


def stalled(when: float, number: int) -> Event:
    return Event(EventKind.STALLED, at(when), "worker", "daemon", "4 waiting", who(number))


SHAKEN = [*LIFE, stalled(100, 1)]


@pytest.mark.parametrize(
    ("events", "now", "decision"),
    [
        (LIFE, 100, "nothing"),
        (SHAKEN, 101, "wait"),
        (SHAKEN, 105, "restart"),
        ([*SHAKEN, Event(EventKind.READY, at(110))], 120, "nothing"),
        # another one has stalled than the one that lives now
        ([*LIFE, stalled(100, 7)], 110, "nothing"),
        # somebody is about to end it, or has
        ([*SHAKEN, asked(101, 1, Verb.RESTART)], 110, "nothing"),
        ([*SHAKEN, died(101, 1, 101)], 110, "nothing"),
        # counted with the starts after deaths, and given up with them
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 1), stalled(100, 1)], 130, "park"),
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 1), stalled(100, 1)], 640, "restart"),
        ([*LIFE, Event(EventKind.PARKED, at(90)), stalled(100, 1)], 640, "nothing"),
    ],
)  # fmt: skip
def test_policy_for_a_worker_that_stalls(events: list[Event], now: float, decision: str) -> None:
    living = [instance(1)]
    firm = replace(ROLE, policy=RestartPolicy(stalled="restart"))
    assert decide_stall_restart(firm, fold_events(events, firm), living, at(now)).action == decision
    for lenient in (ROLE, replace(firm, command=())):
        assert (
            decide_stall_restart(lenient, fold_events(events, lenient), living, at(now)).action
            == "nothing"
        )
    off = replace(firm, policy=RestartPolicy(stalled="restart", enabled=False))
    assert decide_stall_restart(off, fold_events(events, off), living, at(now)).action == "nothing"


def test_a_restart_by_policy_counts_once() -> None:
    events = [
        *SHAKEN,
        asked(105, 1, Verb.RESTART, POLICY_ACTOR),
        died(106, 1, 106),
        started(107, 2),
    ]
    memory = fold_events(events, ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes, memory.wanted) == (1, 0, True)


def test_a_person_begins_anew_and_what_was_before_is_still_known() -> None:
    events = [*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1)]
    memory = fold_events([*events, started(30, 4, PERSON)], ROLE)
    assert count_recent_restarts(ROLE, memory, at(60)) == 0
    assert count_recent_starts(ROLE, memory, at(60)) == 2
    assert count_recent_starts(ROLE, memory, at(900)) == 0


def test_a_clock_that_is_set_changes_nothing() -> None:
    events = [*LIFE, died(10, 1, 10), started(15, 2), died(16, 2, 1)]
    for jump in (-86_400 * 365, -3600, 3600, 86_400 * 365):
        set_back = replace(at(17), at=at(17).at + jump)
        decision = decide_restart(ROLE, fold_events(events, ROLE), (), FREE, set_back)
        assert (
            decision.action is RepairAction.WAIT
            and decision.due_at
            and decision.due_at.tick == at(26).tick
        )
        assert count_recent_restarts(ROLE, fold_events(events, ROLE), set_back) == 1


def test_permission() -> None:
    living = [instance(7, token=3)]
    kill = Command(Verb.KILL, "worker")
    assert permit(kill, ROLE, living, HELD) is None
    assert permit(replace(kill, target=who(7), token=3), ROLE, living, HELD) is None
    assert permit(replace(kill, token=3), ROLE, living, HELD) is None
    assert permit(replace(kill, target=who(7), token=2), ROLE, living, HELD) is not None
    assert permit(replace(kill, target=who(6)), ROLE, living, HELD) is not None
    assert permit(replace(kill, token=2), ROLE, living, HELD) is not None
    bare = replace(ROLE, command=())
    assert permit(Command(Verb.ENSURE, "worker"), bare, [], FREE) is not None
    assert permit(Command(Verb.ENSURE, "worker"), bare, living, FREE) is None
    assert permit(Command(Verb.RESTART, "worker"), bare, living, FREE) is not None
    lost = Lease(LeaseState.REPLACED, Owner(who(7), 3, at(0)))
    assert permit(Command(Verb.ENSURE, "worker"), ROLE, [], lost) is not None


def test_targets() -> None:
    old, new = instance(1, since=0), instance(2, since=5)
    both = [old, new]
    assert select_targets(Command(Verb.KILL), ROLE, both) == (old, new)
    assert select_targets(Command(Verb.KILL, target=who(2)), ROLE, both) == (new,)
    assert select_targets(Command(Verb.END_DUPLICATES), ROLE, both) == (new,)
    assert select_targets(Command(Verb.ENSURE), ROLE, both) == (new,)
    assert select_targets(Command(Verb.ENSURE), ROLE, [old]) == ()
    assert select_targets(Command(Verb.ENSURE), replace(ROLE, keep="newest"), both) == (old,)


@pytest.mark.parametrize(
    ("living", "lease", "worked", "stalled", "events", "expected"),
    [
        ((), FREE, None, None, [], RoleState.STOPPED),
        ((), HELD, None, None, [], RoleState.STARTING),
        ((), Lease(LeaseState.UNKNOWN), None, None, [], RoleState.UNKNOWN),
        ((), FREE, None, None, [*LIFE, died(99, 1, 99)], RoleState.BACKOFF),
        ((instance(1, since=99.9),), HELD, None, None, LIFE, RoleState.STARTING),
        ((instance(1, since=99.9),), HELD, 99.95, None, LIFE, RoleState.READY),
        ((instance(1, since=99.9),), HELD, 99.8, None, LIFE, RoleState.STARTING),
        ((instance(1),), HELD, None, None, LIFE, RoleState.RUNNING),
        ((instance(1),), HELD, 50, None, LIFE, RoleState.READY),
        ((instance(1),), HELD, 50, "no task taken", LIFE, RoleState.STALLED),
        ((instance(1, kind="T"),), HELD, 50, None, LIFE, RoleState.STALLED),
        ((instance(1),), HELD, 50, None, [*LIFE, asked(99, 1, Verb.KILL)], RoleState.STOPPING),
    ],
)
def test_states(
    living: tuple[Instance, ...], lease: Lease, worked: float | None, stalled: str | None,
    events: list[Event], expected: RoleState,
) -> None:  # fmt: skip
    seen = at(worked) if worked is not None else None
    memory = fold_events(events, ROLE)
    assert derive_state(ROLE, memory, living, lease, seen, stalled, at(100))[0] is expected
