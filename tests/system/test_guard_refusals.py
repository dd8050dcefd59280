"""Tests of the guard's refusals, which must change nothing."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import portalocker
import pytest
from guard_harness import PYTHON, STARTED, Make, dead, kill, wait_for

from console.core.explain.death_chain import explain_last_death
from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.roles import LeaseState
from console.core.supervision import state_machine
from console.system.guard.guard import Guard
from console.system.locks import command_lock, ofd_lock

COMMAND = Command(Verb.ENSURE, "worker", "test")


def kinds(events: list[Event]) -> list[EventKind]:
    """Return the kinds of the events, in order."""
    return [event.kind for event in events]


def test_replaced_target_is_refused(make: Make) -> None:
    a = make()
    a.ensure()
    first = a.only().identity
    assert a.do(Verb.RESTART).done
    second = a.only()
    for verb in (Verb.KILL, Verb.RESTART):
        outcome = a.do(verb, target=first)
        assert (outcome.done, outcome.code) == (False, 1)
        assert "no longer running" in outcome.message
    assert not a.do(Verb.KILL, target=second.identity, token=1).done, "an older number"
    assert not a.do(Verb.KILL, token=1).done
    assert a.only().identity == second.identity
    assert kinds(a.events(EventKind.REFUSED)) == [EventKind.REFUSED] * 4
    assert a.do(Verb.KILL, token=2).done


def test_restart_with_an_unstartable_command_keeps_the_worker(make: Make) -> None:
    a = make()
    pid = a.ensure().pid
    a.script.chmod(0o600)
    role = a.settings.roles["worker"]
    role.command[0] = "/nowhere/python"
    outcome = a.do(Verb.RESTART)
    assert not outcome.done and "/nowhere/python" in outcome.message
    assert a.only().pid == pid and not a.events(EventKind.ASKED)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["/nowhere/at/all"], "No such file"),
        (["no-such-program-anywhere"], "No such file"),
        (["/etc/passwd"], "Permission denied"),
        ([*PYTHON, "-c", "raise SystemExit(3)"], "exited with code 3"),
        (["/bin/sh", "-c", "kill -9 $$"], "SIGKILL"),
        ([*PYTHON, "-c", "import os; os.environ['MISSING_ONE']"], "MISSING_ONE"),
    ],
)
def test_failed_start_is_reported_and_leaves_the_lease_free(
    make: Make, command: list[str], says: str
) -> None:
    a = make(command=command, settle_s=0.5)
    outcome = a.do(Verb.ENSURE)
    assert (outcome.done, outcome.code) == (False, 1) and says in outcome.message
    wait_for(lambda: a.look().worst_lease.state is LeaseState.FREE)
    assert EventKind.FAILED in kinds(a.events())


def test_missing_working_directory_is_named(make: Make) -> None:
    a = make(cwd="/nowhere/at/all")
    assert "/nowhere/at/all" in a.do(Verb.ENSURE).message


def test_kill_refuses_to_end_the_callers_ancestors(make: Make) -> None:
    """A worker runs a kill of its own role, as an operator's shell might by accident."""
    a = make()
    a.script.write_text(
        "import subprocess, sys, time\n"
        "subprocess.run([sys.executable, *sys.argv[1:]])\n"
        "open(sys.argv[-1] + '/done', 'w').close()\n"
        "time.sleep(600)\n"
    )
    ask = Path(__file__).with_name("guard_command.py")
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, str(a.script), str(ask), "kill", str(a.script), str(a.place)],
        os.environ,
    )
    STARTED.append(pid)
    wait_for((a.place / "done").exists)
    said = (a.place / "answer").read_text()
    assert "refused" in said and "has started it" in said and not dead(pid)
    assert not a.events(EventKind.ASKED)


def test_policy_records_the_same_refusal_once(make: Make) -> None:
    a = make()
    path = a.box.paths.command_lock("worker")
    path.mkdir()
    refused = [a.do(Verb.ENSURE, actor=state_machine.POLICY_ACTOR) for _ in range(3)]
    assert not any(one.done for one in refused) and len({one.message for one in refused}) == 1
    assert len(a.events(EventKind.REFUSED)) == 1
    for _ in range(2):  # an operator's refusal is recorded each time
        a.do(Verb.ENSURE)
    assert len(a.events(EventKind.REFUSED)) == 3


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_unsafe_command_lock_is_refused(make: Make, kind: str) -> None:
    a = make()
    path = a.box.paths.command_lock("worker")
    path.symlink_to("/etc/passwd") if kind == "symlink" else path.mkdir()
    outcome = a.do(Verb.ENSURE)
    assert (outcome.done, outcome.code) == (False, 1) and str(path) in outcome.message
    assert not a.lines("starts")


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_unsafe_life_lock_is_refused(make: Make, kind: str) -> None:
    a = make()
    path = a.box.paths.lease("worker")
    path.symlink_to("/etc/passwd") if kind == "symlink" else path.mkdir()
    outcome = a.do(Verb.ENSURE)
    assert (outcome.done, outcome.code) == (False, 1) and str(path) in outcome.message
    assert not a.lines("starts") and a.events(EventKind.REFUSED)


@pytest.mark.parametrize("verb", [Verb.ENSURE, Verb.RESTART])
def test_command_lock_timeout_covers_a_long_settle_time(
    make: Make, monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    """A settle time above the minimum lock timeout is allowed: both callers wait."""
    monkeypatch.setattr(state_machine, "MIN_LOCK_TIMEOUT_S", 0.2)
    a = make(settle_s=1.0, grace_s=0.5)
    if verb is Verb.RESTART:
        a.ensure()
    with ThreadPoolExecutor() as pool:
        outcomes = [*pool.map(a.do, (verb, Verb.ENSURE))]
    assert all(outcome.done for outcome in outcomes), [one.message for one in outcomes]
    assert a.events(EventKind.REFUSED) == [] and a.duplicates == []


@pytest.mark.parametrize("linux", [True, False])
def test_command_lock_timeout_names_the_holder(
    make: Make, linux: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's own call and portalocker take the same lock."""
    monkeypatch.setattr(command_lock, "IS_LINUX", linux)
    a = make()
    a.guard.timeout_s = 0.2
    path = a.box.paths.command_lock("worker")
    descriptor = ofd_lock.open_lock(path)
    portalocker.lock(descriptor, portalocker.LockFlags.EXCLUSIVE)
    try:
        outcome = a.do(Verb.ENSURE)
        assert (outcome.done, outcome.code) == (False, 4)
        assert str(os.getpid()) in outcome.message
    finally:
        os.close(descriptor)
    a.guard.timeout_s = 30.0
    assert a.ensure().done


def test_waiting_callers_share_a_failure(make: Make) -> None:
    a = make(command=["/bin/sh", "-c", "sleep 0.2; exit 7"], settle_s=2.0)
    outcomes = []
    callers = [
        threading.Thread(target=lambda: outcomes.append(Guard(a.box).carry_out(COMMAND)))
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all("code 7" in outcome.message for outcome in outcomes) and len(outcomes) == 8
    assert len(a.events(EventKind.FAILED)) < 4, "each caller has tried for itself"


def test_unknown_role_is_a_usage_error(make: Make) -> None:
    outcome = make().guard.carry_out(Command(Verb.ENSURE, "nobody"))
    assert outcome.code == 2 and "worker" in outcome.message


def test_role_without_a_command_starts_nothing(make: Make) -> None:
    a = make(command=[])
    outcome = a.do(Verb.ENSURE)
    assert outcome.code == 1 and "[roles.worker]" in outcome.message
    a.outside()
    assert a.ensure().done and not a.do(Verb.RESTART).done and len(a.look().instances) == 1


def test_kill_cancels_a_planned_restart_and_names_the_operator(make: Make) -> None:
    a = make()
    kill(a.ensure().pid or 0)
    wait_for(a.deaths)
    assert a.do(Verb.KILL).message == "worker: nothing to end"
    role, (asked,) = a.box.find_role("worker"), a.events(EventKind.ASKED)
    assert role is not None
    steps = explain_last_death(role, a.events(), a.box.now())
    (action,) = [step for step in steps if step.part == "action"]
    assert action.text.startswith("none: test called the restart off")
    assert (action.moment, action.event_ids) == (asked.moment, (asked.id,))
    assert "SIGKILL came from outside" in steps[1].text
