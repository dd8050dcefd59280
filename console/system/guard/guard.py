"""Carries out ensure, restart and kill. No other code carries out a command on a role.

The life lock is the guarantee against a second worker: a process that starts a worker must hold the
lock, observe again while holding it, and pass it on to the worker. The command lock only lets
concurrent callers share one result instead of queueing. Killing its holder costs the other callers
a wait, and nothing else.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from console.core.exit_codes import FAILURE, TIMED_OUT, UNREADABLE
from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import Event, EventKind
from console.core.model.roles import LeaseState, Role
from console.core.records import Component, replace
from console.core.secret_redaction import redact_command_line
from console.core.supervision import state_machine
from console.core.text.command_hint import format_command, shell_quote
from console.core.text.formatting import format_duration, sanitize_text
from console.system import clock
from console.system.box import Box, Observation
from console.system.guard import lifecycle_events, terminate
from console.system.guard.stop import (
    CommandRefused,
    InstanceStopper,
    other_box_refusal,
    resume_stopped_shims,
)
from console.system.locks import lease, start_lock
from console.system.locks.command_lock import CommandLockTimeout, hold_command_lock
from console.system.locks.lease import LockFileError
from console.system.processes.process_table import ProcessError
from console.system.store.store import StoreError

_POLL_INTERVAL_S = 0.02


class Guard(Component):
    """Carries out commands on the roles of one box."""

    box: Box
    timeout_s: float | None = None
    """How long a command waits for another one; None: as long as the role's commands may take."""

    def carry_out(self, command: Command) -> Outcome:
        """Carry out a command or refuse it, and return the outcome.

        Both are recorded in the event log. The exceptions: a dry run, a role that does not exist, a
        store that cannot be written, and a refusal to the restart policy that repeats the role's
        last event. A refusal is returned as an outcome, never raised.
        """
        role = self.box.find_role(command.role)
        if role is None:
            names = ", ".join(role.name for role in self.box.roles)
            return Outcome(False, f"there is no role {command.role!r}; there are: {names}", 2)
        try:
            outcome = self._carry_out(command, role)
            return outcome if command.dry_run else self.box.outbox.add_warning(command, outcome)
        except CommandRefused as refusal:
            return self._refuse(command, str(refusal), refusal.exit_code)
        except CommandLockTimeout as busy:
            return self._refuse(command, str(busy), TIMED_OUT)
        except (LockFileError, ProcessError) as error:
            return self._refuse(command, str(error), FAILURE)
        except StoreError as error:
            return Outcome(False, f"the ledger cannot be written: {error}", UNREADABLE)

    def _carry_out(self, command: Command, role: Role) -> Outcome:
        if command.dry_run:
            return self._dry_run(command, role)
        if command.actor == state_machine.POLICY_ACTOR:
            # Policy limits its starts by counting them in the event log.
            self.box.store.check_writable()
        if outcome := self._concurrent_result(command, role):
            return outcome
        last_event = self._last_event()
        last_event_id = last_event.id if last_event else 0
        path = self.box.paths.command_lock(role.name)
        with hold_command_lock(
            path, self._timeout_for(role), lambda: self._concurrent_result(command, role)
        ) as concurrent_outcome:
            if concurrent_outcome is not None:
                return concurrent_outcome
            if command.actor == state_machine.POLICY_ACTOR:
                self._check_still_wanted(role)
            match command.verb:
                case Verb.ENSURE:
                    return self._concurrent_failure(role, last_event_id) or self._ensure(
                        command, role
                    )
                case Verb.RESTART:
                    return self._restart(command, role)
                case Verb.KILL | Verb.END_DUPLICATES:
                    return self._kill(command, role)
                case _:
                    raise CommandRefused(f"{command.verb} is not done to a role", 2)

    def _timeout_for(self, role: Role) -> float:
        return state_machine.lock_timeout_s(role) if self.timeout_s is None else self.timeout_s

    def _refuse(self, command: Command, reason: str, code: int) -> Outcome:
        if not command.dry_run:
            with contextlib.suppress(StoreError):
                if command.actor == state_machine.POLICY_ACTOR and self._is_refusal_recorded(
                    command, reason
                ):
                    return Outcome(False, f"{command.role}: refused: {reason}", code)
                self.box.record(
                    EventKind.REFUSED,
                    role=command.role,
                    actor=command.actor,
                    reason=reason,
                    identity=command.target,
                    token=command.token,
                    data={"verb": command.verb.value},
                )
        return Outcome(False, f"{command.role}: refused: {reason}", code)

    def _is_refusal_recorded(self, command: Command, reason: str) -> bool:
        """Return True if the role's last event is the same refusal: policy retries many times."""
        events = self.box.store.events(limit=1, role=command.role)
        return bool(events) and (events[-1].kind, events[-1].reason) == (EventKind.REFUSED, reason)

    def _observe(self, role: Role, full: bool = True) -> Observation:
        """Observe the role now. Decisions never use an earlier observation."""
        return self.box.observe([role], full)[0]

    def _is_settled(self, role: Role, observation: Observation) -> bool:
        """Return True if the wanted number of instances runs, all past their settle time."""
        now = clock.now()
        return len(observation.instances) == role.count and all(
            instance.uptime(now) >= role.settle_s for instance in observation.instances
        )

    def _confirm_running(self, command: Command, role: Role) -> Outcome | None:
        """Return the outcome if the role is settled already, without locking; otherwise None."""
        observation = self._observe(role)
        if not self._is_settled(role, observation):
            return None
        lifecycle_events.ensure_starts_recorded(self.box, role, observation, command.actor)
        pids = ", ".join(str(instance.pid) for instance in observation.instances)
        first, description = observation.instances[0], f"PID {pids} ({_origin_text(observation)})"
        self.box.record_or_queue(
            EventKind.CONFIRMED,
            role=role.name,
            actor=command.actor,
            reason=description,
            identity=first.identity,
            token=first.token,
        )
        return Outcome(True, f"{role.name}: already running: {description}", 0, first.pid)

    def _ensure(self, command: Command, role: Role) -> Outcome:
        """Start missing instances until the wanted number runs and has settled.

        Surplus instances are ended only if the operator has confirmed that (`force`).
        """
        timeout_s = self._timeout_for(role)
        deadline, full = clock.tick() + timeout_s, True
        ensure_command = replace(command, verb=Verb.ENSURE, target=None, token=None)
        stopper = InstanceStopper(self.box, ensure_command, role)
        outcomes: list[Outcome] = []
        while clock.tick() < deadline:
            # A full observation is needed only once: `start_instance` makes its own.
            observation, full = self._observe(role, full), False
            if reason := state_machine.command_refusal(
                ensure_command, role, observation.instances, observation.worst_lease
            ):
                raise CommandRefused(reason)
            if reason := missing_confirmation(ensure_command, role, observation):
                raise CommandRefused(reason)
            outcome = None
            if len(observation.instances) > role.count:
                outcome = stopper.stop_instances(
                    state_machine.select_targets(ensure_command, role, observation.instances),
                    observation,
                )
            elif len(observation.instances) < role.count:
                if sum(earlier.pid is not None for earlier in outcomes) >= role.count:
                    return _exited_after_start(role, outcomes)
                outcome = self._start_missing(command, role, observation, stopper)
            elif self._is_settled(role, observation):
                lifecycle_events.ensure_starts_recorded(self.box, role, observation, command.actor)
                if answer := _merge_outcomes(outcomes) or self._confirm_running(command, role):
                    return _with_look_alikes(answer, observation)
            else:
                time.sleep(_POLL_INTERVAL_S)
            if outcome is not None:
                outcomes.append(outcome)
                if not outcome.done:
                    return outcome
        holder = start_lock.describe_holder(role)
        holders_text = _lease_holders_text(observation) or (f" ({holder})" if holder else "")
        raise CommandRefused(
            f"not settled within {format_duration(timeout_s)}{holders_text}", TIMED_OUT
        )

    def _start_missing(
        self, command: Command, role: Role, observation: Observation, stopper: InstanceStopper
    ) -> Outcome | None:
        """Start one instance in the first free slot.

        Return None if the caller must observe the role again.
        """
        # Imported late: most commands find the worker running.
        from console.system.guard.start import is_slot_in_use, start_instance

        for slot, slot_lease in enumerate(observation.leases):
            if slot_lease.state is LeaseState.ORPHANED:
                stopper.stop_leftovers(slot, slot_lease)
                return None
            if slot_lease.state is LeaseState.FREE and not is_slot_in_use(slot_lease, observation):
                return start_instance(self.box, command, role, slot)
        if all(slot_lease.state is LeaseState.UNKNOWN for slot_lease in observation.leases):
            raise CommandRefused(observation.worst_lease.reason)
        resume_stopped_shims(observation.leases)
        time.sleep(_POLL_INTERVAL_S)
        return None

    # --- restart and kill ------------------------------------------------------------------

    def _restart(self, command: Command, role: Role) -> Outcome:
        """End the targets, then start them again, under one command lock.

        Nothing is ended if the role could not be started again.
        """
        from console.system.guard.shim_launcher import preflight_error

        stopper = InstanceStopper(self.box, command, role)
        observation = stopper.observe_when_idle(self._timeout_for(role))
        if reason := state_machine.command_refusal(
            command, role, observation.instances, observation.worst_lease
        ):
            raise CommandRefused(reason)
        if reason := preflight_error(role) or start_lock.acquire_refusal(role):
            raise CommandRefused(f"it could not be started again: {reason}")
        if any(slot_lease.state is LeaseState.UNKNOWN for slot_lease in observation.leases):
            raise CommandRefused(f"it could not be started again: {observation.worst_lease.reason}")
        outcome = stopper.stop_instances(
            state_machine.select_targets(command, role, observation.instances), observation
        )
        if not outcome.done:
            return outcome
        try:
            return self._ensure(command, role)
        except CommandRefused as refusal:
            raise CommandRefused(
                f"{outcome.message}; then {refusal}", refusal.exit_code
            ) from refusal

    def _kill(self, command: Command, role: Role) -> Outcome:
        stopper = InstanceStopper(self.box, command, role)
        observation = stopper.observe_when_idle(self._timeout_for(role))
        if reason := state_machine.command_refusal(
            command, role, observation.instances, observation.worst_lease
        ):
            raise CommandRefused(reason)
        return stopper.stop_instances(
            state_machine.select_targets(command, role, observation.instances), observation
        )

    # --- dry runs and concurrent commands --------------------------------------------------

    def _dry_run(self, command: Command, role: Role) -> Outcome:
        """Return an outcome that says what the command would do now."""
        from console.system.guard.shim_launcher import preflight_error

        observation = self._observe(role)
        targets = state_machine.select_targets(command, role, observation.instances)
        remaining = len(observation.instances) - len(targets)
        needs_start = command.verb in (Verb.ENSURE, Verb.RESTART) and remaining < role.count
        refusals = [
            state_machine.command_refusal(
                command, role, observation.instances, observation.worst_lease
            )
        ]
        if command.verb is Verb.ENSURE:
            refusals.append(missing_confirmation(command, role, observation))
        refusals += [
            other_box_refusal(target, command.verb)
            or terminate.termination_refusal(target, self.box)
            for target in targets
        ]
        if needs_start and role.command:
            refusals.append(preflight_error(role))
        if reason := next(filter(None, refusals), None):
            return Outcome(False, f"{role.name}: would be refused: {reason}", FAILURE)
        steps = [f"end {terminate.describe_processes(target, self.box)}" for target in targets]
        if needs_start:
            steps.append(
                f"start {role.count - remaining}: "
                f"{sanitize_text(redact_command_line(role.command), 200)}"
            )
        return Outcome(True, f"{role.name}: would {', then '.join(steps) or 'do nothing'}")

    def _last_event(self) -> Event | None:
        """Return the newest event of the event log, or None."""
        return next(iter(self.box.store.events(limit=1)), None)

    def _concurrent_result(self, command: Command, role: Role) -> Outcome | None:
        """Return the outcome of an ensure whose worker another command has started, or None.

        The command lock is not needed for this. Waiting commands call it repeatedly, so it checks
        for a living owner before it observes the role.
        """
        if command.verb is not Verb.ENSURE:
            return None
        owner = lease.live_owner(self.box.paths.lease(role.name), self.box.paths.owner(role.name))
        if owner is None:
            return None
        is_settled = clock.now().since(owner.since) >= role.settle_s
        return self._confirm_running(command, role) if is_settled else None

    def _check_still_wanted(self, role: Role) -> None:
        """Raise CommandRefused if the role was ended on request or parked since policy decided.

        Policy decides before it waits for the command lock. A later kill takes precedence.
        """
        state = state_machine.fold_events(self.box.store.events(0, role.name), role)
        if not state_machine.should_run(role, state) or state.parked is not None:
            raise CommandRefused("it was ended on request, or parked, since policy decided")

    def _concurrent_failure(self, role: Role, last_event_id: int) -> Outcome | None:
        """Return the failure of a start made while this command waited for the lock, or None.

        An immediate second attempt would most likely fail as well.
        """
        for event in reversed(self.box.store.events(last_event_id, role.name)):
            is_failed_start = (
                event.kind is EventKind.FAILED and event.data.get("verb") == Verb.ENSURE
            )
            if is_failed_start and not event.data.get("killed"):
                attempt = f"tried just now by {event.actor}: {event.reason}"
                return Outcome(False, f"{role.name}: not started: {attempt}", FAILURE)
        return None


def missing_confirmation(command: Command, role: Role, observation: Observation) -> str | None:
    """Return why an ensure needs the operator's confirmation first, or None."""
    if command.force:
        return None
    if len(observation.instances) > role.count:
        pids = ", ".join(f"PID {one.pid}" for one in observation.instances)
        return (
            f"{len(observation.instances)} instances where {role.count} is wanted: {pids}; "
            f"ensure ends none: `{format_command(f'kill --duplicates {role.name}')}` does (key x)"
        )
    leased = next((one for one in observation.look_alikes if one.box), None)
    if leased is None or len(observation.instances) == role.count:
        return None
    return (
        f"PID {leased.identity.pid} runs as user {leased.user} under the rpa-console of that user "
        f"(state directory {leased.box}): `sudo -u {leased.user} rpa-console --state-dir "
        f"{shell_quote(leased.box)} ensure {role.name}` reaches it; --yes starts another one"
    )


def _origin_text(observation: Observation) -> str:
    """Return how the instances came to run, such as `adopted` or `leased`."""
    boxes = dict.fromkeys(
        instance.box for instance in observation.instances if instance.box is not None
    )
    if boxes:
        return f"run by state directory {', '.join(map(str, boxes))}"
    return "adopted" if any(instance.adopted for instance in observation.instances) else "leased"


def _with_look_alikes(outcome: Outcome, observation: Observation) -> Outcome:
    """Return the outcome with up to three look-alikes appended to its message."""
    if not observation.look_alikes:
        return outcome
    descriptions = [
        f"PID {look_alike.identity.pid} of user {look_alike.user} ({look_alike.why})"
        for look_alike in observation.look_alikes[:3]
    ]
    more = (
        f" and {len(observation.look_alikes) - 3} more" if len(observation.look_alikes) > 3 else ""
    )
    message = f"{outcome.message}; not counted: {', '.join(descriptions)}{more}"
    return replace(outcome, message=message)


def _lease_holders_text(observation: Observation) -> str:
    pids = ", ".join(str(pid) for slot_lease in observation.leases for pid in slot_lease.holders)
    return f" ({observation.worst_lease.reason}: PID {pids})" if pids else ""


def _exited_after_start(role: Role, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of an ensure whose started instances have exited again.

    Only policy makes further starts.
    """
    pids = ", ".join(str(outcome.pid) for outcome in outcomes if outcome.pid is not None)
    return Outcome(False, f"{role.name}: started PID {pids}, which is gone again", FAILURE)


def _merge_outcomes(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcomes of several steps as one, or None if there are none."""
    if not outcomes:
        return None
    pids = [outcome.pid for outcome in outcomes if outcome.pid is not None]
    message = "; ".join(outcome.message for outcome in outcomes)
    return Outcome(True, message, 0, pids[0] if pids else None, changed=True)
