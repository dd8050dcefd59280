"""The watch over real processes: who came, who died, what is repaired and what is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from msgspec import structs
from scene import ledger, outsider, running_on, shown, until

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


async def test_a_worker_of_others_is_adopted_and_mourned(box: Box) -> None:
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
        # It ran, and nobody has asked for its end: policy puts one in its place.
        (started,) = await until(lambda: ledger(box, EventKind.STARTED))
        assert started.actor == "policy"


@pytest.mark.parametrize("ours", [True, False])
async def test_a_worker_is_news_whatever_box_has_started_it(box: Box, ours: bool) -> None:
    role = box.find_role("worker")
    assert role is not None
    pulse = ProcessScanner(box, list, lambda: 0)
    assert not await pulse.has_changes()
    with await asyncio.to_thread(outsider, box, box.name if ours else "/another") as process:
        try:
            argv = Path(f"/proc/{process.pid}/cmdline")
            await until(lambda: role.match.encode() in argv.read_bytes())
            assert await pulse.has_changes()
        finally:
            process.kill()


async def test_who_was_passed_over_is_seen_once_he_has_become_a_worker(box: Box) -> None:
    role = box.find_role("worker")
    assert role is not None
    pulse = ProcessScanner(box, list, lambda: 0)
    await pulse.has_changes()
    shell = ["sh", "-c", "read -r line; exec $line"]
    process = await asyncio.to_thread(
        subprocess.Popen, shell, stdin=subprocess.PIPE, env={"RPA_CONSOLE_BOX": box.name}
    )
    with process:
        try:
            for _ in range(2):
                assert not await pulse.has_changes()
            assert process.pid in pulse._ignored and process.stdin is not None
            process.stdin.write(f"{' '.join(role.command)}\n".encode())
            process.stdin.flush()
            argv = Path(f"/proc/{process.pid}/cmdline")
            await until(lambda: role.match.encode() in argv.read_bytes())
            assert await pulse.has_changes()
        finally:
            process.kill()


async def test_a_death_that_was_asked_for_is_told_as_that(box: Box) -> None:
    """No shim certifies the end of an adopted worker: who asked for it is in the ledger."""
    with await asyncio.to_thread(outsider, box) as process:
        identity = procfs.identify(process.pid)
        about = ("worker", "cli:ana", "", identity, None, {"verb": "kill"})
        box.record(EventKind.ADOPTED, "worker", "outside", "found running", identity)
        box.record(EventKind.ASKED, *about)
        process.kill()
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
        (died,) = await until(lambda: ledger(box, EventKind.DIED))
    assert died.reason == "ended on request (kill by cli:ana); exit code unknown"


async def test_who_died_before_the_watch_saw_them_is_mourned_too(box: Box) -> None:
    """Another command saw it alive, and has written so; it was gone by the next look."""
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
        await until(lambda: box.store.samples("worker"))
        with await asyncio.to_thread(outsider, box) as process:
            identity = procfs.identify(process.pid)
            process.kill()
        ghost = (EventKind.ADOPTED, "worker", "cli:ana", "found running", identity)
        await asyncio.to_thread(box.record, *ghost)
        died = (await until(lambda: ledger(box, EventKind.DIED)))[0]
        assert died.identity == identity


async def test_what_died_while_nobody_watched_is_told_by_who_comes_next(box: Box) -> None:
    with await asyncio.to_thread(outsider, box) as process:
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
            await until(lambda: ledger(box, EventKind.ADOPTED))
        process.kill()
        process.wait(10)
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
            (died,) = await until(lambda: ledger(box, EventKind.DIED))
    assert died.identity is not None
    assert died.identity.pid == process.pid


async def test_a_stopped_worker_is_noticed_within_seconds(box: Box) -> None:
    with await asyncio.to_thread(outsider, box) as process:
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)) as runtime:
            await until(lambda: ledger(box, EventKind.ADOPTED))
            process.send_signal(signal.SIGSTOP)
            await shown(runtime, lambda one: one.roles[0].state is RoleState.STALLED)
            process.send_signal(signal.SIGCONT)
            await shown(runtime, lambda one: one.roles[0].state is RoleState.RUNNING)
        process.kill()


async def test_a_role_is_parked_once_however_often_it_is_looked_at(box: Box) -> None:
    """Two automatic restarts after the first start are allowed here; the ledger remembers them."""
    for _ in range(3):
        box.record(EventKind.STARTED, "worker", "policy")
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
    box.record(EventKind.RELEASED, "worker", "cli:ana")
    box.record(EventKind.ASKED, "worker", "cli:ana", "", None, None, {"verb": "kill"})
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
        await until(lambda: not (outputs / "ALERT_worker_parked.txt").exists())
    assert ledger(box, EventKind.FAILED) == []


async def test_a_role_that_never_ran_is_started_with_the_daemon(box: Box, place: Path) -> None:
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


async def test_instances_that_die_together_come_back_together(box: Box, place: Path) -> None:
    """One event, one of the two automatic restarts: three starts do not use up the limit."""
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


async def test_the_watch_goes_on_when_its_log_cannot_be_written(box: Box, place: Path) -> None:
    (place / "outputs").write_text("a file where a directory should be")
    with await asyncio.to_thread(outsider, box) as process:
        async with running_on(Runtime(box, {"worker": worker}, is_holder=True)):
            await until(lambda: ledger(box, EventKind.ADOPTED))
        process.kill()


async def test_who_follows_looks_itself_where_nobody_runs_the_monitors(box: Box) -> None:
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


async def test_no_death_is_told_of_a_process_that_lives(box: Box) -> None:
    """It may have left its role, as when the match of the role has changed."""
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


async def test_a_start_that_is_refused_again_is_a_repair_that_fails(box: Box) -> None:
    """The daemon's troubles, which are reasons of the verdict, are made of what fails."""
    box.record(EventKind.STARTED, "worker", "policy")  # it is wanted, and does not run
    box.paths.command_lock("worker").mkdir()
    async with running_on(Runtime(box, {"worker": worker}, is_holder=True)) as runtime:
        failing = await until(lambda: runtime.supervisor.log.failures)
        assert "worker.decision: the lock cannot be opened" in failing["worker cannot be started"]
    assert len(ledger(box, EventKind.REFUSED)) == 1
