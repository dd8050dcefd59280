"""Ensure, restart, kill: the only code that starts or ends a worker.

The guarantee is the life lock: a worker is started only by one who holds it, has looked again
while holding it, and hands it on to the worker. The decision lock only makes callers join
instead of queueing up; killing its holder at any point costs nothing but a wait.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from console.core import supervision
from console.core.model import (
    Command,
    EventKind,
    Instance,
    LeaseState,
    Outcome,
    Owner,
    Role,
    Verb,
)
from console.core.text import duration, visible
from console.system import clock, launch, lease, process, tree
from console.system.box import Box, Observation, slot_name
from console.system.lease import LeaseError
from console.system.process import ProcessError
from console.system.store import StoreError

REFUSED, UNREADABLE, TIMED_OUT = 1, 3, 4
_POLL_S = 0.02
PATIENCE_S = 30.0
"""How long a caller waits for another one that is at work on the same role."""


class Refused(Exception):
    """A command is not carried out; the message says why."""

    def __init__(self, reason: str, code: int = REFUSED) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(slots=True)
class Guard:
    """Carries out commands on the roles of one box."""

    box: Box
    patience_s: float = PATIENCE_S

    def carry_out(self, command: Command) -> Outcome:
        """Do what a command asks, or refuse; either is in the ledger. Never raises for refusals."""
        role = self.box.role(command.role)
        if role is None:
            names = ", ".join(role.name for role in self.box.roles)
            return Outcome(False, f"there is no role {command.role!r}; there are: {names}", 2)
        try:
            return self._carry_out(command, role)
        except Refused as refusal:
            return self._refuse(command, str(refusal), refusal.code)
        except (LeaseError, ProcessError) as error:
            return self._refuse(command, str(error), REFUSED)
        except StoreError as error:
            return Outcome(False, f"the ledger cannot be written: {error}", UNREADABLE)

    def _carry_out(self, command: Command, role: Role) -> Outcome:
        if command.dry_run:
            return self._rehearse(command, role)
        if command.verb is Verb.ENSURE and (outcome := self._confirm(command, role)):
            return outcome
        with self._decision(role, command) as joined:
            if joined is not None:
                return joined
            match command.verb:
                case Verb.ENSURE:
                    return self._ensure(command, role)
                case Verb.RESTART:
                    return self._restart(command, role)
                case Verb.KILL | Verb.END_DUPLICATES:
                    return self._kill(command, role)
                case _:
                    raise Refused(f"{command.verb} is not done to a role", 2)

    def _refuse(self, command: Command, reason: str, code: int) -> Outcome:
        with contextlib.suppress(StoreError):
            data = {"verb": command.verb.value}
            self.box.record(
                EventKind.REFUSED, command.role, command.actor, reason, command.target, None, data
            )
        return Outcome(False, f"{command.verb} {command.role}: refused: {reason}", code)

    def _look(self, role: Role) -> Observation:
        return self.box.observe([role])[0]

    # --- ensure ----------------------------------------------------------------------------

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
        pids = ", ".join(str(instance.pid) for instance in seen.instances)
        whose = "adopted" if any(i.adopted for i in seen.instances) else "leased"
        first = seen.instances[0] if seen.instances else None
        self.box.record(
            EventKind.CONFIRMED,
            role.name,
            command.actor,
            f"PID {pids} runs ({whose})" if first else "none is wanted, none runs",
            first.identity if first else None,
            first.token if first else None,
        )
        message = f"{role.name}: already running: PID {pids} ({whose})"
        return Outcome(True, message, 0, first.pid if first else None)

    def _ensure(self, command: Command, role: Role) -> Outcome:
        """Make the number right: end what is too much, start what is missing."""
        deadline = clock.tick() + self.patience_s
        changed: Outcome | None = None
        while clock.tick() < deadline:
            seen = self._look(role)
            if reason := supervision.permit(command, role, seen.instances, seen.lease):
                raise Refused(reason)
            if len(seen.instances) > role.count:
                changed = self._end(command, role, seen, EventKind.ENDED)
                if not changed.done:
                    return changed
            elif len(seen.instances) == role.count:
                if self._settled(role, seen):
                    return changed or self._confirm(command, role) or Outcome(True, role.name)
                time.sleep(_POLL_S)
            elif (changed := self._fill(command, role, seen)) and not changed.done:
                return changed
        raise Refused(f"not settled within {duration(self.patience_s)}", TIMED_OUT)

    def _fill(self, command: Command, role: Role, seen: Observation) -> Outcome | None:
        """Start one instance in the first free slot; None when there is a reason to look again."""
        for slot, held in enumerate(seen.leases):
            if held.state is LeaseState.ORPHANED:
                self._end_leftovers(command, role, slot, seen)
                return None
            if held.state is LeaseState.FREE:
                return self._start(command, role, slot)
        time.sleep(_POLL_S)
        return None

    def _start(self, command: Command, role: Role, slot: int) -> Outcome | None:
        """Take the lease, look again, take a token, hand all to a shim."""
        name, paths = slot_name(role, slot), self.box.paths
        grant = lease.take(paths.lease(name))
        if grant is None:
            return None
        try:
            if len(self._look(role).instances) >= role.count:
                return None  # a worker that lost its lock is seen all the same
            token = self.box.store.grant(role.name)
            own = process.identify(os.getpid())
            assert own is not None
            lease.write_owner(
                paths.owner(name), Owner(own, token, clock.now(), None), paths.lease(name)
            )
            report = launch.launch(self.box, role, slot, grant.descriptor, token, command.actor)
        finally:
            grant.close()
        return self._record_start(command, role, token, report)

    def _record_start(
        self, command: Command, role: Role, token: int, report: launch.Report
    ) -> Outcome:
        data = {"verb": Verb.ENSURE.value}
        if report.identity is not None and report.settled:
            self.box.record(
                EventKind.STARTED, role.name, command.actor, "", report.identity, token, data
            )
            message = f"{role.name}: started: PID {report.identity.pid}, token {token}"
            return Outcome(True, message, 0, report.identity.pid, changed=True)
        reason = visible(report.reason, 500)
        self.box.record(
            EventKind.FAILED, role.name, command.actor, reason, report.identity, token, data
        )
        return Outcome(False, f"{role.name}: not started: {reason}", REFUSED)

    # --- restart and kill ------------------------------------------------------------------

    def _restart(self, command: Command, role: Role) -> Outcome:
        """End it, then start it, under one decision lock."""
        seen = self._look(role)
        if reason := supervision.permit(command, role, seen.instances, seen.lease):
            raise Refused(reason)
        if seen.instances or seen.lease.state is LeaseState.ORPHANED:
            ended = self._end(command, role, seen, EventKind.ENDED)
            if not ended.done:
                return ended
        return self._ensure(command, role)

    def _kill(self, command: Command, role: Role) -> Outcome:
        seen = self._look(role)
        if reason := supervision.permit(command, role, seen.instances, seen.lease):
            raise Refused(reason)
        return self._end(command, role, seen, EventKind.ENDED)

    def _end(self, command: Command, role: Role, seen: Observation, kind: EventKind) -> Outcome:
        """End the command's targets, whole trees, and leftovers that keep a lease."""
        targets = supervision.targets(command, role, seen.instances)
        if not targets and command.verb in (Verb.KILL, Verb.RESTART):
            for slot, held in enumerate(seen.leases):
                if held.state is LeaseState.ORPHANED:
                    return self._end_leftovers(command, role, slot, seen)
        if not targets:
            return Outcome(True, f"{role.name}: nothing to end")
        outcomes = [self._end_one(command, role, instance, kind) for instance in targets]
        failed = [outcome for outcome in outcomes if not outcome.done]
        message = "; ".join(outcome.message for outcome in outcomes)
        return Outcome(not failed, message, REFUSED if failed else 0, changed=True)

    def _end_one(
        self, command: Command, role: Role, instance: Instance, kind: EventKind
    ) -> Outcome:
        surplus = command.verb in (Verb.ENSURE, Verb.END_DUPLICATES)
        data = {"verb": command.verb.value, "pids": list(instance.pids)}
        why = f"surplus: keep the {role.keep}" if surplus else ""
        record = self.box.record
        if not surplus:
            record(
                EventKind.ASKED, role.name, command.actor, why, instance.identity,
                instance.token, data,
            )  # fmt: skip
        grace = 0.0 if command.force else role.grace_s
        ended = tree.end(instance, self.box, grace)
        if ended.left:
            reason = f"still there: {ended.why}"
            record(
                EventKind.FAILED, role.name, command.actor, reason, instance.identity,
                instance.token, data,
            )  # fmt: skip
            return Outcome(False, f"{role.name}: PID {instance.pid}: {reason}", REFUSED)
        if instance.leased:
            self._await_release(role)
        reason = ", ".join(filter(None, (why, ended.how)))
        record(kind, role.name, command.actor, reason, instance.identity, instance.token, data)
        return Outcome(True, f"{role.name}: ended PID {instance.pid} ({reason})", changed=True)

    def _await_release(self, role: Role) -> None:
        """Wait for the shim to write its certificate and let go, so that a start finds it free."""
        deadline = clock.tick() + role.grace_s + 5.0
        while clock.tick() < deadline:
            if self._look(role).lease.state is not LeaseState.HELD:
                return
            time.sleep(_POLL_S)

    def _end_leftovers(self, command: Command, role: Role, slot: int, seen: Observation) -> Outcome:
        """End what a dead worker left behind that keeps its lease: proven by the lock it holds."""
        held = seen.leases[slot]
        ended = tree.end_holders(self.box, role.name, slot_name(role, slot), held, role.grace_s)
        pids = ", ".join(map(str, held.holders))
        if ended.left:
            raise Refused(f"its lease is held by leftover PID {pids}: {ended.why}")
        self.box.record(
            EventKind.ENDED, role.name, command.actor, f"leftovers kept the lease: PID {pids}",
            held.owner.identity if held.owner else None,
            held.owner.token if held.owner else None, {"pids": list(held.holders)},
        )  # fmt: skip
        return Outcome(True, f"{role.name}: ended leftover PID {pids}", changed=True)

    # --- rehearsing and joining ------------------------------------------------------------

    def _rehearse(self, command: Command, role: Role) -> Outcome:
        """What the command would do now."""
        seen = self._look(role)
        if reason := supervision.permit(command, role, seen.instances, seen.lease):
            return Outcome(False, f"{role.name}: would be refused: {reason}", REFUSED)
        ends = supervision.targets(command, role, seen.instances)
        steps = [f"end PID {', '.join(map(str, one.pids))}" for one in ends]
        left = len(seen.instances) - len(ends)
        if command.verb in (Verb.ENSURE, Verb.RESTART) and left < role.count:
            steps.append(f"start {role.count - left}: {visible(' '.join(role.command), 200)}")
        return Outcome(True, f"{role.name}: would {', then '.join(steps) or 'do nothing'}")

    @contextmanager
    def _decision(self, role: Role, command: Command) -> Iterator[Outcome | None]:
        """Hold the role's decision lock; yields an outcome instead when somebody else's did it."""
        import portalocker

        descriptor = lease.open_lock(self.box.paths.decision(role.name))
        try:
            joined = None
            deadline = clock.tick() + self.patience_s
            flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
            while joined is None:
                try:
                    portalocker.lock(descriptor, flags)
                    break
                except portalocker.exceptions.LockException:
                    joined = self._wait_for_others(role, command, deadline)
            yield joined
        finally:
            os.close(descriptor)

    def _wait_for_others(self, role: Role, command: Command, deadline: float) -> Outcome | None:
        if clock.tick() > deadline:
            others = _pids(lease.openers(self.box.paths.decision(role.name)))
            raise Refused(f"another command is still at work (PID {others})", TIMED_OUT)
        time.sleep(_POLL_S)
        if command.verb is not Verb.ENSURE:
            return None
        known = lease.read_owner(self.box.paths.owner(role.name))
        young = known is None or clock.now().since(known[0].since) < role.settle_s
        return None if young else self._confirm(command, role)


def _pids(pids: Sequence[int]) -> str:
    return ", ".join(str(pid) for pid in pids if pid != os.getpid()) or "unknown"
