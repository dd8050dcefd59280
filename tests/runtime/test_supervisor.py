"""The supervisor over real processes: adoptions, deaths, restarts and parked roles."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from msgspec import structs
from runtime_fixtures import ledger, outsider, running_on, shown, until

from console.core.model.commands import Command, Verb
from console.core.model.events import EventKind
from console.core.model.processes import Instance, Process
from console.core.model.roles import RoleState
from console.monitors import worker
from console.runtime.loop import Runtime
from console.runtime.supervision.process_scanner import ProcessScanner
from console.system.box import Box, open_box
from console.system.config.schema import Restart
from console.system.guard.guard import Guard
from console.system.processes import procfs


async def test_foreign_worker_is_adopted_and_its_death_recorded(box: Box) -> None:
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)) as runtime:
        await until(lambda: box.store.samples("worker"))
        with await asyncio.to_thread(outsider, box) as process:
            began = time.monotonic()
            (adopted,) = await until(lambda: ledger(box, EventKind.ADOPTED))
            assert time.monotonic() - began < 2.0
            assert adopted.identity is not None
            assert (adopted.identity.pid, adopted.actor) == (process.pid, "outside")
            snapshot = await shown(runtime, lambda one: one.roles[0].instance_count == 1)
            assert snapshot.roles[0].instances[0].adopted
            process.kill()
            began = time.monotonic()
            (died,) = await until(lambda: ledger(box, EventKind.DIED))
            assert time.monotonic() - began < 1.0
        assert died.identity == adopted.identity
        assert "not started by us" in died.reason
        # The worker ran and its end was not requested: the restart policy starts another.
        (started,) = await until(lambda: ledger(box, EventKind.STARTED))
        assert started.actor == "policy"


@pytest.mark.parametrize("ours", [True, False])
async def test_scanner_reports_a_new_worker_of_any_box(box: Box, ours: bool) -> None:
    role = box.find_role("worker")
    assert role is not None
    scanner = ProcessScanner(box, list, lambda: 0)
    assert not await scanner.has_changes()
    with await asyncio.to_thread(outsider, box, box.name if ours else "/another") as process:
        try:
            argv = Path(f"/proc/{process.pid}/cmdline")
            await until(lambda: role.match.encode() in argv.read_bytes())
            assert await scanner.has_changes()
        finally:
            process.kill()


async def test_scanner_reports_an_ignored_process_that_execs_a_worker(box: Box) -> None:
    role = box.find_role("worker")
    assert role is not None
    scanner = ProcessScanner(box, list, lambda: 0)
    await scanner.has_changes()
    shell = ["sh", "-c", "read -r line; exec $line"]
    process = await asyncio.to_thread(
        subprocess.Popen, shell, stdin=subprocess.PIPE, env={"RPA_CONSOLE_BOX": box.name}
    )
    with process:
        try:
            for _ in range(2):
                assert not await scanner.has_changes()
            assert process.pid in scanner._ignored and process.stdin is not None
            process.stdin.write(f"{' '.join(role.command)}\n".encode())
            process.stdin.flush()
            argv = Path(f"/proc/{process.pid}/cmdline")
            await until(lambda: role.match.encode() in argv.read_bytes())
            assert await scanner.has_changes()
        finally:
            process.kill()


async def test_requested_death_of_an_adopted_worker_names_the_request(box: Box) -> None:
    """No shim certifies the end of an adopted worker: the event log has the request's actor."""
    with await asyncio.to_thread(outsider, box) as process:
        identity = procfs.identify(process.pid)
        box.record(
            EventKind.ADOPTED,
            role="worker",
            actor="outside",
            reason="found running",
            identity=identity,
        )
        data = {"verb": "kill"}
        box.record(EventKind.ASKED, role="worker", actor="cli:ana", identity=identity, data=data)
        process.kill()
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
        (died,) = await until(lambda: ledger(box, EventKind.DIED))
    assert died.reason == "ended on request (kill by cli:ana); exit code unknown"


async def test_death_is_recorded_for_a_worker_the_supervisor_never_saw(box: Box) -> None:
    """Another command records the adoption; the worker is gone before the next scan."""
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
        await until(lambda: box.store.samples("worker"))
        with await asyncio.to_thread(outsider, box) as process:
            identity = procfs.identify(process.pid)
            process.kill()
        await asyncio.to_thread(
            box.record,
            EventKind.ADOPTED,
            role="worker",
            actor="cli:ana",
            reason="found running",
            identity=identity,
        )
        died = (await until(lambda: ledger(box, EventKind.DIED)))[0]
        assert died.identity == identity


async def test_death_without_a_daemon_is_recorded_by_the_next_daemon(box: Box) -> None:
    with await asyncio.to_thread(outsider, box) as process:
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
            await until(lambda: ledger(box, EventKind.ADOPTED))
        process.kill()
        process.wait(10)
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
            (died,) = await until(lambda: ledger(box, EventKind.DIED))
    assert died.identity is not None
    assert died.identity.pid == process.pid


async def test_stopped_worker_is_shown_as_stalled(box: Box) -> None:
    with await asyncio.to_thread(outsider, box) as process:
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)) as runtime:
            await until(lambda: ledger(box, EventKind.ADOPTED))
            process.send_signal(signal.SIGSTOP)
            await shown(runtime, lambda one: one.roles[0].state is RoleState.STALLED)
            process.send_signal(signal.SIGCONT)
            await shown(runtime, lambda one: one.roles[0].state is RoleState.RUNNING)
        process.kill()


async def test_role_is_parked_once_across_repeated_samples(box: Box) -> None:
    """The limit here is two automatic restarts after the first start; the event log has them."""
    for _ in range(3):
        box.record(EventKind.STARTED, role="worker", actor="policy")
    outputs = box.outputs_dir
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)) as runtime:
        await until(lambda: ledger(box, EventKind.PARKED))
        for _ in range(3):
            before = len(box.store.samples("worker"))
            runtime.request_probe("worker")
            await until(lambda: len(box.store.samples("worker")) > before)  # noqa: B023
        snapshot = await shown(runtime, lambda one: one.roles[0].state is RoleState.PARKED)
    assert len(ledger(box, EventKind.PARKED)) == 1
    assert "a person must act" in snapshot.roles[0].reason
    assert (outputs / "ALERT_worker_parked.txt").exists()
    box.record(EventKind.RELEASED, role="worker", actor="cli:ana")
    box.record(EventKind.ASKED, role="worker", actor="cli:ana", data={"verb": "kill"})
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
        await until(lambda: not (outputs / "ALERT_worker_parked.txt").exists())
    assert ledger(box, EventKind.FAILED) == []


async def test_autostart_role_is_started_with_the_daemon(box: Box, place: Path) -> None:
    assert ledger(box, EventKind.STARTED) == []
    role = box.settings.roles["worker"]
    roles = {**box.settings.roles, "worker": structs.replace(role, autostart=True)}
    with open_box(structs.replace(box.settings, roles=roles), place / "state") as fresh:
        async with running_on(Runtime(fresh, {"worker": worker}, is_holder=True)) as runtime:
            (started,) = await until(lambda: ledger(fresh, EventKind.STARTED))
            await shown(runtime, lambda one: one.roles[0].instance_count == 1)
        assert started.actor == "policy"
        log = (fresh.outputs_dir / "worker_monitor.log").read_text()
        assert "worker not found, first start of this daemon" in log
        assert Guard(fresh).carry_out(Command(Verb.KILL, "worker", "cli:ana")).done
        async with running_on(Runtime(fresh, {"worker": worker}, is_holder=True)):
            before = len(fresh.store.samples("worker"))
            await until(lambda: len(fresh.store.samples("worker")) > before)
        assert len(ledger(fresh, EventKind.STARTED)) == 1, "what a person has ended stays ended"


async def test_instances_that_die_together_are_restarted_together(box: Box, place: Path) -> None:
    """Three simultaneous deaths count as one of the two automatic restarts."""
    restart = Restart(backoff_s=1.0, backoff_max_s=8.0, limit=2)
    role = structs.replace(box.settings.roles["worker"], count=3, restart=restart)
    roles = {**box.settings.roles, "worker": role}
    with open_box(structs.replace(box.settings, roles=roles), place / "state") as pool:
        guard = Guard(pool)
        told = await asyncio.to_thread(guard.carry_out, Command(Verb.ENSURE, "worker", "cli:ana"))
        assert told.done, told.message
        async with running_on(Runtime(pool, {"worker": worker}, is_holder=True)) as runtime:
            for gone in (3, 1):
                view = (await shown(runtime, lambda one: one.roles[0].instance_count == 3)).roles[0]
                before = len(ledger(pool, EventKind.STARTED))
                for instance in view.instances[:gone]:
                    os.kill(instance.pid, signal.SIGKILL)
                await until(lambda: len(ledger(pool, EventKind.STARTED)) == before + gone)  # noqa: B023
            view = (await shown(runtime, lambda one: one.roles[0].instance_count == 3)).roles[0]
        assert (view.restarts, ledger(pool, EventKind.PARKED)) == (2, [])


async def test_supervisor_continues_when_its_log_cannot_be_written(box: Box, place: Path) -> None:
    (place / "outputs").write_text("a file where a directory should be")
    with await asyncio.to_thread(outsider, box) as process:
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
            await until(lambda: ledger(box, EventKind.ADOPTED))
        process.kill()


async def test_follower_scans_processes_itself_without_a_daemon(box: Box) -> None:
    runtime = Runtime(box, {"worker": worker})
    with await asyncio.to_thread(outsider, box) as process:
        await shown(runtime, lambda one: [i.pid for i in one.roles[0].instances] == [process.pid])
        process.kill()
        process.wait(10)
        snapshot = await shown(runtime, lambda one: one.roles[0].instance_count == 0)
    assert snapshot.daemon.running is False
    assert box.store.samples("worker") == []
    assert runtime._snapshot_task is not None
    runtime._snapshot_task.cancel()


async def test_no_death_is_recorded_for_a_living_process(box: Box) -> None:
    """A living process may leave its role, as when the role's match changes."""
    role = box.find_role("worker")
    assert role is not None
    runtime = Runtime(box, {"worker": worker}, is_holder=True)
    with await asyncio.to_thread(outsider, box) as process:
        try:
            identity = procfs.identify(process.pid)
            assert identity is not None
            lost = Instance("worker", (Process(identity, 1, (), box.now()),))
            await runtime.supervisor._record_death_when_certain(role, lost, identity)
            (told,) = ledger(box, EventKind.NOTICED)
            assert f"PID {process.pid} lives" in told.reason
            assert not ledger(box, EventKind.DIED)
        finally:
            process.kill()


async def test_refused_restart_is_reported_as_a_failed_repair(box: Box) -> None:
    """The supervisor's failures become the daemon's problems, which are reasons of the verdict."""
    box.record(EventKind.STARTED, role="worker", actor="policy")  # wanted, but not running
    box.paths.command_lock("worker").mkdir()
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)) as runtime:
        failing = await until(lambda: runtime.supervisor.log.failures)
        assert "worker.decision: the lock cannot be opened" in failing["worker cannot be started"]
    assert len(ledger(box, EventKind.REFUSED)) == 1
