"""The restart policy, permissions and role states, as tables with a fixed current time."""

from __future__ import annotations

import pytest
from ledger_builders import (
    FREE,
    HELD,
    PERSON,
    ROLE,
    asked,
    at,
    died,
    failed,
    instance,
    started,
    who,
)

from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Instance
from console.core.model.roles import Lease, LeaseState, Owner, RestartPolicy, Role, RoleState
from console.core.records import replace
from console.core.supervision.state_machine import (
    POLICY_ACTOR,
    RepairAction,
    command_refusal,
    count_recent_restarts,
    count_recent_starts,
    decide_restart,
    decide_stall_restart,
    derive_state,
    fold_events,
    lock_timeout_s,
    select_targets,
)


def decide(events: list[Event], now: float, lease: Lease = FREE, *living: Instance) -> str:
    """Return the action of the restart policy and the time at which it is due."""
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
        # Each further crash doubles the back-off: 5, 10, 20, and at most 60 seconds.
        ([*LIFE, died(10, 1, 10), started(15, 2), died(16, 2, 1)], 17, "wait 26"),
        ([*LIFE, died(10, 1, 10), started(15, 2), died(16, 2, 1), started(26, 3), died(27, 3, 1)],
         30, "wait 47"),
        # An uptime of sixty seconds resets the back-off.
        ([*LIFE, died(10, 1, 10), started(15, 2), died(90, 2, 75)], 91, "wait 95"),
        # The role is parked after three restarts within 600 s.
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 4), died(39, 4, 1)], 40, "park"),
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 4), died(39, 4, 1)], 620, "start"),
        # An operator ended it, so it stays down.
        ([*LIFE, asked(5, 1, Verb.KILL), died(6, 1, 6)], 500, "nothing"),
        ([*LIFE, died(6, 1, 6), asked(7, None, Verb.KILL)], 500, "nothing"),
        # Policy completes an interrupted restart.
        ([*LIFE, asked(5, 1, Verb.RESTART), died(6, 1, 6)], 12, "start"),
        # A start that is recorded late does not cancel a later request.
        ([asked(5, 1, Verb.KILL), started(0, 1, PERSON), died(6, 1, 6)], 500, "nothing"),
        # An ensure during a kill makes the role wanted again.
        ([*LIFE, asked(5, 1, Verb.KILL), Event(EventKind.CONFIRMED, at(5), actor=PERSON),
          died(6, 1, 6)], 500, "start"),
    ],
)  # fmt: skip
def test_decide_restart_from_the_role_history(
    events: list[Event], now: float, decision: str
) -> None:
    assert decide(events, now) == decision


def test_decide_restart_leaves_possibly_running_instances_alone() -> None:
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


def test_lease_held_by_the_shim_of_a_dead_worker_is_checked_again() -> None:
    """The shim records no event when it releases the lease, so policy has to check it again."""
    events = [*LIFE, died(10, 1, 10)]
    dying = Lease(LeaseState.HELD, Owner(who(1), 1, at(0), shim=who(99)))
    assert decide(events, 11, dying) == "wait 15"  # the back-off ends later
    assert decide(events, 20, dying) == "wait 20.25"
    assert decide(events, 20, FREE) == "start"


def test_one_dead_instance_of_two_is_replaced() -> None:
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


def test_simultaneous_deaths_count_as_one_crash() -> None:
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


def test_pool_that_crashes_at_each_start_is_parked() -> None:
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


def test_pool_member_that_crashes_at_each_start_is_parked() -> None:
    """Each instance was started after the previous death, so each death is a separate crash."""
    events, others = list(BORN), [instance(n) for n in range(2, 6)]
    now, number, reasons = 100.0, 1, []
    for _ in range(4):
        events.append(died(now, number, 0.4))
        decision = decide_restart(POOL, fold_events(events, POOL), others, HELD, at(now))
        reasons.append(decision.reason)
        if decision.due_at is None:
            break
        now, number = decision.due_at.since(at(0)) + 0.5, number + 100
        events.append(started(now - 0.5, number))
    assert reasons[:3] == ["restart 1 of 3", "restart 2 of 3", "restart 3 of 3"]
    assert decision.action is RepairAction.PARK


def test_rapid_crashes_of_a_single_worker_count_separately() -> None:
    quick = replace(ROLE, policy=RestartPolicy(backoff_s=0.1))
    events = [*LIFE, died(10, 1, 10), started(10.1, 2), died(10.2, 2, 0.1), started(10.4, 3),
              died(10.5, 3, 0.1)]  # fmt: skip
    memory = fold_events(events, quick)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (2, 3)


# --- the first start ------------------------------------------------------------------------


def test_first_start_does_not_count_as_a_restart() -> None:
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
def test_roles_without_autostart_command_or_policy_are_not_started(role: Role) -> None:
    assert (
        decide_restart(role, fold_events([], role), (), FREE, at(0)).action is RepairAction.NOTHING
    )


def test_killed_role_that_never_ran_stays_down() -> None:
    events = [asked(1, None, Verb.KILL)]
    assert (
        decide_restart(ROLE, fold_events(events, ROLE), (), FREE, at(9)).action
        is RepairAction.NOTHING
    )


def test_adopting_a_killed_role_does_not_make_it_wanted() -> None:
    """An instance that is started from outside is adopted, but not restarted."""
    events = [*LIFE, asked(5, 1, Verb.KILL), died(6, 1, 6)]
    events += [Event(EventKind.ADOPTED, at(7), identity=who(8)), died(20, 8, 13)]
    assert decide(events, 500) == "nothing"
    assert decide([*events, Event(EventKind.CONFIRMED, at(30), actor=PERSON)], 500) == "start"


# --- a lease that the shim of a dead worker still holds --------------------------------------

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
def test_lease_held_after_a_death_does_not_mean_starting(
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
def test_lock_timeout_exceeds_grace_period_and_settle_time(
    more: dict[str, float], least: float
) -> None:
    assert lock_timeout_s(replace(ROLE, **more)) >= least + (5 if more else 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_start_that_fails_at_once_counts_once(order: tuple[int, ...]) -> None:
    """The guard records `failed`; the shim records `started` and `died`. Their order may vary."""
    events = [failed(16, 2), started(15, 2), died(16, 2, 0.1)]
    memory = fold_events([*LIFE, died(10, 1, 10), *(events[i] for i in order)], ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (1, 2)


def test_start_without_a_process_counts_as_an_attempt() -> None:
    memory = fold_events([*LIFE, died(10, 1, 10), failed(15, None), failed(25, None)], ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes) == (2, 3)


def test_parked_role_stays_parked_until_an_operator_acts() -> None:
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
        # Another instance stalled than the one that runs now.
        ([*LIFE, stalled(100, 7)], 110, "nothing"),
        # A restart was requested, or the instance has died.
        ([*SHAKEN, asked(101, 1, Verb.RESTART)], 110, "nothing"),
        ([*SHAKEN, died(101, 1, 101)], 110, "nothing"),
        # Restarts of stalled workers count against the same limit as restarts after crashes.
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 1), stalled(100, 1)], 130, "park"),
        ([*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1),
          started(38, 1), stalled(100, 1)], 640, "restart"),
        ([*LIFE, Event(EventKind.PARKED, at(90)), stalled(100, 1)], 640, "nothing"),
    ],
)  # fmt: skip
def test_decide_stall_restart_from_the_role_history(
    events: list[Event], now: float, decision: str
) -> None:
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


def test_restart_of_a_stalled_worker_counts_once() -> None:
    events = [
        *SHAKEN,
        asked(105, 1, Verb.RESTART, POLICY_ACTOR),
        died(106, 1, 106),
        started(107, 2),
    ]
    memory = fold_events(events, ROLE)
    assert (len(memory.restart_attempts), memory.consecutive_crashes, memory.wanted) == (1, 0, True)


def test_start_by_an_operator_resets_restarts_but_not_starts() -> None:
    events = [*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), started(17, 3), died(18, 3, 1)]
    memory = fold_events([*events, started(30, 4, PERSON)], ROLE)
    assert count_recent_restarts(ROLE, memory, at(60)) == 0
    assert count_recent_starts(ROLE, memory, at(60)) == 2
    assert count_recent_starts(ROLE, memory, at(900)) == 0


def test_wall_clock_changes_do_not_affect_decisions() -> None:
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


def test_permit_checks_target_token_and_command() -> None:
    living = [instance(7, token=3)]
    kill = Command(Verb.KILL, "worker")
    assert command_refusal(kill, ROLE, living, HELD) is None
    assert command_refusal(replace(kill, target=who(7), token=3), ROLE, living, HELD) is None
    assert command_refusal(replace(kill, token=3), ROLE, living, HELD) is None
    assert command_refusal(replace(kill, target=who(7), token=2), ROLE, living, HELD) is not None
    assert command_refusal(replace(kill, target=who(6)), ROLE, living, HELD) is not None
    assert command_refusal(replace(kill, token=2), ROLE, living, HELD) is not None
    bare = replace(ROLE, command=())
    assert command_refusal(Command(Verb.ENSURE, "worker"), bare, [], FREE) is not None
    assert command_refusal(Command(Verb.ENSURE, "worker"), bare, living, FREE) is None
    assert command_refusal(Command(Verb.RESTART, "worker"), bare, living, FREE) is not None
    lost = Lease(LeaseState.REPLACED, Owner(who(7), 3, at(0)))
    assert command_refusal(Command(Verb.ENSURE, "worker"), ROLE, [], lost) is not None


def test_select_targets_by_verb_and_keep_rule() -> None:
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
def test_derive_state_from_instances_lease_and_events(
    living: tuple[Instance, ...], lease: Lease, worked: float | None, stalled: str | None,
    events: list[Event], expected: RoleState,
) -> None:  # fmt: skip
    seen = at(worked) if worked is not None else None
    memory = fold_events(events, ROLE)
    assert derive_state(ROLE, memory, living, lease, seen, stalled, at(100))[0] is expected
