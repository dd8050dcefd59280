"""Tests of adoption: workers under real launchers, and processes that only name the script."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from guard_harness import NAME, PYTHON, STARTED, Arena, Make, dead, kill, wait_for, words

from console.core.model.commands import Verb

ROOT = Path(__file__).parents[2]
MARK = "RPA_TEST_PLACE"
"""Environment variable that separates the workers of tests that run at the same time."""


@contextmanager
def running(argv: Sequence[str], **env: str) -> Iterator[int]:
    """Run a process in its own session and terminal. End it with its children."""
    controller, terminal = pty.openpty()
    ends = [(os.POSIX_SPAWN_DUP2, terminal, number) for number in (0, 1, 2)]
    variables = {**os.environ, "TERM": "xterm", **env}
    pid = os.posix_spawnp(argv[0], argv, variables, file_actions=ends, setsid=True)
    os.close(terminal)
    STARTED.append(pid)
    try:
        yield pid
    finally:
        if not dead(pid):
            os.killpg(pid, signal.SIGKILL)
        wait_for(lambda: dead(pid))
        os.close(controller)


# --- launchers ------------------------------------------------------------------------------


def in_venv(a: Arena) -> list[str]:
    venv.create(a.place / "venv", symlinks=True)
    return [str(a.place / "venv" / "bin" / "python"), *PYTHON[1:], str(a.script)]


def under_another_name(a: Arena) -> list[str]:
    (a.place / "robot").symlink_to(os.path.realpath(sys.executable))
    return [str(a.place / "robot"), *PYTHON[1:], str(a.script)]


def as_module(a: Arena) -> list[str]:
    package = a.place / "package"
    package.mkdir()
    shutil.copy(a.script, package / NAME)
    return ["env", "-C", str(a.place), sys.executable, "-S", "-m", "package.rpa_worker"]


def by_shell(a: Arena) -> list[str]:
    run = shlex.join([*PYTHON, str(a.script)])
    return ["sh", "-c", f'{run} "$@"; echo ended', "sh"]


def behind(*launcher: str) -> Callable[[Arena], list[str]]:
    return lambda a: [*launcher, *PYTHON, str(a.script)]


def by_sudo(a: Arena) -> list[str]:
    if (
        shutil.which("sudo") is None
        or subprocess.run(["sudo", "-n", "true"], check=False).returncode
    ):
        pytest.skip("sudo is not there, or wants a password")
    return behind("sudo", "-n", "-u", f"#{os.getuid()}")(a)


def by_runuser(a: Arena) -> list[str]:
    if shutil.which("runuser") is None or os.getuid() != 0:
        pytest.skip("runuser is not there, or we are not root")
    return behind("runuser", "-u", "root", "--")(a)


def by_uv(a: Arena) -> list[str]:
    if shutil.which("uv") is None:
        pytest.skip("uv is not there")
    python = os.path.realpath(sys.executable)
    return ["uv", "run", "--offline", "--no-project", "--python", python, str(a.script)]


LAUNCHERS: dict[str, Callable[[Arena], list[str]]] = {
    "plain": behind(),
    "venv": in_venv,
    "symlink": under_another_name,
    "module": as_module,
    "sh": by_shell,
    "env": behind("env", "A=1"),
    "nohup": behind("nohup"),
    "nice": behind("nice", "-n", "1"),
    "timeout": behind("timeout", "-k", "5", "600"),
    "setsid": behind("setsid"),
    "setsid-waits": behind("setsid", "--wait"),
    "stdbuf": behind("stdbuf", "-o", "L"),
    "chain": behind("nice", "env", "B=2", "timeout", "600", "nohup"),
    "sudo": by_sudo,
    "runuser": by_runuser,
    "uv": by_uv,
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_worker_under_any_launcher_is_adopted_and_ended_with_its_tree(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.chdir(tmp_path)  # nohup leaves a file behind
    mark = {MARK: str(tmp_path)}
    a = make(match=NAME, match_env=mark)
    line = [*LAUNCHERS[launcher](a), str(a.place), "child"]
    with running(["tail", "-f", str(a.script)], **mark) as bystander, running(line, **mark) as pid:
        worker = int(wait_for(lambda: a.lines("ready"))[0])
        child = int(wait_for(lambda: a.lines("children"))[0])
        try:
            seen = a.only()
            assert seen.adopted and {worker, child} <= {*seen.pids}
            assert dead(pid) or pid in seen.pids, "a launcher that waits belongs to it"
            assert a.ensure().pid == seen.pid, "one is enough"
            assert a.do(Verb.KILL).done
            assert dead(pid) and dead(worker) and dead(child)
            assert not dead(bystander) and not a.look().instances
        finally:
            kill(child)
            kill(worker)


# --- look-alikes ----------------------------------------------------------------------------

IMPOSTORS = {
    "tail": f"tail -f {NAME}",
    "grep": f"grep -n rpa_worker {NAME} -",
    "python -c": f"{sys.executable} -c 'import time; time.sleep(600)' {NAME}",
    "another script": f"{sys.executable} other.py {NAME}",
    "sh": f"sh -c 'tail -f {NAME}; true'",
    "vim": f"vim -u NONE {NAME}",
    "nano": f"nano {NAME}",
    "less": f"less {NAME}",
    "more": f"more {NAME}",
    "watch": f"watch cat {NAME}",
}


def test_process_that_only_names_the_script_is_not_a_worker(make: Make, tmp_path: Path) -> None:
    """A real worker runs beside them and is ended without them."""
    mark = {MARK: str(tmp_path)}
    a = make(match=NAME, match_env=mark)
    (a.place / "other.py").write_text("import time\ntime.sleep(600)\n")
    with ExitStack() as stack:
        there = []
        for line in IMPOSTORS.values():
            argv = shlex.split(line)
            if shutil.which(argv[0]):
                there.append(stack.enter_context(running(["env", "-C", a.place, *argv], **mark)))
        assert len(there) >= 5
        wait_for(lambda: all(words(pid)[0] != b"env" for pid in there))
        assert not a.look().instances
        worker = a.outside(env=mark)
        assert a.only().pids == (worker,) and a.do(Verb.KILL).done
        assert dead(worker) and not [pid for pid in there if dead(pid)]


def test_console_process_is_never_a_worker(make: Make) -> None:
    """The role matches `console`, which no configuration may do."""
    a = make(match="console")
    line = [sys.executable, "-m", "console", "--state-dir", str(a.place / "state"), "daemon", "run"]
    with running(line, PYTHONPATH=str(ROOT)) as pid:
        wait_for(a.box.paths.heartbeat.exists)
        assert b"console" in words(pid) and not a.look().instances
        assert a.do(Verb.KILL, dry_run=True).message == "worker: would do nothing"
        assert a.do(Verb.KILL).message == "worker: nothing to end" and not dead(pid)
