"""One worker runs per user and machine for all state directories, apart from other users."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contention import Round
from contention_counts import Tally
from guard_harness import PYTHON, STARTED, Arena, Make, dead, kill, pids, wait_for, words

from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import EventKind
from console.core.processes.instances import ENV_MARKERS
from console.demo.environment import find_free_port
from console.system.box import Box, open_box
from console.system.config.schema import Queue, RoleSettings, Settings
from console.system.guard.guard import Guard
from console.system.locks import start_lock
from console.system.processes import port_owners, process_table, worker_registry

OTHER = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start another user's process")


@contextlib.contextmanager
def beside(a: Arena, name: str) -> Iterator[Box]:
    """Open a box with the same settings and another state directory."""
    with open_box(a.settings, a.place / name) as box:
        yield box


def do(box: Box, verb: Verb, **more: object) -> Outcome:
    return Guard(box).carry_out(Command(verb, "worker", "test", **more))  # type: ignore[arg-type]


# --- two state directories -----------------------------------------------------------------------


def test_another_state_directory_sees_the_worker_and_starts_none(make: Make) -> None:
    a = make()
    pid = a.ensure().pid
    with beside(a, "other") as box:
        (instance,) = box.observe([box.roles[0]])[0].instances
        assert (instance.pid, instance.box, instance.adopted) == (pid, a.box.name, False)
        answer = do(box, Verb.ENSURE)
        assert answer.done and answer.pid == pid and not answer.changed
        assert f"run by state directory {a.box.name}" in answer.message
        for verb in (Verb.KILL, Verb.RESTART):
            refused = do(box, verb)
            way = f"`rpa-console --state-dir {a.box.name} {verb.value} worker`"
            assert not refused.done and way in refused.message
        assert box.store.events(kinds=(EventKind.STARTED, EventKind.ADOPTED)) == []
    assert a.only().pid == pid and len(a.lines("starts")) == 1


def test_worker_of_a_removed_state_directory_is_adopted(make: Make, tmp_path: Path) -> None:
    a = make()
    pid = a.ensure().pid
    moved = tmp_path / "moved"
    with beside(a, "other") as box:
        a.box.paths.state.rename(moved)
        try:
            answer = do(box, Verb.ENSURE)
            assert answer.done and answer.pid == pid and "adopted" in answer.message
        finally:
            moved.rename(a.box.paths.state)


def by_state_directories(count: int) -> Callable[[Arena], str]:
    """Return a strategy that runs `ensure` from one of several state directories."""

    def ask(a: Arena) -> str:
        with beside(a, f"state-{os.getpid() % count}") as box:
            answer = do(box, Verb.ENSURE)
        return json.dumps([answer.code, answer.pid, answer.message])

    return ask


def test_callers_from_four_state_directories_start_one_worker(make: Make) -> None:
    a, tally = make(), Tally()
    for _ in range(3):
        before = len(a.lines("starts"))
        crowd = Round(a, by_state_directories(4), 24)
        crowd.go()
        answers = crowd.hear(lambda: None)
        tally.callers += len(answers)
        assert [code for code, *_ in answers if code] == [], answers
        assert len({pid for _, pid, _ in answers}) == 1
        assert len(a.lines("starts")) == before + 1 and not a.duplicates
        (pid,) = {pid for _, pid, _ in answers}
        assert isinstance(pid, int)
        kill(pid)
        wait_for(lambda pid=pid: dead(pid))
        wait_for(lambda: not a.living())


def test_start_lock_stays_held_after_its_caller_is_killed(make: Make) -> None:
    """The shim and the new worker hold the lock: a second start waits for the worker."""
    a = make()
    a.settings.roles["worker"].command[:] = a.shell("sleep 0.5")
    caller = os.fork()
    if caller == 0:
        a.ensure()
        os._exit(0)
    STARTED.append(caller)
    wait_for(
        lambda: any(record.box == a.box.name for record in worker_registry.read_live_records())
    )
    kill(caller)
    with beside(a, "other") as box:
        answer = do(box, Verb.ENSURE)
        assert answer.done and not answer.changed, answer.message
    wait_for(lambda: a.lines("starts"))
    assert len(a.lines("starts")) == 1


# --- a worker whose command line or match changes ------------------------------------------------


TURNING = (
    "import os, sys, time\n"
    "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
    "os.execv('/bin/sleep', ['bot', '600'])\n"
)
"""Source of a worker that executes another program once a file exists."""


def turning(a: Arena) -> int:
    """Start a worker that can change its program, without the product. Return its PID."""
    a.script.write_text(TURNING)
    line = [*PYTHON, str(a.script), str(a.place / "go")]
    pid = os.posix_spawn(PYTHON[0], line, os.environ, setsid=True)
    STARTED.append(pid)
    return pid


def turn(a: Arena, pid: int) -> None:
    """Let the worker execute another program, and wait until it has."""
    (a.place / "go").touch()
    wait_for(lambda: words(pid)[0] == b"bot")


@pytest.mark.parametrize("other", [False, True])
def test_adopted_worker_is_still_recognised_after_an_exec(make: Make, other: bool) -> None:
    a = make()
    pid = turning(a)
    wait_for(lambda: [one.pid for one in a.look().instances] == [pid])
    assert a.ensure().pid == pid
    turn(a, pid)
    with beside(a, "other") if other else contextlib.nullcontext(a.box) as box:
        answer = do(box, Verb.ENSURE)
    assert answer.done and answer.pid == pid and not answer.changed
    assert a.do(Verb.KILL).done and dead(pid)


def test_every_state_directory_recognises_a_leased_worker_after_an_exec(make: Make) -> None:
    a = make()
    a.script.write_text(TURNING)
    a.settings.roles["worker"].command[:] = [*PYTHON, str(a.script), str(a.place / "go")]
    pid = a.ensure().pid
    assert pid
    turn(a, pid)
    kill(a.shim())
    with beside(a, "other") as box:
        assert do(box, Verb.ENSURE).pid == pid
    assert a.ensure().pid == pid


def test_registry_records_of_dead_workers_are_removed(make: Make) -> None:
    a = make()
    pid, place = a.ensure().pid, worker_registry.directory()
    assert place and [one for one in worker_registry.read_live_records() if one.identity.pid == pid]
    a.do(Verb.KILL)
    assert not [one for one in worker_registry.read_live_records() if one.identity.pid == pid]
    a.ensure()
    assert not list(place.glob(f"{pid}.*.json"))


def test_malformed_registry_record_is_skipped(make: Make) -> None:
    a, place = make(), worker_registry.directory()
    assert place
    bad = [place / f"1.{number}.json" for number in range(4)]
    contents = [b"", b"[]", b'{"identity": 5, "box": 1, "rule": 2, "token": "x"}', b"\xff" * 99]
    try:
        for path, content in zip(bad, contents, strict=True):
            path.write_bytes(content)
        assert a.ensure().done
    finally:
        for path in bad:
            path.unlink(missing_ok=True)


# --- other users ---------------------------------------------------------------------------------


def another_users(*argv: str, env: dict[str, str] | None = None) -> int:
    """Start a process of another user with this command line and return its PID."""
    pid = os.fork()
    if pid == 0:
        os.setuid(OTHER)
        os.execve("/bin/sleep", [*argv, "600"], os.environ | (env or {}))
    STARTED.append(pid)
    wait_for(lambda: words(pid)[:1] == [os.fsencode(argv[0])])
    return pid


@AS_ROOT
def test_look_alike_of_another_user_is_named_and_never_counted(make: Make) -> None:
    a = make(keep="oldest")
    older = another_users(str(a.script))
    answer = a.ensure()
    assert answer.changed and f"PID {older} of user nobody" in answer.message
    assert a.only().pid == answer.pid
    assert [one.identity.pid for one in a.look().look_alikes] == [older]
    younger = another_users(str(a.script))
    again = a.ensure()
    assert again.pid == answer.pid and not again.changed
    for verb in (Verb.END_DUPLICATES, Verb.RESTART, Verb.KILL):
        assert a.do(verb).done
    assert not a.look().instances and not dead(older) and not dead(younger)
    assert {e.identity.pid for e in a.events(EventKind.ADOPTED) if e.identity} == set()


@AS_ROOT
def test_worker_leased_by_another_user_is_duplicated_only_with_force(make: Make) -> None:
    """As under `sudo`, root can read the owner of the lease."""
    a = make()
    state = a.place / "robot"
    (state / "locks").mkdir(parents=True)
    marks = dict(zip(ENV_MARKERS, (str(state), "worker", "7"), strict=True))
    theirs = another_users(str(a.script), env=marks)
    identity = process_table.identify(theirs)
    record = json.dumps({"identity": str(identity), "token": 7})
    (state / "locks" / "worker.owner.json").write_text(record)
    refused = a.do(Verb.ENSURE)
    assert not refused.done and "sudo -u nobody rpa-console" in refused.message
    assert not refused.changed and not a.look().instances
    confirmed = a.do(Verb.ENSURE, force=True)
    assert confirmed.changed and not dead(theirs)
    kill(theirs)


@AS_ROOT
def test_worker_of_another_user_does_not_inherit_roots_environment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOTS_OWN", "hunter2")
    a = make(user="nobody", command=["/bin/sleep", "600"], env={"ITS_OWN": "1"})
    a.place.chmod(0o755)
    pid = a.ensure().pid
    assert pid
    wanted = {"ROOTS_OWN", "ITS_OWN", "PATH", "HOME"}
    found = process_table.read_environment(pid, wanted)
    assert found.keys() == {"ITS_OWN", "PATH", "HOME"} and found["HOME"] != os.environ["HOME"]


@AS_ROOT
def test_root_starts_the_worker_as_the_configured_user(make: Make) -> None:
    a = make(user="nobody", command=["/bin/sleep", "600"], match="sleep_never_matches.py")
    a.place.chmod(0o755)
    pid = a.ensure().pid
    assert pid and process_table.read_uid_and_nesting(pid)[0] == OTHER
    assert process_table.read_environment(pid, {"USER"}) == {"USER": "nobody"}
    assert a.ensure().pid == pid
    assert a.do(Verb.KILL).done and dead(pid)


@AS_ROOT
def test_root_and_the_configured_user_share_one_start_lock(make: Make) -> None:
    """The user's own rpa-console can start the same worker."""
    root = make(user="nobody").box.find_role("worker")
    own = make("own").box.find_role("worker")
    assert root is not None and own is not None
    held = start_lock.acquire(root)
    assert held is not None and held.descriptor >= 0
    try:
        assert as_user(lambda: start_lock.acquire(own) is None)
    finally:
        held.close()
    assert as_user(lambda: start_lock.acquire(own) is not None)
    assert not start_lock.acquire_refusal(root)


def as_user(question: Callable[[], bool]) -> bool:
    """Evaluate a question in a child with the rights of another user and return the answer."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            code = 0 if question() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    return os.waitstatus_to_exitcode(status) == 0


def test_restart_keeps_the_worker_when_the_start_lock_is_refused(make: Make) -> None:
    a = make()
    pid, place = a.ensure().pid, worker_registry.directory()
    assert place
    lock = place / f"{a.script.stem}.start"
    kept = lock.rename(place / "kept")
    lock.symlink_to("/etc/hostname")
    try:
        refused = a.do(Verb.RESTART)
        assert not refused.done and f"{lock}" in refused.message
        assert "symbolic link" in refused.message
        assert a.only().pid == pid == a.ensure().pid
    finally:
        lock.unlink()
        kept.rename(lock)


@pytest.mark.parametrize("adopted", [False, True])
def test_worker_is_still_recognised_after_its_roles_match_changes(
    make: Make, adopted: bool
) -> None:
    a = make()
    pid = a.outside() if adopted else a.ensure().pid
    assert a.ensure().pid == pid
    other = RoleSettings(match="another.py", command=["/bin/sleep", "600"], settle_s=0.1)
    a.settings = Settings(roles={"worker": other})
    with beside(a, "state") as box:
        answer = do(box, Verb.ENSURE)
        assert answer.done and answer.pid == pid and not answer.changed
        assert do(box, Verb.KILL).done and dead(pid or 0)


def test_registry_directory_is_made_private(make: Make) -> None:
    a, place = make(), worker_registry.directory()
    assert place
    place.chmod(0o777)
    assert a.ensure().done
    assert place.stat().st_mode & 0o777 == 0o700


def test_unknown_configured_user_is_refused(make: Make) -> None:
    refused = make(user="no-such-user").do(Verb.ENSURE)
    assert not refused.done and "there is no user 'no-such-user'" in refused.message


# --- containers, other roles ---------------------------------------------------------------------


@AS_ROOT
def test_worker_in_a_container_is_named_and_not_ended(make: Make) -> None:
    a = make()
    inner = f"exec {a.run} stranger"
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--mount", "sh", "-c", inner]
    ) as container:
        try:
            wait_for(lambda: a.lines("ready"))
            answer = a.ensure()
            assert answer.changed and "in a container" in answer.message
            assert a.only().pid == answer.pid
            a.do(Verb.KILL)
            assert container.poll() is None
        finally:
            for pid in pids():
                if os.fsencode(str(a.script)) in words(pid):
                    kill(pid)
            container.kill()


def test_detached_child_that_runs_the_script_belongs_to_its_worker(make: Make) -> None:
    a = make(keep="newest")
    script = a.place / "rpa_worker.py"
    script.write_text(
        "import os, sys, time\n"
        "if len(sys.argv) < 3:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            os.execv(sys.executable, [*sys.orig_argv, '--child'])\n"
        "        os._exit(0)\n"
        "time.sleep(600)\n"
    )
    pid = a.ensure().pid
    mark = os.fsencode(str(script))

    def running() -> list[int]:
        found = [one for one in pids() if mark in words(one)]
        return found if len(found) == 2 else []

    both = wait_for(running)
    assert a.only().pid == pid and set(a.only().pids) == set(both)
    assert a.ensure().pid == pid
    with beside(a, "other") as box:  # this box has no lease that identifies the worker
        answer = do(box, Verb.ENSURE)
        assert answer.done and answer.pid == pid
    assert a.do(Verb.KILL).done and all(map(dead, both))


def test_worker_that_daemonizes_is_reported_and_ended(make: Make) -> None:
    a = make(settle_s=1.0)
    a.script.write_text(
        "import os, time\n"
        "if os.fork() or os.setsid() and os.fork():\n"
        "    os._exit(0)\n"
        "time.sleep(600)\n"
    )
    answer = a.do(Verb.ENSURE)
    assert (
        not answer.done
        and "in the background, which is ended: run it in the foreground" in answer.message
    )
    wait_for(lambda: not a.living())
    assert not a.events(EventKind.ADOPTED)


def test_kill_reports_a_worker_that_starts_itself_again(make: Make) -> None:
    """The new process has no environment markers, so only its script identifies it."""
    a = make()
    a.script.write_text(
        "import os, signal, sys, time\n"
        "def again(*_):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        os.execve(sys.executable, sys.orig_argv, {})\n"
        "    time.sleep(0.5)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, again)\n"
        f"open({str(a.place / 'ready')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "while True:\n    time.sleep(600)\n"
    )
    pid = a.ensure().pid
    wait_for(lambda: str(pid) in a.lines("ready"))
    kill(a.shim())
    answer = a.do(Verb.KILL)
    assert dead(pid or 0)
    (left,) = a.look().instances
    assert not answer.done and answer.code == 1
    assert f"still running: PID {left.pid}" in answer.message


def test_child_process_of_another_role_is_not_part_of_the_tree(make: Make) -> None:
    """A watchdog that restarts the queue server starts it as its own child."""
    a = make(modes="childfork")
    server = a.place / "queue_server.py"
    server.write_text("import time\ntime.sleep(600)\n")
    a.script.write_text(
        f"import subprocess, time\nsubprocess.Popen([{sys.executable!r}, {str(server)!r}])\n"
        "time.sleep(600)\n"
    )
    a.settings.roles["queue"] = RoleSettings(match=str(server))
    with beside(a, "state-2") as box:
        worker, queue = box.find_role("worker"), box.find_role("queue")
        assert worker and queue
        assert do(box, Verb.ENSURE).done
        found = wait_for(lambda: box.observe([queue], full=True)[0].instances)
        (child,) = found
        assert child.adopted
        (tree,) = box.observe([worker], full=True)[0].instances
        assert child.pid not in tree.pids
        assert f"PID {child.pid} " not in do(box, Verb.KILL, dry_run=True).message
        assert do(box, Verb.RESTART).done and not dead(child.pid)
        wait_for(lambda: len(box.observe([queue], full=True)[0].instances) == 2)
        (tree,) = box.observe([worker], full=True)[0].instances
        kill(tree.pid)
        wait_for(lambda: dead(tree.pid))
        wait_for(lambda: not box.observe([worker], full=True)[0].leases[0].holders)
        left = [one.pid for one in box.observe([queue], full=True)[0].instances]
        assert child.pid in left and len(left) == 2
        for pid in left:
            kill(pid)


def test_holder_of_the_queue_port_is_not_part_of_the_tree(make: Make, tmp_path: Path) -> None:
    a, port = make(), find_free_port()
    server = (
        "import http.server as h;"
        f"h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler).serve_forever()"
    )
    a.script.write_text(
        f"import subprocess, time\nsubprocess.Popen([{sys.executable!r}, '-c', {server!r}])\n"
        "time.sleep(600)\n"
    )
    settings = Settings(queue=Queue(url=f"http://127.0.0.1:{port}"), roles=a.settings.roles)
    with open_box(settings, tmp_path / "state-3") as box:
        assert do(box, Verb.ENSURE).done
        (holder,) = wait_for(lambda: port_owners.find_port_holders(pids(), port))
        try:
            (tree,) = box.observe([box.roles[0]], full=True)[0].instances
            assert holder not in tree.pids
            assert do(box, Verb.KILL).done
            assert not dead(holder)
        finally:
            kill(holder)


# --- /proc of another PID namespace --------------------------------------------------------------


@AS_ROOT
def test_proc_of_another_pid_namespace_is_refused(make: Make) -> None:
    a = make()
    code = (
        "from console.system.processes.process_table import ProcessTable, ProcessError\n"
        "try:\n    ProcessTable().scan()\nexcept ProcessError as error:\n    print(error)"
    )
    done = subprocess.run(
        ["unshare", "--pid", "--fork", sys.executable, "-c", code],
        capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert "/proc belongs to another PID namespace" in done.stdout, done.stderr
    assert a.ensure().done
