"""Ensure, restart, kill: the only code that starts or ends a worker.

The guarantee is the life lock: a worker is started only by one who holds it, has looked again
while holding it, and hands it on to the worker. The decision lock only makes callers join
instead of queueing up; killing its holder at any point costs nothing but a wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from console.core.exit_codes import FAILURE, TIMED_OUT, UNREADABLE
from console.core.frozen import replace, slotted
from console.core.model import (
    Command,
    Event,
    EventKind,
    LeaseState,
    Outcome,
    Role,
    Verb,
)
from console.core.secret_redaction import command_line
from console.core.supervision import state_machine
from console.core.text.command_hint import quoted, step
from console.core.text.formatting import duration, visible
from console.system import clock
from console.system.box import Box, Observation
from console.system.guard import lifecycle_events, terminate
from console.system.guard.stop import Refused, Undertaker, elsewhere, nudge
from console.system.locks import lease, start_lock
from console.system.locks.command_lock import Busy, decision
from console.system.locks.lease import LeaseError
from console.system.processes.process_table import ProcessError
from console.system.store.store import StoreError

_POLL_S = 0.02


@slotted
class Guard:
    """Carries out commands on the roles of one box."""

    box: Box
    patience_s: float | None = None
    """How long a caller waits for another one; None: as long as the role may take."""

    def carry_out(self, command: Command) -> Outcome:
        """Do what a command asks, or refuse; either is in the ledger. Never raises for refusals."""
        role = self.box.role(command.role)
        if role is None:
            names = ", ".join(role.name for role in self.box.roles)
            return Outcome(False, f"there is no role {command.role!r}; there are: {names}", 2)
        try:
            outcome = self._carry_out(command, role)
            return outcome if command.dry_run else self.box.lines.caution(command, outcome)
        except Refused as refusal:
            return self._refuse(command, str(refusal), refusal.code)
        except Busy as busy:
            return self._refuse(command, str(busy), TIMED_OUT)
        except (LeaseError, ProcessError) as error:
            return self._refuse(command, str(error), FAILURE)
        except StoreError as error:
            return Outcome(False, f"the ledger cannot be written: {error}", UNREADABLE)

    def _carry_out(self, command: Command, role: Role) -> Outcome:
        if command.dry_run:
            return self._rehearse(command, role)
        if command.actor == state_machine.POLICY:
            self.box.store.prove()  # it counts its starts there: blind, it would never stop
        if outcome := self._joined(command, role):
            return outcome
        newest = self._newest()
        before = newest.id if newest else 0
        path = self.box.paths.decision(role.name)
        with decision(path, self._patience(role), lambda: self._joined(command, role)) as joined:
            if joined is not None:
                return joined
            if command.actor == state_machine.POLICY:
                self._still_wanted(role)
            match command.verb:
                case Verb.ENSURE:
                    return self._failed(role, before) or self._ensure(command, role)
                case Verb.RESTART:
                    return self._restart(command, role)
                case Verb.KILL | Verb.END_DUPLICATES:
                    return self._kill(command, role)
                case _:
                    raise Refused(f"{command.verb} is not done to a role", 2)

    def _patience(self, role: Role) -> float:
        return state_machine.patience_s(role) if self.patience_s is None else self.patience_s

    def _refuse(self, command: Command, reason: str, code: int) -> Outcome:
        if not command.dry_run:
            with contextlib.suppress(StoreError):
                if command.actor == state_machine.POLICY and self._told(command, reason):
                    return Outcome(False, f"{command.role}: refused: {reason}", code)
                data = {"verb": command.verb.value}
                about = (command.role, command.actor, reason, command.target, command.token)
                self.box.record(EventKind.REFUSED, *about, data)
        return Outcome(False, f"{command.role}: refused: {reason}", code)

    def _told(self, command: Command, reason: str) -> bool:
        """Whether the role's last line says the same: policy tries again and again."""
        last = self.box.store.events(limit=1, role=command.role)
        return bool(last) and (last[-1].kind, last[-1].reason) == (EventKind.REFUSED, reason)

    def _look(self, role: Role, full: bool = True) -> Observation:
        """Decisions are made on what is read now, never on what was known."""
        return self.box.observe([role], full)[0]

    def _settled(self, role: Role, seen: Observation) -> bool:
        """The wanted number runs, and has outlived its settle time."""
        now = clock.now()
        return len(seen.instances) == role.count and all(
            instance.uptime(now) >= role.settle_s for instance in seen.instances
        )

    def _confirm(self, command: Command, role: Role) -> Outcome | None:
        """The answer when all is as wanted already: nothing is locked, nothing is started."""
        seen = self._look(role)
        if not self._settled(role, seen):
            return None
        lifecycle_events.tell_starts(self.box, role, seen, command.actor)
        pids = ", ".join(str(instance.pid) for instance in seen.instances)
        first, found = seen.instances[0], f"PID {pids} ({_whose(seen)})"
        about = (role.name, command.actor, found, first.identity, first.token)
        self.box.tell(EventKind.CONFIRMED, *about)
        return Outcome(True, f"{role.name}: already running: {found}", 0, first.pid)

    def _ensure(self, command: Command, role: Role) -> Outcome:
        """Make the number right: start what is missing.

        What is too much is ended only where the operator has confirmed it (`force`).
        """
        patience = self._patience(role)
        deadline, full = clock.tick() + patience, True
        wish = replace(command, verb=Verb.ENSURE, target=None, token=None)
        undertaker = Undertaker(self.box, wish, role)
        done: list[Outcome] = []
        while clock.tick() < deadline:
            seen, full = self._look(role, full), False  # who starts one looks in full once more
            if reason := state_machine.permit(wish, role, seen.instances, seen.lease):
                raise Refused(reason)
            if reason := unconfirmed(wish, role, seen):
                raise Refused(reason)
            outcome = None
            if len(seen.instances) > role.count:
                outcome = undertaker.end(state_machine.targets(wish, role, seen.instances), seen)
            elif len(seen.instances) < role.count:
                if sum(one.pid is not None for one in done) >= role.count:
                    return _lost(role, done)
                outcome = self._fill(command, role, seen, undertaker)
            elif self._settled(role, seen):
                lifecycle_events.tell_starts(self.box, role, seen, command.actor)
                if answer := _sum(done) or self._confirm(command, role):
                    return _beside(answer, seen)
            else:
                time.sleep(_POLL_S)
            if outcome is not None:
                done.append(outcome)
                if not outcome.done:
                    return outcome
        holder = start_lock.holder(role)
        held = _held_by(seen) or (f" ({holder})" if holder else "")
        raise Refused(f"not settled within {duration(patience)}{held}", TIMED_OUT)

    def _fill(
        self, command: Command, role: Role, seen: Observation, undertaker: Undertaker
    ) -> Outcome | None:
        """Start one instance in the first free slot; None when there is a reason to look again."""
        from console.system.guard.start import occupied, start  # most find it running

        for slot, held in enumerate(seen.leases):
            if held.state is LeaseState.ORPHANED:
                undertaker.end_leftovers(slot, held)
                return None
            if held.state is LeaseState.FREE and not occupied(held, seen):
                return start(self.box, command, role, slot)
        if all(held.state is LeaseState.UNKNOWN for held in seen.leases):
            raise Refused(seen.lease.reason)
        nudge(seen.leases)
        time.sleep(_POLL_S)
        return None

    # --- restart and kill ------------------------------------------------------------------

    def _restart(self, command: Command, role: Role) -> Outcome:
        """End it, then start it, under one decision lock; what cannot be started is not ended."""
        from console.system.guard.shim_launcher import hopeless

        undertaker = Undertaker(self.box, command, role)
        seen = undertaker.await_quiet(self._patience(role))
        if reason := state_machine.permit(command, role, seen.instances, seen.lease):
            raise Refused(reason)
        if reason := hopeless(role) or start_lock.refusal(role):
            raise Refused(f"it could not be started again: {reason}")
        if any(held.state is LeaseState.UNKNOWN for held in seen.leases):
            raise Refused(f"it could not be started again: {seen.lease.reason}")
        ended = undertaker.end(state_machine.targets(command, role, seen.instances), seen)
        if not ended.done:
            return ended
        try:
            return self._ensure(command, role)
        except Refused as refusal:
            raise Refused(f"{ended.message}; then {refusal}", refusal.code) from refusal

    def _kill(self, command: Command, role: Role) -> Outcome:
        undertaker = Undertaker(self.box, command, role)
        seen = undertaker.await_quiet(self._patience(role))
        if reason := state_machine.permit(command, role, seen.instances, seen.lease):
            raise Refused(reason)
        return undertaker.end(state_machine.targets(command, role, seen.instances), seen)

    # --- rehearsing and joining ------------------------------------------------------------

    def _rehearse(self, command: Command, role: Role) -> Outcome:
        """What the command would do now."""
        from console.system.guard.shim_launcher import hopeless

        seen = self._look(role)
        ends = state_machine.targets(command, role, seen.instances)
        left = len(seen.instances) - len(ends)
        starts = command.verb in (Verb.ENSURE, Verb.RESTART) and left < role.count
        refusals = [state_machine.permit(command, role, seen.instances, seen.lease)]
        if command.verb is Verb.ENSURE:
            refusals.append(unconfirmed(command, role, seen))
        refusals += [
            elsewhere(one, command.verb) or terminate.forbidden(one, self.box) for one in ends
        ]
        if starts and role.command:
            refusals.append(hopeless(role))
        if reason := next(filter(None, refusals), None):
            return Outcome(False, f"{role.name}: would be refused: {reason}", FAILURE)
        steps = [f"end {terminate.names(one, self.box)}" for one in ends]
        if starts:
            steps.append(f"start {role.count - left}: {visible(command_line(role.command), 200)}")
        return Outcome(True, f"{role.name}: would {', then '.join(steps) or 'do nothing'}")

    def _newest(self) -> Event | None:
        """The ledger's last line."""
        return next(iter(self.box.store.events(limit=1)), None)

    def _joined(self, command: Command, role: Role) -> Outcome | None:
        """The answer that is there without the decision lock: another's worker is ours as well.

        Asked again and again by those who wait, so it looks for a living owner alone.
        """
        if command.verb is not Verb.ENSURE:
            return None
        owner = lease.living(self.box.paths.lease(role.name), self.box.paths.owner(role.name))
        if owner is None:
            return None
        old_enough = clock.now().since(owner.since) >= role.settle_s
        return self._confirm(command, role) if old_enough else None

    def _still_wanted(self, role: Role) -> None:
        """Policy decides before it waits for its turn; who ended it meanwhile has the last word."""
        memory = state_machine.remember(self.box.store.events(0, role.name), role)
        if not state_machine.wanted(role, memory) or memory.parked is not None:
            raise Refused("it was ended on request, or parked, since policy decided")

    def _failed(self, role: Role, before: int) -> Outcome | None:
        """The failure of a start that was tried while we waited: trying at once is no better."""
        for event in reversed(self.box.store.events(before, role.name)):
            tries = event.kind is EventKind.FAILED and event.data.get("verb") == Verb.ENSURE
            if tries and not event.data.get("killed"):
                tried = f"tried just now by {event.actor}: {event.reason}"
                return Outcome(False, f"{role.name}: not started: {tried}", FAILURE)
        return None


def unconfirmed(command: Command, role: Role, seen: Observation) -> str | None:
    """Why an ensure goes no further before the operator has confirmed it, or None."""
    if command.force:
        return None
    if len(seen.instances) > role.count:
        pids = ", ".join(f"PID {one.pid}" for one in seen.instances)
        return (
            f"{len(seen.instances)} instances where {role.count} is wanted: {pids}; ensure ends "
            f"none: `{step(f'kill --duplicates {role.name}')}` does (key x)"
        )
    leased = next((one for one in seen.others if one.box), None)
    if leased is None or len(seen.instances) == role.count:
        return None
    return (
        f"PID {leased.identity.pid} runs as user {leased.user} under the rpa-console of that user "
        f"(state directory {leased.box}): `sudo -u {leased.user} rpa-console --state-dir "
        f"{quoted(leased.box)} ensure {role.name}` reaches it; --yes starts another one"
    )


def _whose(seen: Observation) -> str:
    """How the instances came to be, in words."""
    boxes = dict.fromkeys(one.box for one in seen.instances if one.box is not None)
    if boxes:
        return f"run by state directory {', '.join(map(str, boxes))}"
    return "adopted" if any(one.adopted for one in seen.instances) else "leased"


def _beside(outcome: Outcome, seen: Observation) -> Outcome:
    """The outcome with the processes that look like an instance and do not count."""
    if not seen.others:
        return outcome
    named = [f"PID {one.identity.pid} of user {one.user} ({one.why})" for one in seen.others[:3]]
    more = f" and {len(seen.others) - 3} more" if len(seen.others) > 3 else ""
    words = f"{outcome.message}; not counted: {', '.join(named)}{more}"
    return replace(outcome, message=words)


def _held_by(seen: Observation) -> str:
    pids = ", ".join(str(pid) for held in seen.leases for pid in held.holders)
    return f" ({seen.lease.reason}: PID {pids})" if pids else ""


def _lost(role: Role, done: Sequence[Outcome]) -> Outcome:
    """What was started is gone again: starting it for ever is policy's business, not ours."""
    pids = ", ".join(str(one.pid) for one in done if one.pid is not None)
    return Outcome(False, f"{role.name}: started PID {pids}, which is gone again", FAILURE)


def _sum(done: Sequence[Outcome]) -> Outcome | None:
    """Several steps as one answer."""
    if not done:
        return None
    pids = [outcome.pid for outcome in done if outcome.pid is not None]
    message = "; ".join(outcome.message for outcome in done)
    return Outcome(True, message, 0, pids[0] if pids else None, changed=True)
