"""Policy and permission as tables with a literal now, and as a model that is driven at random."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from console.core.model import (
    Command,
    Event,
    EventKind,
    Identity,
    Instance,
    Lease,
    LeaseState,
    Moment,
    Owner,
    Process,
    RestartPolicy,
    Role,
    RoleState,
    Verb,
)
from console.core.supervision import (
    POLICY,
    Memory,
    Repair,
    permit,
    recent_restarts,
    remember,
    repair,
    state,
    targets,
)

BOOT = "boot"
ROLE = Role("worker", match="rpa_worker.py", command=("python", "rpa_worker.py"))
FREE, HELD = Lease(LeaseState.FREE), Lease(LeaseState.HELD)
PERSON = "cli:ana@pts/3"


def at(seconds: float) -> Moment:
    """A moment on both clocks."""
    return Moment(1_700_000_000 + seconds, 5_000 + seconds, BOOT)


def who(number: int) -> Identity:
    """The identity of one of the workers of a story."""
    return Identity(number, number, BOOT)


def instance(number: int, token: int | None = 1, since: float = 0, kind: str = "S") -> Instance:
    """A living worker."""
    process = Process(who(number), 1, ("python", "rpa_worker.py"), at(since), state=kind)
    return Instance("worker", (process,), leased=token is not None, token=token)


def started(when: float, number: int, actor: str = POLICY) -> Event:
    return Event(EventKind.STARTED, at(when), "worker", actor, "", who(number), number)


def died(when: float, number: int, uptime: float) -> Event:
    data = {"uptime_s": uptime}
    return Event(EventKind.DIED, at(when), "worker", "shim", "crash", who(number), number, data)


def asked(when: float, number: int | None, verb: Verb, actor: str = PERSON) -> Event:
    identity = who(number) if number is not None else None
    return Event(
        EventKind.ASKED, at(when), "worker", actor, "", identity, data={"verb": verb.value}
    )


def failed(when: float, number: int | None, actor: str = POLICY) -> Event:
    identity = who(number) if number is not None else None
    data = {"verb": Verb.ENSURE.value}
    return Event(EventKind.FAILED, at(when), "worker", actor, "exit 1", identity, data=data)


def decide(events: list[Event], now: float, lease: Lease = FREE, *living: Instance) -> str:
    """What policy does, in a word, and when."""
    decision = repair(ROLE, remember(events, ROLE), living, lease, at(now))
    due = f" {decision.at.since(at(0)):g}" if decision.at else ""
    return f"{decision.repair}{due}"


LIFE = [started(0, 1, PERSON)]


@pytest.mark.parametrize(
    ("events", "now", "decision"),
    [
        ([], 0, "nothing"),
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
    assert decide(events, 100, HELD) == "nothing"
    assert decide(events, 100, Lease(LeaseState.UNKNOWN)) == "nothing"
    assert decide(events, 100, Lease(LeaseState.ORPHANED)) == "start"
    off = replace(ROLE, policy=RestartPolicy(enabled=False))
    assert repair(off, remember(events, off), (), FREE, at(100)).repair is Repair.NOTHING
    bare = replace(ROLE, command=())
    assert repair(bare, remember(events, bare), (), FREE, at(100)).repair is Repair.NOTHING


def test_one_of_two_that_died_is_replaced() -> None:
    two = replace(ROLE, count=2)
    events = [started(0, 1, PERSON), started(0, 2, PERSON), died(10, 1, 10)]
    memory = remember(events, two)
    assert repair(two, memory, [instance(2)], HELD, at(100)).repair is Repair.START
    assert repair(two, memory, [instance(2), instance(3)], HELD, at(100)).repair is Repair.NOTHING


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_a_start_that_fails_at_once_counts_once(order: tuple[int, ...]) -> None:
    """The guard says `failed`, the shim says `started` and `died`; in whatever order."""
    told = [failed(16, 2), started(15, 2), died(16, 2, 0.1)]
    memory = remember([*LIFE, died(10, 1, 10), *(told[i] for i in order)], ROLE)
    assert (len(memory.restarts), memory.streak) == (1, 2)


def test_a_start_that_never_came_to_a_process_counts() -> None:
    memory = remember([*LIFE, died(10, 1, 10), failed(15, None), failed(25, None)], ROLE)
    assert (len(memory.restarts), memory.streak) == (2, 3)


def test_parked_until_a_person_acts() -> None:
    parked = Event(EventKind.PARKED, at(40), "worker", POLICY, "3 restarts")
    events = [*LIFE, died(1, 1, 1), started(6, 2), died(7, 2, 1), parked]
    assert decide(events, 10_000) == "nothing"
    for act in (
        started(50, 9, PERSON),
        Event(EventKind.CONFIRMED, at(50), actor=PERSON),
        Event(EventKind.RELEASED, at(50), actor=PERSON),
    ):
        assert remember([*events, act], ROLE).parked is None
    confirmed = Event(EventKind.CONFIRMED, at(50), actor=POLICY)
    assert remember([*events, confirmed], ROLE).parked is not None
    hour = [Event(EventKind.ADOPTED, at(60), identity=who(8)), died(4000, 8, 3700)]
    assert remember([*events, *hour], ROLE).parked is None, "a healthy hour"


def test_a_clock_that_is_set_changes_nothing() -> None:
    events = [*LIFE, died(10, 1, 10), started(15, 2), died(16, 2, 1)]
    for jump in (-86_400 * 365, -3600, 3600, 86_400 * 365):
        set_back = replace(at(17), at=at(17).at + jump)
        decision = repair(ROLE, remember(events, ROLE), (), FREE, set_back)
        assert decision.repair is Repair.WAIT and decision.at and decision.at.tick == at(26).tick
        assert recent_restarts(ROLE, remember(events, ROLE), set_back) == 1


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
    assert targets(Command(Verb.KILL), ROLE, both) == (old, new)
    assert targets(Command(Verb.KILL, target=who(2)), ROLE, both) == (new,)
    assert targets(Command(Verb.END_DUPLICATES), ROLE, both) == (new,)
    assert targets(Command(Verb.ENSURE), ROLE, both) == (new,)
    assert targets(Command(Verb.ENSURE), ROLE, [old]) == ()
    assert targets(Command(Verb.ENSURE), replace(ROLE, keep="newest"), both) == (old,)


@pytest.mark.parametrize(
    ("living", "lease", "worked", "stalled", "events", "expected"),
    [
        ((), FREE, None, None, [], RoleState.STOPPED),
        ((), HELD, None, None, [], RoleState.STARTING),
        ((), Lease(LeaseState.UNKNOWN), None, None, [], RoleState.UNKNOWN),
        ((), FREE, None, None, [*LIFE, died(99, 1, 99)], RoleState.BACKOFF),
        ((instance(1, since=99.9),), HELD, None, None, LIFE, RoleState.STARTING),
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
    memory = remember(events, ROLE)
    assert state(ROLE, memory, living, lease, seen, stalled, at(100))[0] is expected


class Supervised(RuleBasedStateMachine):
    """A role on a machine where anything may happen, and a policy that does what it decides."""

    @initialize()
    def begin(self) -> None:
        """Nothing has ever run."""
        self.time, self.skew, self.next = 0.0, 0.0, 1
        self.living: dict[int, float] = {}
        self.leased: int | None = None
        self.leftover = False
        self.ledger: list[Event] = []
        self.ended_by_person = self.parked = False
        self.automatic: list[float] = []

    def now(self) -> Moment:
        """A clock for people that jumps, and a tick that does not."""
        return Moment(self.time + self.skew, self.time, BOOT)

    def tell(self, kind: EventKind, actor: str, number: int | None = None, **data: object) -> None:
        """Write a line."""
        identity = who(number) if number is not None else None
        event = Event(kind, self.now(), "worker", actor, "", identity, number, data)
        self.ledger.append(event)

    def lease(self) -> Lease:
        """As the lock would show it."""
        if self.leased is not None:
            return Lease(LeaseState.HELD)
        return Lease(LeaseState.ORPHANED if self.leftover else LeaseState.FREE)

    def seen(self) -> list[Instance]:
        """Who lives."""
        return [instance(n, n if n == self.leased else None) for n in self.living]

    def start(self, actor: str) -> None:
        """A start under the lease."""
        number, self.next = self.next, self.next + 1
        self.living[number], self.leased, self.leftover = self.time, number, False
        self.tell(EventKind.STARTED, actor, number)

    def end(self, number: int) -> None:
        """A death, certified."""
        uptime = self.time - self.living.pop(number)
        if number == self.leased:
            self.leased = None
        self.tell(EventKind.DIED, "shim", number, uptime_s=uptime)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 10.0, 30.0, 61.0, 601.0, 3601.0]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(skew=st.sampled_from([-1e7, -3600.0, 0.0, 3600.0, 1e7]))
    def somebody_sets_the_clock(self, skew: float) -> None:
        self.skew = skew

    @precondition(lambda self: not self.living)
    @rule()
    def a_person_ensures(self) -> None:
        self.start(PERSON)
        self.ended_by_person = self.parked = False
        self.automatic.clear()

    @rule()
    def somebody_else_starts_one(self) -> None:
        number, self.next = self.next, self.next + 1
        self.living[number] = self.time
        self.tell(EventKind.ADOPTED, "outside", number)
        self.ended_by_person = False

    @precondition(lambda self: self.living)
    @rule(data=st.data(), leftover=st.booleans())
    def one_crashes(self, data: st.DataObject, leftover: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.living)))
        long = self.time - self.living[number] >= ROLE.policy.unpark_s
        self.leftover = leftover and number == self.leased
        self.end(number)
        if long:
            self.parked = False
            self.automatic.clear()

    @rule()
    def a_person_kills(self) -> None:
        if not self.living:
            self.tell(EventKind.ASKED, PERSON, verb="kill")
        for number in sorted(self.living):
            self.tell(EventKind.ASKED, PERSON, number, verb="kill")
            self.end(number)
        self.ended_by_person, self.leftover = True, False

    @rule(fails=st.sampled_from(["no", "no", "at once", "no process"]))
    def policy_looks(self, fails: str) -> None:
        """The daemon's turn, with a fresh memory each time, as after its own restart."""
        memory = remember(self.ledger, ROLE)
        decision = repair(ROLE, memory, self.seen(), self.lease(), self.now())
        if decision.repair is Repair.PARK:
            assert not self.parked, "parked once"
            self.parked = True
            self.tell(EventKind.PARKED, POLICY)
        if decision.repair is not Repair.START:
            return
        assert not self.living, "a start while an instance lives"
        assert self.leased is None, "a start while the lease is held"
        assert not self.parked, "a parked role that starts by itself"
        assert not self.ended_by_person, "what a person ended stays ended"
        window = [t for t in self.automatic if self.time - t <= ROLE.policy.window_s]
        assert len(window) < ROLE.policy.limit, "more restarts than the limit"
        self.automatic.append(self.time)
        if fails == "no process":
            self.tell(EventKind.FAILED, POLICY, verb="ensure")
            return
        self.start(POLICY)
        if fails == "at once":
            number = self.leased
            assert number is not None
            self.tell(EventKind.FAILED, POLICY, number, verb="ensure")
            self.end(number)

    @invariant()
    def waiting_has_an_end(self) -> None:
        memory: Memory = remember(self.ledger, ROLE)
        decision = repair(ROLE, memory, self.seen(), self.lease(), self.now())
        if decision.repair is Repair.WAIT:
            assert decision.at is not None
            assert 0 < decision.at.tick - self.time <= ROLE.policy.backoff_max_s
        assert state(ROLE, memory, self.seen(), self.lease(), None, None, self.now())


TestSupervised = Supervised.TestCase
TestSupervised.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
