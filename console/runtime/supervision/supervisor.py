"""Supervisor: detects deaths at once and starts within a second, and repairs roles by policy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from console.core.exit_codes import TIMED_OUT, UNREADABLE
from console.core.model.commands import Command, Verb
from console.core.model.events import EventKind
from console.core.model.processes import Identity, Instance
from console.core.model.roles import Role
from console.core.model.samples import Health, Sample
from console.core.model.time import Moment
from console.core.snapshot.builder import last_observed_roles
from console.core.supervision import state_machine
from console.core.supervision.role_codec import RoleObservation
from console.core.supervision.state_machine import POLICY_ACTOR, RepairAction, RepairDecision
from console.runtime.supervision import role_events
from console.runtime.supervision.process_scanner import ProcessScanner
from console.runtime.supervision.worker_log import CannotRepair, WorkerLog
from console.runtime.timers import align_delay
from console.system.box import Box
from console.system.guard import shim_launcher
from console.system.guard.guard import Guard
from console.system.processes import process_table, procfs
from console.system.processes.process_table import ProcessGone, ProcessHandle
from console.system.store.store import StoreError

SCAN_INTERVAL_S = 1.0
CERTIFICATE_TIMEOUT_S = 1.0
"""Timeout for the shim's certificate. After it, the death is recorded without one."""
CERTIFICATE_CHECKS = 20
MAX_FAILURE_DELAY_S = 5.0
"""Longest delay after a repair that ended with an error: its cause may end at any time."""
REFUSED_START_DELAY_S = 1.0
"""Shortest delay after a refused start: the cause rarely ends at once."""


class Supervisor:
    """Supervisor of every role of a box.

    It records the starts and deaths of the instances and applies the restart policy.
    """

    def __init__(
        self,
        box: Box,
        guard: Guard,
        request_probe: Callable[[str], None],
        last_event_id: Callable[[], int],
    ) -> None:
        self.box = box
        self.guard = guard
        self.request_probe = request_probe
        self.last_event_id = last_event_id
        """Returns the id of the last event that was read."""
        self._handles: dict[Identity, ProcessHandle] = {}
        self._known_instances: dict[str, dict[Identity, Instance]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._repair_due_at: dict[str, Moment] = {}
        self._roles_under_repair: set[str] = set()
        self._roles_first_started: set[str] = set()
        """Roles whose first start was recorded."""
        self._refusals: dict[str, str] = {}
        """Reason why each role's last start was refused; empty if it was not."""
        self._consecutive_failures: dict[str, int] = {}
        """How many repairs of each role in a row have ended with an error."""
        self.log = WorkerLog(self.box)
        self._scanner = ProcessScanner(self.box, self._list_known_instances, self.last_event_id)

    async def run(self) -> None:
        """Detect new processes and run due repairs until cancelled."""
        self.log.log_start()
        self.request_probe("worker")  # instances may have changed before this start
        try:
            while True:
                with self.log.catch_failures("process scan"):
                    if self._scanner.has_stop_state_changed() or await self._scanner.has_changes():
                        self.request_probe("worker")
                await asyncio.sleep(align_delay(self._scan_delay_s()))
                self._run_due_repairs()
        finally:
            for handle in self._handles.values():
                self._unwatch_exit(handle)
            self._handles.clear()

    def _list_known_instances(self) -> list[Instance]:
        """Return the known instances. A thread may call it while the loop changes them."""
        return [
            instance
            for instances in tuple(self._known_instances.values())
            for instance in tuple(instances.values())
        ]

    # --- samples of the worker monitor -----------------------------------------------------

    async def handle_sample(self, sample: Sample, queue_health: Health) -> None:
        """Compare a sample with the one before.

        Records starts, adoptions and deaths, watches each instance's exit, and repairs.
        """
        if sample.error is not None:
            self.log.write(f"Cannot look: {sample.error}", "WARN")
            return
        roles = last_observed_roles([sample])
        for role in self.box.roles:
            with self.log.catch_failures(role.name):
                if role.name in roles:
                    await self._update_role(role, roles[role.name])
        self.log.log_workers(roles.get("worker", RoleObservation()), queue_health)

    async def _update_role(self, role: Role, observation: RoleObservation) -> None:
        current = {instance.identity: instance for instance in observation.instances}
        if role.name not in self._known_instances:
            self._known_instances[role.name] = await asyncio.to_thread(
                role_events.read_living_instances, self.box, role
            )
        previous = self._known_instances[role.name] | await asyncio.to_thread(
            role_events.find_unrecorded_deaths, self.box, role
        )
        self._known_instances[role.name] = current
        # Instances of another state directory count here; their events are in that one's log.
        for identity in [
            candidate
            for candidate in current
            if candidate not in previous and current[candidate].box is None
        ]:
            await asyncio.to_thread(
                role_events.record_new_instance, self.box, role, current[identity], observation
            )
        ended = [
            candidate
            for candidate in previous
            if candidate not in current and previous[candidate].box is None
        ]
        for identity in ended:
            self._spawn_task(
                self._record_death_when_certain(role, previous[identity], identity),
                f"{role.name}: a death",
            )
        if len(current) >= role.count:
            self.log.failures.pop(_start_failure_key(role), None)
        self._watch_exits(current)
        if not ended:  # otherwise once the death is recorded, as it starts the back-off
            await self._apply_policy(role, observation)

    async def _record_death_when_certain(
        self, role: Role, instance: Instance, identity: Identity
    ) -> None:
        """Record a death that no shim certifies, with unknown exit code and cause.

        A process that is alive and no longer belongs to the role has not died.
        """
        if await asyncio.to_thread(procfs.is_alive, identity):
            message = f"PID {identity.pid} lives, and belongs to this role no longer"
            await asyncio.to_thread(
                self.box.record_or_queue,
                EventKind.NOTICED,
                role=role.name,
                actor="daemon",
                reason=message,
                identity=identity,
            )
            return
        certifies = await asyncio.to_thread(role_events.has_shim, self.box, role, instance)
        for _ in range(CERTIFICATE_CHECKS if certifies else 0):
            if await asyncio.to_thread(role_events.is_death_certified, self.box, role, identity):
                break
            await asyncio.sleep(CERTIFICATE_TIMEOUT_S / CERTIFICATE_CHECKS)
        await asyncio.to_thread(role_events.record_unknown_death, self.box, role, instance)
        self.request_probe("worker")

    # --- exits reported by the kernel ------------------------------------------------------

    def _watch_exits(self, instances: dict[Identity, Instance]) -> None:
        """Hold a pidfd on the root of each instance. It wakes the loop when the process exits."""
        known = {identity for identity in self._handles if self._role_of(identity)}
        for identity in set(self._handles) - known:
            self._unwatch_exit(self._handles.pop(identity))
        for identity in instances.keys() - self._handles.keys():
            try:
                handle = ProcessHandle(identity)
                descriptor = handle.fileno()
            except ProcessGone:
                self.request_probe("worker")
                continue
            except process_table.ProcessError:
                continue  # no pidfd available: the scan detects the exit
            self._handles[identity] = handle
            asyncio.get_running_loop().add_reader(descriptor, self._on_exit, identity)

    def _role_of(self, identity: Identity) -> str | None:
        return next(
            (name for name, instances in self._known_instances.items() if identity in instances),
            None,
        )

    def _on_exit(self, identity: Identity) -> None:
        handle = self._handles.pop(identity, None)
        if handle is not None:
            self._unwatch_exit(handle)
        self.request_probe("worker")

    def _unwatch_exit(self, handle: ProcessHandle) -> None:
        with contextlib.suppress(process_table.ProcessError):
            asyncio.get_running_loop().remove_reader(handle.fileno())
        handle.close()

    # --- policy ----------------------------------------------------------------------------

    async def _apply_policy(self, role: Role, observation: RoleObservation) -> None:
        try:
            events = await asyncio.to_thread(self.box.store.events, 0, role.name)
        except StoreError:
            return  # without the event log, the operator's requests are unknown
        history = state_machine.fold_events(events, role)
        if history.parked is None and self.log.may_have_parked_file(role):
            self._spawn_task(
                asyncio.to_thread(self.log.remove_parked_file, role),
                f"{role.name}: the file about parking",
            )
        decision = state_machine.decide_restart(
            role, history, observation.instances, observation.lease, self.box.now()
        )
        self._repair_due_at.pop(role.name, None)
        match decision.action:
            case RepairAction.WAIT if decision.due_at is not None:
                self._repair_due_at[role.name] = decision.due_at
            case RepairAction.NOTHING if decision.reason and history.parked is None:
                # The lease is held, usually by a shim that cleans up. Its exit is not reported.
                self._repair_due_at[role.name] = self.box.now().plus(SCAN_INTERVAL_S)
            case _:
                await self.repair(role, decision)

    async def repair(
        self, role: Role, decision: RepairDecision, target: Identity | None = None
    ) -> None:
        """Carry out a decision of the policy.

        Does nothing while a repair of this role is in progress or the box is read-only.
        """
        if role.name in self._roles_under_repair or self.box.settings.read_only:
            return
        if decision.action in (RepairAction.START, RepairAction.RESTART):
            self._roles_under_repair.add(role.name)
            self._spawn_task(self._start_instance(role, decision, target), _start_failure_key(role))
        elif decision.action is RepairAction.PARK:
            await asyncio.to_thread(self._park, role, decision.reason)

    def _scan_delay_s(self) -> float:
        """Return the seconds until the next scan, or until a repair is due."""
        now = self.box.now()
        return min([SCAN_INTERVAL_S, *(due.since(now) for due in self._repair_due_at.values())])

    def _run_due_repairs(self) -> None:
        now = self.box.now()
        for name in [name for name, due in self._repair_due_at.items() if due.since(now) == 0]:
            del self._repair_due_at[name]
            self.request_probe("worker")

    async def _start_instance(
        self, role: Role, decision: RepairDecision, target: Identity | None
    ) -> None:
        state = "not found" if target is None else f"stalled (PID {target.pid})"
        self.log.write(f"{role.name} {state}, {decision.reason}", "WARN")
        if (
            decision.reason == state_machine.FIRST_START_REASON
            and role.name not in self._roles_first_started
        ):
            self._roles_first_started.add(role.name)
            message = f"{role.name}: started by policy: {decision.reason}"
            await asyncio.to_thread(
                self.box.record_or_queue, EventKind.NOTICED, actor="daemon", reason=message
            )
        try:
            verb = Verb.ENSURE if target is None else Verb.RESTART
            command = Command(verb, role.name, POLICY_ACTOR, target)
            if reason := await asyncio.to_thread(shim_launcher.hanging_directory_error, role):
                raise CannotRepair(reason)
            outcome = await asyncio.to_thread(self.guard.carry_out, command)
            self.log.write(outcome.message, "INFO" if outcome.done else "ERROR")
            if outcome.code in (UNREADABLE, TIMED_OUT):
                raise CannotRepair(outcome.message)
            if not outcome.done and outcome.message == self._refusals.get(role.name):
                raise CannotRepair(outcome.message)  # refused twice: the cause is not transient
            self._refusals[role.name] = "" if outcome.done else outcome.message
            self._consecutive_failures[role.name] = 0
            if not outcome.done:
                await asyncio.sleep(REFUSED_START_DELAY_S)
        except Exception:
            failures = self._consecutive_failures[role.name] = (
                self._consecutive_failures.get(role.name, 0) + 1
            )
            await asyncio.sleep(min(REFUSED_START_DELAY_S * failures, MAX_FAILURE_DELAY_S))
            raise
        finally:
            self._roles_under_repair.discard(role.name)
            self.request_probe("worker")

    def _park(self, role: Role, reason: str) -> None:
        """Park the role until an operator acts: record an event and write an alert file."""
        self.box.record_or_queue(
            EventKind.PARKED, role=role.name, actor=POLICY_ACTOR, reason=reason
        )
        self.log.report_parked(role, reason)

    def _spawn_task(self, work: Coroutine[Any, Any, None], part: str) -> None:
        async def attend() -> None:
            with self.log.catch_failures(part):
                await work

        task = asyncio.create_task(attend())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _start_failure_key(role: Role) -> str:
    return f"{role.name} cannot be started"
