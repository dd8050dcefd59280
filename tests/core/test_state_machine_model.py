"""A random model of one role and its restart policy. Policy never starts a second instance."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_builders import BOOT, PERSON, ROLE, instance, who

from console.core.model.events import Event, EventKind
from console.core.model.processes import Instance
from console.core.model.roles import Lease, LeaseState
from console.core.model.time import Moment
from console.core.supervision.state_machine import (
    POLICY_ACTOR,
    RepairAction,
    RoleHistory,
    decide_restart,
    derive_state,
    fold_events,
)


class Supervised(RuleBasedStateMachine):
    """One role with random crashes, kills, outside starts and clock changes, under the policy."""

    @initialize()
    def begin(self) -> None:
        """Start with a role that has never run."""
        self.time, self.skew, self.next = 0.0, 0.0, 1
        self.living: dict[int, float] = {}
        self.leased: int | None = None
        self.leftover = False
        self.ledger: list[Event] = []
        self.ended_by_person = self.parked = False
        self.automatic: list[float] = []

    def now(self) -> Moment:
        """Return the current moment. Its wall clock may jump; its tick never does."""
        return Moment(self.time + self.skew, self.time, BOOT)

    def tell(self, kind: EventKind, actor: str, number: int | None = None, **data: object) -> None:
        """Record an event."""
        identity = who(number) if number is not None else None
        event = Event(kind, self.now(), "worker", actor, "", identity, number, data)
        self.ledger.append(event)

    def lease(self) -> Lease:
        """Return the lease as the life lock would show it."""
        if self.leased is not None:
            return Lease(LeaseState.HELD)
        return Lease(LeaseState.ORPHANED if self.leftover else LeaseState.FREE)

    def seen(self) -> list[Instance]:
        """Return the running instances."""
        return [instance(n, n if n == self.leased else None) for n in self.living]

    def start(self, actor: str) -> None:
        """Start an instance under the lease."""
        number, self.next = self.next, self.next + 1
        self.living[number], self.leased, self.leftover = self.time, number, False
        self.tell(EventKind.STARTED, actor, number)

    def end(self, number: int) -> None:
        """Record the death of an instance."""
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
        """Make one policy decision on a newly folded history, as after a daemon restart."""
        memory = fold_events(self.ledger, ROLE)
        decision = decide_restart(ROLE, memory, self.seen(), self.lease(), self.now())
        if decision.action is RepairAction.PARK:
            assert not self.parked, "parked once"
            self.parked = True
            self.tell(EventKind.PARKED, POLICY_ACTOR)
        if decision.action is not RepairAction.START:
            return
        assert not self.living, "a start while an instance lives"
        assert self.leased is None, "a start while the lease is held"
        assert not self.parked, "a parked role that starts by itself"
        assert not self.ended_by_person, "what a person ended stays ended"
        window = [t for t in self.automatic if self.time - t <= ROLE.policy.window_s]
        assert len(window) < ROLE.policy.limit, "more restarts than the limit"
        lived = (EventKind.STARTED, EventKind.ADOPTED, EventKind.FAILED, EventKind.DIED)
        if fails != "no" or any(event.kind in lived for event in self.ledger):
            self.automatic.append(self.time)  # the first start is no restart
        if fails == "no process":
            self.tell(EventKind.FAILED, POLICY_ACTOR, verb="ensure")
            return
        self.start(POLICY_ACTOR)
        if fails == "at once":
            number = self.leased
            assert number is not None
            self.tell(EventKind.FAILED, POLICY_ACTOR, number, verb="ensure")
            self.end(number)

    @invariant()
    def waiting_has_an_end(self) -> None:
        memory: RoleHistory = fold_events(self.ledger, ROLE)
        decision = decide_restart(ROLE, memory, self.seen(), self.lease(), self.now())
        if decision.action is RepairAction.WAIT:
            assert decision.due_at is not None
            assert 0 < decision.due_at.tick - self.time <= ROLE.policy.backoff_max_s
        assert derive_state(ROLE, memory, self.seen(), self.lease(), None, None, self.now())


TestSupervised = Supervised.TestCase
TestSupervised.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
