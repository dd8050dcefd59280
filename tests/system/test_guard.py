"""Tests of the guard with real processes, real locks and a real event log."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from guard_harness import Make, dead, kill, wait_for

from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import LeaseState
from console.core.supervision.state_machine import POLICY_ACTOR
from console.system.host import package_files

COMMAND = Command(Verb.ENSURE, "worker", "test")


def kinds(events: list[Event]) -> list[EventKind]:
    """Return the kinds of the events, in order."""
    return [event.kind for event in events]


def write_interpreter_stub(directory: Path, *lines: str) -> str:
    """Write a shell script that runs in place of the shim's interpreter. Return its path."""
    stub = directory / "interpreter"
    stub.write_text("\n".join(("#!/bin/sh", *lines, "")))
    stub.chmod(0o700)
    return str(stub)


def open_files() -> list[str]:
    """Return the paths of this process's open descriptors, one for each descriptor."""
    paths = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return paths


def test_ensure_starts_one_worker_and_then_finds_it(make: Make) -> None:
    a = make()
    first, again = a.ensure(), a.ensure()
    assert (first.changed, again.changed) == (True, False)
    assert first.pid == again.pid == a.only().pid
    assert a.only().leased and a.only().token == 1
    assert a.look().worst_lease.state is LeaseState.HELD
    assert kinds(a.events()) == [EventKind.STARTED, EventKind.CONFIRMED]


def test_kill_verifies_the_death_and_records_it(make: Make) -> None:
    a = make()
    pid = a.ensure().pid
    assert a.do(Verb.KILL).done
    assert pid and dead(pid) and not a.look().instances
    assert a.look().worst_lease.state is LeaseState.FREE
    assert a.deaths()[0].data["signal"] == "SIGTERM"
    expected = [EventKind.STARTED, EventKind.ASKED, EventKind.DIED, EventKind.ENDED]
    assert kinds(a.events()) == expected and not a.unexplained()


def test_worker_that_ignores_sigterm_is_killed_after_the_grace_period(make: Make) -> None:
    a = make(modes="deaf", grace_s=0.3)
    pid = a.ensure().pid
    wait_for(lambda: a.lines("ready"))
    outcome = a.do(Verb.KILL)
    assert outcome.done and "killed after 0.3s" in outcome.message and pid and dead(pid)
    assert a.deaths()[0].data["signal"] == "SIGKILL"


def test_force_does_not_wait_for_the_grace_period(make: Make) -> None:
    a = make(modes="deaf", grace_s=60.0)
    a.ensure()
    wait_for(lambda: a.lines("ready"))
    began = os.times().elapsed
    assert a.do(Verb.KILL, force=True).done and os.times().elapsed - began < 30


def test_stopped_worker_keeps_its_lease_and_can_be_ended(make: Make) -> None:
    a = make()
    pid = a.ensure().pid or 0
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: a.only().root.state == "T")
    assert a.look().worst_lease.state is LeaseState.HELD
    assert a.do(Verb.KILL).done and dead(pid)
    assert a.deaths()[0].data["signal"] == "SIGTERM"


def test_stopped_shim_is_resumed(make: Make) -> None:
    a = make()
    pid, shim = a.ensure().pid or 0, a.shim()
    os.kill(shim, signal.SIGSTOP)
    kill(pid)
    wait_for(lambda: dead(pid))
    assert a.ensure().pid != pid, "the stopped shim kept the lease of a dead worker"
    assert not a.duplicates and not a.unexplained()


def test_restart_replaces_the_worker_under_a_higher_token(make: Make) -> None:
    a = make()
    first = a.only() if a.ensure() else None
    outcome = a.do(Verb.RESTART, target=first.identity if first else None, token=1)
    assert outcome.done, outcome.message
    assert a.only().token == 2 and outcome.pid == a.only().pid
    assert not a.duplicates and not a.unexplained()


def test_dry_run_changes_nothing(make: Make) -> None:
    a = make()
    outcome = a.do(Verb.ENSURE, dry_run=True)
    assert outcome.done and "would start 1" in outcome.message
    pid = a.ensure().pid
    before = a.box.store.events()
    for verb in (Verb.KILL, Verb.RESTART):
        assert f"end PID {pid}" in a.do(verb, dry_run=True).message
    assert "do nothing" in a.do(Verb.ENSURE, dry_run=True).message
    assert not a.do(Verb.KILL, dry_run=True, target=Identity(1, 1, "x")).done
    assert a.box.store.events() == before and a.only().pid == pid


def test_worker_started_outside_is_adopted_and_can_be_ended(make: Make) -> None:
    a = make()
    pid = a.outside()
    outcome = a.ensure()
    assert outcome.pid == pid and not outcome.changed and "adopted" in outcome.message
    assert a.only().adopted and kinds(a.events())[0] is EventKind.ADOPTED
    assert a.do(Verb.RESTART).done and dead(pid)
    assert a.only().leased and not a.duplicates
    assert [e.identity.pid for e in a.deaths() if e.identity] == [pid]


@pytest.mark.parametrize("keep", ["oldest", "newest"])
def test_duplicates_are_ended_by_the_keep_setting(make: Make, keep: str) -> None:
    a = make(keep=keep, modes="many")
    first, second = a.outside("many"), a.outside("many")
    assert len(a.look().instances) == 2
    stays, goes = (first, second) if keep == "oldest" else (second, first)
    outcome = a.do(Verb.END_DUPLICATES)
    assert outcome.done and f"keep the {keep}" in outcome.message
    assert a.only().pid == stays and goes and dead(goes)
    assert a.ensure().pid == stays
    assert f"keep the {keep}" in a.events(EventKind.ENDED)[0].reason


def test_leased_worker_is_kept_over_a_newer_one(make: Make) -> None:
    a = make(keep="newest", modes="many")
    leased, younger = a.ensure().pid, a.outside("many")
    assert a.do(Verb.END_DUPLICATES).done
    assert a.only().pid == leased and dead(younger)


def test_ensure_ends_no_duplicates_without_force(make: Make) -> None:
    a = make(modes="many")
    started = [a.outside("many") for _ in range(3)]
    refused = a.do(Verb.ENSURE)
    assert (refused.done, refused.code) == (False, 1)
    assert all(str(pid) in refused.message for pid in started)
    assert "kill --duplicates" in refused.message and len(a.look().instances) == 3
    assert a.ensure(force=True).changed and len(a.look().instances) == 1


def test_count_of_two_runs_two_workers_with_their_own_tokens(make: Make) -> None:
    a = make(count=2, modes="many")
    assert a.ensure().done
    both = a.look()
    assert len(both.instances) == 2 and all(one.leased for one in both.instances)
    assert {one.token for one in both.instances} == {1, 2}
    kill(both.instances[0].pid)
    wait_for(lambda: len(a.look().instances) == 1)
    assert a.ensure().done and len(a.look().instances) == 2
    kept = both.instances[1].identity
    assert kept in {one.identity for one in a.look().instances}
    assert a.do(Verb.KILL).done and not a.look().instances and not a.unexplained()


def test_wrapper_counts_as_the_worker_before_its_exec(make: Make) -> None:
    a = make(match="nothing_like_it.py")
    a.settings.roles["worker"].command[:] = a.shell("sleep 0.3")
    pid = a.ensure().pid
    assert a.only().pid == pid and not a.lines("starts")
    assert a.ensure().pid == pid
    wait_for(lambda: a.lines("starts"))
    assert a.only().pid == pid and not a.duplicates


def test_kill_without_a_worker_is_recorded_as_a_request(make: Make) -> None:
    a = make()
    assert a.do(Verb.KILL).message == "worker: nothing to end"
    assert a.events(EventKind.ASKED)[0].data["verb"] == "kill"


def test_late_policy_restart_does_not_undo_a_kill(make: Make) -> None:
    a = make()
    kill(a.ensure().pid or 0)
    wait_for(a.deaths)
    assert a.do(Verb.KILL).message == "worker: nothing to end"
    late = a.do(
        Verb.ENSURE, actor=POLICY_ACTOR
    )  # policy decided after the death, and then waited for the command lock
    assert not late.done and "ended on request" in late.message
    assert not a.look().instances and a.look().worst_lease.state is LeaseState.FREE
    assert a.ensure().changed, "a person may"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_waiting_ensure_starts_the_worker_after_the_first_is_killed(
    make: Make, number: int
) -> None:
    a = make(settle_s=2.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(a.do, Verb.ENSURE, actor="first")
        victim = int(wait_for(lambda: a.lines("starts"))[0].split()[0])
        second = pool.submit(a.do, Verb.ENSURE, actor="second")
        kill(victim, number)
        assert not first.result(30).done
        outcome = second.result(30)
    assert outcome.done and outcome.pid == a.only().pid != victim, outcome.message


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGKILL, "SIGKILL"), (40, "signal 40")], ids=["named", "unnamed"]
)
def test_shim_ended_by_a_signal_before_its_fork_is_recorded_as_killed(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    a = make()
    stub = write_interpreter_stub(a.place, f"kill -{int(number)} $$")
    monkeypatch.setattr(package_files, "find_interpreter", lambda: stub)
    reason = f"the shim cannot be started: ended by {name}"
    assert a.do(Verb.ENSURE).message == f"worker: not started: {reason}"
    (failure,) = a.events(EventKind.FAILED)
    assert (failure.reason, failure.data["killed"]) == (reason, True)


def test_shim_exit_code_before_its_fork_is_not_recorded_as_killed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make()
    stub = write_interpreter_stub(a.place, "exit 3")
    monkeypatch.setattr(package_files, "find_interpreter", lambda: stub)
    assert a.do(Verb.ENSURE).message.endswith("the shim cannot be started: exit code 3")
    (failure,) = a.events(EventKind.FAILED)
    assert failure.data["killed"] is False


def test_waiting_ensure_starts_the_worker_after_a_signal_ends_the_shim(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make()
    begun, go = a.place / "begun", a.place / "go"
    stub = write_interpreter_stub(
        a.place, f": > {begun}", f"while [ ! -e {go} ]; do sleep 0.01; done", "kill -9 $$"
    )
    find_interpreter = package_files.find_interpreter
    monkeypatch.setattr(
        package_files, "find_interpreter", lambda: find_interpreter() if go.exists() else stub
    )
    lock = str(a.box.paths.command_lock("worker"))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(a.do, Verb.ENSURE, actor=POLICY_ACTOR)
        try:
            wait_for(begun.exists)
            second = pool.submit(a.do, Verb.ENSURE, actor="second")
            # A command reads its last event before it opens the lock.
            wait_for(lambda: open_files().count(lock) == 2)
        finally:
            go.touch()
        assert not first.result(30).done
        outcome = second.result(30)
    assert outcome.done and outcome.changed and outcome.pid == a.only().pid, outcome.message
    assert kinds(a.events()) == [EventKind.FAILED, EventKind.STARTED]


def test_waiting_ensures_do_not_repeat_a_start_that_failed_by_itself(make: Make) -> None:
    a = make(settle_s=2.0, modes="exit3")
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda number: a.do(Verb.ENSURE), range(8)))
    assert not any(outcome.done for outcome in outcomes)
    assert len(a.lines("starts")) < 8
    assert any("tried just now" in outcome.message for outcome in outcomes)
