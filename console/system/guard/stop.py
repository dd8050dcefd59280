"""Ends instances and leftovers. The event log has the request before, and the outcome after."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Sequence

from console.core.errors import ConsoleError
from console.core.exit_codes import FAILURE
from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import EventKind
from console.core.model.processes import Instance
from console.core.model.roles import Lease, LeaseState, Role
from console.core.processes.instances import DETACHED_CHILDREN_WARNING
from console.core.records import Component
from console.core.text.command_hint import format_command, shell_quote
from console.system import clock
from console.system.box import Box, Observation, slot_name
from console.system.guard import lifecycle_events, terminate
from console.system.locks import lease
from console.system.processes import procfs
from console.system.processes.pidfd import ProcessHandle
from console.system.processes.procfs import ProcessError

_POLL_INTERVAL_S = 0.02
_SHIM_CLEANUP_TIMEOUT_S = 5.0
"""Time for a shim, beyond the grace period, to certify a death and release the lease."""


class CommandRefused(ConsoleError):
    """A refused command; the message says why."""

    def __init__(self, reason: str, exit_code: int = FAILURE) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class InstanceStopper(Component):
    """Ends instances of one role, for one command."""

    box: Box
    command: Command
    role: Role

    def observe_when_idle(self, timeout_s: float) -> Observation:
        """Observe the role, and return the observation.

        Wait while a lease is held but no instance is visible: a shim is then starting its worker,
        and there is no process to end. Raises CommandRefused after `timeout_s`.
        """
        deadline = clock.tick() + timeout_s
        while True:
            observation = self.box.observe([self.role], full=True)[0]
            held_leases = [
                slot_lease
                for slot_lease in observation.leases
                if slot_lease.state is LeaseState.HELD
            ]
            if observation.instances or not held_leases:
                return observation
            if clock.tick() > deadline:
                pids = (
                    ", ".join(str(pid) for slot_lease in held_leases for pid in slot_lease.holders)
                    or "unknown"
                )
                raise CommandRefused(f"its lease is held by PID {pids}: {held_leases[0].reason}", 4)
            resume_stopped_shims(held_leases)
            time.sleep(_POLL_INTERVAL_S)

    def stop_instances(self, targets: Sequence[Instance], observation: Observation) -> Outcome:
        """End the target instances with their whole process trees, and return the outcome.

        Without targets, kill and restart end the leftovers that hold an orphaned lease. A kill that
        finds nothing still records its request, which cancels a restart that policy has planned.
        Raises CommandRefused.
        """
        name, verb = self.role.name, self.command.verb
        if not targets and verb in (Verb.KILL, Verb.RESTART):
            for slot, slot_lease in enumerate(observation.leases):
                if slot_lease.state is LeaseState.ORPHANED:
                    return self.stop_leftovers(slot, slot_lease)
        if not targets:
            if verb is Verb.KILL:  # cancels a restart that policy has planned
                self._record_event(EventKind.ASKED, "nothing runs; it shall stay so", None)
            return Outcome(True, f"{name}: nothing to end")
        for instance in targets:
            if reason := other_box_refusal(instance, verb) or terminate.termination_refusal(
                instance, self.box
            ):
                raise CommandRefused(reason)
        outcomes = [self._stop_instance(instance, observation) for instance in targets]
        failed = any(not outcome.done for outcome in outcomes)
        message = "; ".join(outcome.message for outcome in outcomes)
        if (
            verb is Verb.KILL
            and not failed
            and (remaining := self._remaining_instances(observation))
        ):
            pids = ", ".join(str(survivor.pid) for survivor in remaining)
            reason = f"still running: PID {pids}: left behind, or started since"
            self._record_event(EventKind.FAILED, reason, remaining[0])
            failed, message = True, f"{message}; {reason}; kill it again"
        return Outcome(not failed, message, FAILURE if failed else 0, changed=True)

    def _remaining_instances(self, before: Observation) -> list[Instance]:
        """Return the instances that run now and are not in the observation `before`."""
        known_identities = {instance.identity for instance in before.instances}
        after = self.box.observe([self.role], full=True)[0]
        return [
            instance
            for instance in after.instances
            if instance.identity not in known_identities and instance.box is None
        ]

    def _stop_instance(self, instance: Instance, observation: Observation) -> Outcome:
        surplus = self.command.verb in (Verb.ENSURE, Verb.END_DUPLICATES)
        surplus_reason = f"surplus: keep the {self.role.keep}" if surplus else ""
        lifecycle_events.ensure_start_recorded(
            self.box, self.role, instance, observation, self.command.actor
        )
        self._record_event(EventKind.ASKED, surplus_reason, instance)
        result = terminate.terminate_instance(
            instance, self.box, 0.0 if self.command.force else self.role.grace_s
        )
        if result.failure_reason:
            reason = f"still there: {result.failure_reason}"
            self._record_event(EventKind.FAILED, reason, instance)
            return Outcome(False, f"{self.role.name}: PID {instance.pid}: {reason}", FAILURE)
        if instance.token is None or self._await_release(instance.token):
            lifecycle_events.ensure_end_recorded(self.box, self.role, instance, result.how)
        reason = ", ".join(filter(None, (surplus_reason, result.how)))
        self._record_event(EventKind.ENDED, reason, instance)
        message = f"{self.role.name}: ended PID {instance.pid} ({reason})"
        if instance.token is None:
            message += f"; {DETACHED_CHILDREN_WARNING}"
        return Outcome(True, message, changed=True)

    def _await_release(self, token: int) -> bool:
        """Wait until the shim has certified the death and released the lease.

        The next start then finds the lease free. Return False after a timeout.
        """
        deadline = clock.tick() + self.role.grace_s + _SHIM_CLEANUP_TIMEOUT_S
        while clock.tick() < deadline:
            held_leases = [
                slot_lease
                for slot_lease in (
                    self._read_lease(slot) for slot in range(max(1, self.role.count))
                )
                if slot_lease.state is LeaseState.HELD
                and slot_lease.owner
                and slot_lease.owner.token == token
            ]
            if not held_leases:
                return True
            resume_stopped_shims(held_leases)
            time.sleep(_POLL_INTERVAL_S)
        return False

    def _read_lease(self, slot: int) -> Lease:
        name = slot_name(self.role, slot)
        return lease.read_lease(self.box.paths.lease(name), self.box.paths.owner(name))

    def stop_leftovers(self, slot: int, slot_lease: Lease) -> Outcome:
        """End the leftovers of a dead worker that hold its lease, if they can be verified.

        `kill --force` ends unverified ones as well. Raises CommandRefused.
        """
        role, pids = self.role, ", ".join(map(str, slot_lease.holders))
        force = self.command.force and self.command.verb is Verb.KILL
        lease_name = slot_name(role, slot)
        result = terminate.terminate_lease_holders(
            self.box, role.name, lease_name, slot_lease, role.grace_s, force
        )
        if result.failure_reason:
            hint = "" if force else f"; `{format_command(f'kill {role.name} --force')}` ends it"
            raise CommandRefused(
                f"its lease is held by leftover PID {pids or '?'}: {result.failure_reason}{hint}"
            )
        owner = slot_lease.owner
        self.box.record_or_queue(
            EventKind.ENDED,
            role=role.name,
            actor=self.command.actor,
            reason=f"leftovers kept the lease: PID {pids}",
            identity=owner.identity if owner else None,
            token=owner.token if owner else None,
            data={"verb": self.command.verb.value, "pids": list(slot_lease.holders)},
        )
        return Outcome(True, f"{role.name}: ended leftover PID {pids}", changed=True)

    def _record_event(self, kind: EventKind, reason: str, instance: Instance | None) -> None:
        """Record an event about this command."""
        data: dict[str, object] = {"verb": self.command.verb.value}
        if instance is not None:
            data["pids"] = list(instance.pids)
        self.box.record_or_queue(
            kind,
            role=self.role.name,
            actor=self.command.actor,
            reason=reason,
            identity=instance.identity if instance else None,
            token=instance.token if instance else None,
            data=data,
        )


def other_box_refusal(instance: Instance, verb: Verb) -> str | None:
    """Return why this box may not end an instance that another state directory runs, or None."""
    if instance.box is None:
        return None
    words = "kill --duplicates" if verb is Verb.END_DUPLICATES else verb.value
    return (
        f"PID {instance.pid} is run by state directory {instance.box}, which would start it again: "
        f"use `rpa-console --state-dir {shell_quote(instance.box)} {words} {instance.role}`"
    )


def resume_stopped_shims(leases: Iterable[Lease]) -> None:
    """Resume shims that were stopped by a signal.

    Only the shim can certify its worker's death and release the lease.
    """
    for pid in {pid for slot_lease in leases for pid in slot_lease.holders}:
        stat, identity = procfs.read_stat(pid), procfs.identify(pid)
        if stat is None or identity is None or stat[0] != "T" or not lease.is_shim(pid):
            continue
        with contextlib.suppress(ProcessError):
            handle = ProcessHandle(identity)
            try:
                handle.send_signal(signal.SIGCONT)
            finally:
                handle.close()
