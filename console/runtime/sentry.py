"""The sentry: hears of a death at once, of a start within a second, and repairs by policy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import field
from typing import Any

from console.core import supervision
from console.core.frozen import slotted
from console.core.model import (
    Command,
    EventKind,
    Health,
    Identity,
    Instance,
    Moment,
    Role,
    Sample,
    Verb,
)
from console.core.record import Seen
from console.core.snapshot import last_seen
from console.core.supervision import POLICY, Decision, Repair
from console.runtime import ledger
from console.runtime.pulse import Pulse
from console.runtime.waiting import on_the_second
from console.runtime.worker_log import CannotRepair, WorkerLog
from console.system import launch, proc, process
from console.system.box import Box
from console.system.guard import TIMED_OUT, UNREADABLE, Guard
from console.system.process import Gone, Handle
from console.system.store import StoreError

PULSE_S = 1.0
CERTIFICATE_S = 1.0
"""How long a death waits for the shim's certificate before it is written without one."""
CERTIFICATE_LOOKS = 20
FAILED_MAX_S = 5.0
"""The longest pause after a repair that an error has ended: its cause may end at any time."""
REFUSED_S = 1.0
"""The least pause after a start that was refused: what refused it is hardly gone at once."""


@slotted
class Sentry:
    """Watches the instances of every role, and keeps the ledger and the policy true to them."""

    box: Box
    guard: Guard
    look_now: Callable[[str], None]
    newest: Callable[[], int]
    """The ledger's last line, as far as it has been read."""
    log: WorkerLog = field(init=False)
    _handles: dict[Identity, Handle] = field(default_factory=dict)
    _known: dict[str, dict[Identity, Instance]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _due: dict[str, Moment] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _begun: set[str] = field(default_factory=set)
    """Roles whose first start has been told."""
    _refused: dict[str, str] = field(default_factory=dict)
    """What the last start of each role was refused for."""
    _failures: dict[str, int] = field(default_factory=dict)
    """How often in a row a repair of each role has ended by an error."""
    _pulse: Pulse = field(init=False)

    def __post_init__(self) -> None:
        self.log = WorkerLog(self.box)
        self._pulse = Pulse(self.box, self._instances, self.newest)

    async def run(self) -> None:
        """Until cancelled: notice new processes and due repairs."""
        self.log.started()
        self.look_now("worker")  # whatever has happened while nobody watched
        try:
            while True:
                with self.log.going_on("pulse"):
                    if self._pulse.stopped() or await self._pulse.news():
                        self.look_now("worker")
                await asyncio.sleep(on_the_second(self._pause()))
                self._look_at_what_is_due()
        finally:
            for handle in self._handles.values():
                self._forget(handle)
            self._handles.clear()

    def _instances(self) -> list[Instance]:
        """Those we know, for a thread that looks while the loop may learn of others."""
        return [one for some in tuple(self._known.values()) for one in tuple(some.values())]

    # --- what the worker monitor saw -------------------------------------------------------

    async def seen(self, sample: Sample, server: Health) -> None:
        """Compare a look with the one before: adopt, mourn, hold a handle on each, repair."""
        if sample.error is not None:
            self.log.line(f"Cannot look: {sample.error}", "WARN")
            return
        roles = last_seen([sample])
        for role in self.box.roles:
            with self.log.going_on(role.name):
                if role.name in roles:
                    await self._role_seen(role, roles[role.name])
        self.log.workers(roles.get("worker", Seen()), server)

    async def _role_seen(self, role: Role, seen: Seen) -> None:
        now = {instance.identity: instance for instance in seen.instances}
        if role.name not in self._known:
            self._known[role.name] = await asyncio.to_thread(ledger.living, self.box, role)
        before = self._known[role.name] | await asyncio.to_thread(ledger.ghosts, self.box, role)
        self._known[role.name] = now
        # What another state directory runs is counted here, and has its lines in the ledger there.
        for identity in [one for one in now if one not in before and now[one].box is None]:
            await asyncio.to_thread(ledger.welcome, self.box, role, now[identity], seen)
        gone = [one for one in before if one not in now and before[one].box is None]
        for identity in gone:
            self._spawn(self._mourn(role, before[identity], identity), f"{role.name}: a death")
        if len(now) >= role.count:
            self.log.failing.pop(_starting(role), None)
        self._hold(now)
        if not gone:  # else once the death is in the ledger: the back-off counts from there
            await self._decide(role, seen)

    async def _mourn(self, role: Role, instance: Instance, identity: Identity) -> None:
        """Write a death that no shim certifies: its code and cause are not ours to know.

        A process that lives and does not belong to the role any more has not died.
        """
        if await asyncio.to_thread(proc.alive, identity):
            words = f"PID {identity.pid} lives, and belongs to this role no longer"
            told = (EventKind.NOTICED, role.name, "daemon", words, identity)
            await asyncio.to_thread(self.box.tell, *told)
            return
        certifies = await asyncio.to_thread(ledger.has_shim, self.box, role, instance)
        for _ in range(CERTIFICATE_LOOKS if certifies else 0):
            if await asyncio.to_thread(ledger.certified, self.box, role, identity):
                break
            await asyncio.sleep(CERTIFICATE_S / CERTIFICATE_LOOKS)
        await asyncio.to_thread(ledger.bury, self.box, role, instance)
        self.look_now("worker")

    # --- death notices from the kernel -----------------------------------------------------

    def _hold(self, instances: dict[Identity, Instance]) -> None:
        """Hold a pidfd on each living root; the loop wakes when one dies."""
        held = {identity for identity in self._handles if self._role_of(identity)}
        for identity in set(self._handles) - held:
            self._forget(self._handles.pop(identity))
        for identity in instances.keys() - self._handles.keys():
            try:
                handle = Handle(identity)
                descriptor = handle.fileno()
            except Gone:
                self.look_now("worker")
                continue
            except process.ProcessError:
                continue  # no pidfd here: the pulse finds out
            self._handles[identity] = handle
            asyncio.get_running_loop().add_reader(descriptor, self._died, identity)

    def _role_of(self, identity: Identity) -> str | None:
        return next((name for name, known in self._known.items() if identity in known), None)

    def _died(self, identity: Identity) -> None:
        handle = self._handles.pop(identity, None)
        if handle is not None:
            self._forget(handle)
        self.look_now("worker")

    def _forget(self, handle: Handle) -> None:
        with contextlib.suppress(process.ProcessError):
            asyncio.get_running_loop().remove_reader(handle.fileno())
        handle.close()

    # --- policy ----------------------------------------------------------------------------

    async def _decide(self, role: Role, seen: Seen) -> None:
        try:
            events = await asyncio.to_thread(self.box.store.events, 0, role.name)
        except StoreError:
            return  # without the ledger nothing is known of a person's wishes
        memory = supervision.remember(events, role)
        if memory.parked is None and self.log.may_say_parked(role):
            self._spawn(
                asyncio.to_thread(self.log.released, role), f"{role.name}: the file about parking"
            )
        decision = supervision.repair(role, memory, seen.instances, seen.lease, self.box.now())
        self._due.pop(role.name, None)
        match decision.repair:
            case Repair.WAIT if decision.at is not None:
                self._due[role.name] = decision.at
            case Repair.NOTHING if decision.reason and memory.parked is None:
                # The lease is held, as a rule by a shim that tidies up: nothing tells when it ends.
                self._due[role.name] = self.box.now().plus(PULSE_S)
            case _:
                await self.repair(role, decision)

    async def repair(self, role: Role, decision: Decision, target: Identity | None = None) -> None:
        """Do what policy has decided, unless a repair of this role is under way."""
        if role.name in self._busy or self.box.settings.read_only:
            return
        if decision.repair in (Repair.START, Repair.RESTART):
            self._busy.add(role.name)
            self._spawn(self._start(role, decision, target), _starting(role))
        elif decision.repair is Repair.PARK:
            await asyncio.to_thread(self._park, role, decision.reason)

    def _pause(self) -> float:
        """Until the next pulse, or until a repair is due."""
        now = self.box.now()
        return min([PULSE_S, *(due.since(now) for due in self._due.values())])

    def _look_at_what_is_due(self) -> None:
        now = self.box.now()
        for name in [name for name, due in self._due.items() if due.since(now) == 0]:
            del self._due[name]
            self.look_now("worker")

    async def _start(self, role: Role, decision: Decision, target: Identity | None) -> None:
        what = "not found" if target is None else f"stalled (PID {target.pid})"
        self.log.line(f"{role.name} {what}, {decision.reason}", "WARN")
        if decision.reason == supervision.FIRST and role.name not in self._begun:
            self._begun.add(role.name)
            words = f"{role.name}: started by policy: {decision.reason}"
            await asyncio.to_thread(self.box.tell, EventKind.NOTICED, "", "daemon", words)
        try:
            verb = Verb.ENSURE if target is None else Verb.RESTART
            command = Command(verb, role.name, POLICY, target)
            if reason := await asyncio.to_thread(launch.unanswering, role):
                raise CannotRepair(reason)
            outcome = await asyncio.to_thread(self.guard.carry_out, command)
            self.log.line(outcome.message, "INFO" if outcome.done else "ERROR")
            if outcome.code in (UNREADABLE, TIMED_OUT):
                raise CannotRepair(outcome.message)
            if not outcome.done and outcome.message == self._refused.get(role.name):
                raise CannotRepair(outcome.message)  # the second time: it is no passing matter
            self._refused[role.name] = "" if outcome.done else outcome.message
            self._failures[role.name] = 0
            if not outcome.done:
                await asyncio.sleep(REFUSED_S)
        except Exception:
            failures = self._failures[role.name] = self._failures.get(role.name, 0) + 1
            await asyncio.sleep(min(REFUSED_S * failures, FAILED_MAX_S))
            raise
        finally:
            self._busy.discard(role.name)
            self.look_now("worker")

    def _park(self, role: Role, reason: str) -> None:
        """Give up until a person acts: one line in the ledger, one alert file."""
        self.box.tell(EventKind.PARKED, role.name, POLICY, reason)
        self.log.parked(role, reason)

    def _spawn(self, work: Coroutine[Any, Any, None], part: str) -> None:
        async def attend() -> None:
            with self.log.going_on(part):
                await work

        task = asyncio.create_task(attend())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _starting(role: Role) -> str:
    return f"{role.name} cannot be started"
