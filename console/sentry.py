"""The sentry: hears of a death at once, of a start within a second, and repairs by policy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from console.core import supervision
from console.core.model import (
    Command,
    EventKind,
    Identity,
    Instance,
    Moment,
    Role,
    Sample,
    Verb,
)
from console.core.record import Seen
from console.core.snapshot import last_seen
from console.core.supervision import POLICY, Repair
from console.system import process
from console.system.box import Box
from console.system.files import append_rotating, write_atomically
from console.system.guard import Guard
from console.system.process import Gone, Handle
from console.system.store import StoreError

PULSE_S = 1.0
CERTIFICATE_S = 1.0
"""How long a death waits for the shim's certificate before it is written without one."""


@dataclass(slots=True)
class Sentry:
    """Watches the instances of every role, and keeps the ledger and the policy true to them."""

    box: Box
    guard: Guard
    look_now: Callable[[str], None]
    _handles: dict[Identity, Handle] = field(default_factory=dict)
    _known: dict[str, dict[Identity, Instance]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _due: dict[str, Moment] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Until cancelled: notice new processes and due repairs."""
        self._log(f"Daemon started. interval={self.box.settings.monitors.worker.every_s:g}s")
        try:
            while True:
                if await asyncio.to_thread(self.box.table.stirred):
                    await self._compare()
                await asyncio.sleep(self._pause())
                self._look_at_what_is_due()
        finally:
            for handle in self._handles.values():
                self._forget(handle)
            self._handles.clear()

    async def _compare(self) -> None:
        """New processes: is one of them an instance that nobody has told us of?"""
        with contextlib.suppress(process.ProcessError):
            seen = await asyncio.to_thread(self.box.observe, self.box.roles)
            now = {i.identity for one in seen for i in one.instances}
            before = {identity for known in self._known.values() for identity in known}
            if now != before:
                self.look_now("worker")

    # --- what the worker monitor saw -------------------------------------------------------

    async def seen(self, sample: Sample) -> None:
        """Compare a look with the one before: adopt, mourn, hold a handle on each, repair."""
        if sample.error is not None:
            self._log(f"Cannot look: {sample.error}", "WARNING")
            return
        roles = last_seen([sample])
        for role in self.box.roles:
            if role.name in roles:
                await self._role_seen(role, roles[role.name])
        self._log_workers(roles.get("worker", Seen()))

    async def _role_seen(self, role: Role, seen: Seen) -> None:
        now = {instance.identity: instance for instance in seen.instances}
        if role.name not in self._known:
            self._known[role.name] = await asyncio.to_thread(self._from_ledger, role)
        before = self._known[role.name]
        self._known[role.name] = now
        for identity in now.keys() - before.keys():
            await asyncio.to_thread(self._welcome, role, now[identity], seen)
        for identity in before.keys() - now.keys():
            self._spawn(self._mourn(role, before[identity], identity))
        self._hold(now)
        await self._decide(role, seen)

    def _from_ledger(self, role: Role) -> dict[Identity, Instance]:
        """Who should still be alive by the ledger: started or adopted, with no death on record."""
        living: dict[Identity, Instance] = {}
        with contextlib.suppress(StoreError):
            for event in self.box.store.events(role=role.name):
                if event.identity is None:
                    continue
                if event.kind in (EventKind.STARTED, EventKind.ADOPTED):
                    ghost = process.ghost(event.identity, event.moment)
                    leased = event.kind is EventKind.STARTED
                    living[event.identity] = Instance(role.name, (ghost,), leased, event.token)
                elif event.kind is EventKind.DIED:
                    living.pop(event.identity, None)
        return living

    def _welcome(self, role: Role, instance: Instance, seen: Seen) -> None:
        """Put a new instance into the ledger; who started it and said so is there already."""
        started = instance.root.started
        with contextlib.suppress(StoreError):
            if instance.token is not None:
                actor = seen.lease.owner.actor if seen.lease.owner else ""
                self.box.record(
                    EventKind.STARTED, role.name, actor, "", instance.identity, instance.token
                )
                return
            self.box.record(
                EventKind.ADOPTED,
                role.name,
                supervision.OUTSIDE,
                f"found running, started by others {instance.uptime(self.box.now()):.0f}s ago",
                instance.identity,
                None,
                {"started_at": started.at, "pids": list(instance.pids)},
            )

    async def _mourn(self, role: Role, instance: Instance, identity: Identity) -> None:
        """Write a death that no shim certifies: its code and cause are not ours to know."""
        if instance.leased:
            await asyncio.sleep(CERTIFICATE_S)
        uptime = instance.uptime(self.box.now())
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(
                self.box.record,
                EventKind.DIED,
                role.name,
                supervision.OUTSIDE,
                "gone; exit code unknown: "
                + ("its shim was killed too" if instance.leased else "not started by us"),
                identity,
                instance.token,
                {"uptime_s": round(uptime, 1), "exit_code": None, "signal": None},
            )
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
        decision = supervision.repair(role, memory, seen.instances, seen.lease, self.box.now())
        self._due.pop(role.name, None)
        match decision.repair:
            case Repair.WAIT if decision.at is not None:
                self._due[role.name] = decision.at
            case Repair.START if role.name not in self._busy:
                self._busy.add(role.name)
                self._spawn(self._start(role, decision.reason))
            case Repair.PARK:
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

    async def _start(self, role: Role, reason: str) -> None:
        self._log(f"{role.name} not found, {reason}", "WARNING")
        try:
            command = Command(Verb.ENSURE, role.name, POLICY)
            outcome = await asyncio.to_thread(self.guard.carry_out, command)
            self._log(outcome.message, "INFO" if outcome.done else "ERROR")
        finally:
            self._busy.discard(role.name)
            self.look_now("worker")

    def _park(self, role: Role, reason: str) -> None:
        """Give up until a person acts: one line in the ledger, one alert file."""
        with contextlib.suppress(StoreError):
            self.box.record(EventKind.PARKED, role.name, POLICY, reason)
        self._log(f"{role.name} parked: {reason}", "ERROR")
        text = (
            f"{role.name} is parked: {reason}\nrpa-console restart {role.name} takes it up again\n"
        )
        with contextlib.suppress(OSError):
            write_atomically(self.box.outputs / f"ALERT_{role.name}_parked.txt", text)

    # --- the log of the worker monitor -----------------------------------------------------

    def _log_workers(self, seen: Seen) -> None:
        if seen.instances:
            pids = ",".join(str(instance.pid) for instance in seen.instances)
            self._log(f"Worker alive: PID(s)={pids}")
        else:
            self._log("Worker not found", "WARNING")

    def _log(self, line: str, level: str = "INFO") -> None:
        from console.core.text import day_clock, visible

        stamp = day_clock(self.box.now())
        with contextlib.suppress(OSError):
            append_rotating(
                self.box.outputs / "worker_monitor.log", f"[{stamp}] {level} {visible(line)}"
            )

    def _spawn(self, coroutine: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
