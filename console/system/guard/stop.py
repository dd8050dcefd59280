"""Ending instances and leftovers: asked for in the ledger first, told with its outcome after."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Sequence

from console.core.exit_codes import FAILURE
from console.core.frozen import slotted
from console.core.model import Command, EventKind, Instance, Lease, LeaseState, Outcome, Role, Verb
from console.core.processes.instances import CUT_LOOSE
from console.core.text.command_hint import quoted, step
from console.system import clock
from console.system.box import Box, Observation, slot_name
from console.system.guard import lifecycle_events, terminate
from console.system.locks import lease
from console.system.processes import procfs
from console.system.processes.pidfd import Handle
from console.system.processes.procfs import ProcessError

_POLL_S = 0.02
_SHIM_S = 5.0
"""What a shim may take, above the grace period, to certify a death and let go."""


class Refused(Exception):
    """A command is not carried out; the message says why."""

    def __init__(self, reason: str, code: int = FAILURE) -> None:
        super().__init__(reason)
        self.code = code


@slotted
class Undertaker:
    """Ends instances of one role, for one command."""

    box: Box
    command: Command
    role: Role

    def await_quiet(self, patience_s: float) -> Observation:
        """Look; wait while a shim is between lease and worker, where there is nobody to end."""
        deadline = clock.tick() + patience_s
        while True:
            seen = self.box.observe([self.role], full=True)[0]
            held = [one for one in seen.leases if one.state is LeaseState.HELD]
            if seen.instances or not held:
                return seen
            if clock.tick() > deadline:
                pids = ", ".join(str(pid) for one in held for pid in one.holders) or "unknown"
                raise Refused(f"its lease is held by PID {pids}: {held[0].reason}", 4)
            nudge(held)
            time.sleep(_POLL_S)

    def end(self, targets: Sequence[Instance], seen: Observation) -> Outcome:
        """End instances, whole trees; without any, what keeps a lease or is to be forgotten."""
        name, verb = self.role.name, self.command.verb
        if not targets and verb in (Verb.KILL, Verb.RESTART):
            for slot, held in enumerate(seen.leases):
                if held.state is LeaseState.ORPHANED:
                    return self.end_leftovers(slot, held)
        if not targets:
            if verb is Verb.KILL:  # a restart that policy had planned is off
                self._record(EventKind.ASKED, "nothing runs; it shall stay so", None)
            return Outcome(True, f"{name}: nothing to end")
        for instance in targets:
            if reason := elsewhere(instance, verb) or terminate.forbidden(instance, self.box):
                raise Refused(reason)
        outcomes = [self._end_one(instance, seen) for instance in targets]
        failed = any(not outcome.done for outcome in outcomes)
        message = "; ".join(outcome.message for outcome in outcomes)
        if verb is Verb.KILL and not failed and (left := self._survivors(seen)):
            pids = ", ".join(str(one.pid) for one in left)
            reason = f"still running: PID {pids}: left behind, or started since"
            self._record(EventKind.FAILED, reason, left[0])
            failed, message = True, f"{message}; {reason}; kill it again"
        return Outcome(not failed, message, FAILURE if failed else 0, changed=True)

    def _survivors(self, before: Observation) -> list[Instance]:
        """The instances that run after all were ended, and that the look before did not find."""
        known = {one.identity for one in before.instances}
        after = self.box.observe([self.role], full=True)[0]
        return [one for one in after.instances if one.identity not in known and one.box is None]

    def _end_one(self, instance: Instance, seen: Observation) -> Outcome:
        surplus = self.command.verb in (Verb.ENSURE, Verb.END_DUPLICATES)
        why = f"surplus: keep the {self.role.keep}" if surplus else ""
        lifecycle_events.tell_start(self.box, self.role, instance, seen, self.command.actor)
        self._record(EventKind.ASKED, why, instance)
        ended = terminate.end(instance, self.box, 0.0 if self.command.force else self.role.grace_s)
        if ended.why:
            reason = f"still there: {ended.why}"
            self._record(EventKind.FAILED, reason, instance)
            return Outcome(False, f"{self.role.name}: PID {instance.pid}: {reason}", FAILURE)
        if instance.token is None or self._await_release(instance.token):
            lifecycle_events.tell_end(self.box, self.role, instance, ended.how)
        reason = ", ".join(filter(None, (why, ended.how)))
        self._record(EventKind.ENDED, reason, instance)
        message = f"{self.role.name}: ended PID {instance.pid} ({reason})"
        if instance.token is None:
            message += f"; {CUT_LOOSE}"
        return Outcome(True, message, changed=True)

    def _await_release(self, token: int) -> bool:
        """Wait for the shim to certify the death and let go, so that a start finds it free."""
        deadline = clock.tick() + self.role.grace_s + _SHIM_S
        while clock.tick() < deadline:
            held = [
                one
                for one in (self._lease(slot) for slot in range(max(1, self.role.count)))
                if one.state is LeaseState.HELD and one.owner and one.owner.token == token
            ]
            if not held:
                return True
            nudge(held)
            time.sleep(_POLL_S)
        return False

    def _lease(self, slot: int) -> Lease:
        name = slot_name(self.role, slot)
        return lease.look(self.box.paths.lease(name), self.box.paths.owner(name))

    def end_leftovers(self, slot: int, held: Lease) -> Outcome:
        """End what a dead worker left behind that keeps its lease, if it can be verified."""
        role, pids = self.role, ", ".join(map(str, held.holders))
        force = self.command.force and self.command.verb is Verb.KILL
        name = slot_name(role, slot)
        ended = terminate.end_holders(self.box, role.name, name, held, role.grace_s, force)
        if ended.why:
            way_out = "" if force else f"; `{step(f'kill {role.name} --force')}` ends it"
            raise Refused(f"its lease is held by leftover PID {pids or '?'}: {ended.why}{way_out}")
        who = held.owner
        about = (who.identity if who else None, who.token if who else None)
        reason = f"leftovers kept the lease: PID {pids}"
        data = {"verb": self.command.verb.value, "pids": list(held.holders)}
        self.box.tell(EventKind.ENDED, role.name, self.command.actor, reason, *about, data)
        return Outcome(True, f"{role.name}: ended leftover PID {pids}", changed=True)

    def _record(self, kind: EventKind, reason: str, instance: Instance | None) -> None:
        """A line of the ledger about what this command does."""
        data: dict[str, object] = {"verb": self.command.verb.value}
        if instance is not None:
            data["pids"] = list(instance.pids)
        about = (instance.identity if instance else None, instance.token if instance else None)
        self.box.tell(kind, self.role.name, self.command.actor, reason, *about, data)


def elsewhere(instance: Instance, verb: Verb) -> str | None:
    """Why an instance is not ours to end: another state directory runs it; None where it is."""
    if instance.box is None:
        return None
    words = "kill --duplicates" if verb is Verb.END_DUPLICATES else verb.value
    return (
        f"PID {instance.pid} is run by state directory {instance.box}, which would start it again: "
        f"use `rpa-console --state-dir {quoted(instance.box)} {words} {instance.role}`"
    )


def nudge(leases: Iterable[Lease]) -> None:
    """Wake shims that somebody has stopped: nobody else can certify and let go."""
    for pid in {pid for held in leases for pid in held.holders}:
        stat, identity = procfs.stat_of(pid), procfs.identify(pid)
        if stat is None or identity is None or stat[0] != "T" or not lease.is_shim(pid):
            continue
        with contextlib.suppress(ProcessError):
            handle = Handle(identity)
            try:
                handle.send(signal.SIGCONT)
            finally:
                handle.close()
