"""The demo box: its files, its removal and its faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.demo import faults, reaper
from console.demo.environment import SCRIPTS_DIR, create_box, find_free_port

RUN_BY_PATH = (
    "task_queue_server.py",
    "rpa_worker.py",
    "task_watchdog.py",
    "realtime_pipeline.py",
    "task_generator.py",
)
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)
"""
OWNER = """
import os, subprocess, sys, time
reaper, directory, mark, stubborn, script, note = sys.argv[1:]
ours, theirs = os.pipe()
watch = [sys.executable, reaper, "--directory", directory, "--life-fd", str(ours)]
keeping = subprocess.Popen(watch, pass_fds=[ours], start_new_session=True)
os.close(ours)
marked = os.environ | {"RPA_CONSOLE_BOX": mark}
subprocess.Popen([sys.executable, "-c", stubborn, note], env=marked)
worker = [sys.executable, script, "--server", "http://127.0.0.1:1"]
subprocess.Popen(worker, env=marked, stderr=subprocess.DEVNULL)
respawn = "while :; do setsid sh -c 'trap : TERM; sleep 600' & sleep 600; done"
subprocess.Popen(["sh", "-c", "trap : TERM; " + respawn], env=marked, start_new_session=True)
print(keeping.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(directory: Path) -> list[int]:
    """Return the PIDs of a demo box."""
    found = reaper.hold_box_processes(directory)
    for held in found:
        held.release()
    return [held.pid for held in found]


def test_create_box_writes_the_documented_layout(tmp_path: Path) -> None:
    path = create_box(tmp_path / "a" / "box", 4711, python="/usr/bin/python9")
    directory = tmp_path / "a" / "box"
    assert path == directory / "config.toml"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (directory / "outputs").is_dir() and (directory / "state").is_dir()
    config = tomllib.loads(path.read_text())
    assert config["outputs"] == str(directory / "outputs")
    assert config["queue"] == {"url": "http://127.0.0.1:4711"}
    assert config["monitors"]["canary"] == {"every_s": 60}
    assert list(config["roles"]) == ["worker", "watchdog", "queue", "pipeline", "trickle"]
    for role in config["roles"].values():
        python, script, *_ = role["command"]
        assert python == "/usr/bin/python9" and role["match"] == Path(script).name
        assert Path(script).is_file() and role["cwd"] == str(directory) and role["count"] == 1
        assert role["match_env"] == {reaper.DEMO_ENV_MARKER: reaper.marker_value(directory)}
        assert role["env"] == {**role["match_env"], "PYTHONPATH": ""}


def test_free_port_can_be_bound() -> None:
    with socket.create_server(("127.0.0.1", find_free_port())):
        pass


@pytest.mark.parametrize("script", [*RUN_BY_PATH, "reaper.py"])
def test_scripts_do_not_import_the_console(script: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-X", "importtime", str(SCRIPTS_DIR / script), "--help"]
    answer = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True
    )
    assert answer.stdout.startswith("usage:")
    imported = [line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()]
    assert "argparse" in imported
    assert not [name for name in imported if name.split(".")[0] in ("console", "sqlite3")]


def listens(pid: int, number: int) -> bool:
    """Return whether the process has installed a handler for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_all_roles_run_and_stop_on_sigterm(box: Any, wait_for: Any) -> None:
    processes = [box.start(role) for role in box.config["roles"]]
    outputs = box.directory / "outputs"
    names = ("watchdog_status_latest.json", "realtime_pipeline_status.json")
    for name in names:
        wait_for((outputs / name).exists)
        assert json.loads((outputs / name).read_text())
    expected = sorted(process.pid for process in processes)
    wait_for(lambda: sorted(pids(box.directory)) == expected)  # a task may be running a command
    wait_for(lambda: all(listens(process.pid, signal.SIGTERM) for process in processes))
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(5) for process in processes] == [0] * 5


def test_reaper_removes_the_box_after_its_owner_is_killed(
    box: Any, wait_for: Any, tmp_path: Path, bench: Any
) -> None:
    note, beside = tmp_path / "stubborn.pid", tmp_path / "beside"
    stranger = bench.start(
        "rpa_worker.py",
        *("--server", "http://127.0.0.1:1"),
        env={**os.environ, reaper.BOX_ENV_MARKER: reaper.marker_value(beside)},
    )
    script = str(SCRIPTS_DIR / "rpa_worker.py")
    words = [str(SCRIPTS_DIR / "reaper.py"), str(box.directory), reaper.marker_value(box.directory)]
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, *words, STUBBORN, script, str(note)],
        stdout=subprocess.PIPE,
        text=True,
    )
    bench.started.append(owner)
    assert owner.stdout is not None
    with owner.stdout as output:
        reaper_pid = int(output.readline())
    wait_for(lambda: note.exists() and note.read_text())
    wait_for(lambda: len(pids(box.directory)) >= 4)
    watched = pids(box.directory)
    wait_for(lambda: ignores_signals(reaper_pid))
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(reaper_pid, signum)
    assert box.directory.exists()
    owner.kill()
    wait_for(lambda: not box.directory.exists() and not alive(reaper_pid), 20)
    assert int(note.read_text()) in watched
    assert not [pid for pid in watched if alive(pid)] and not pids(box.directory)
    assert stranger.poll() is None


def ignores_signals(pid: int) -> bool:
    """Return whether the process ignores SIGTERM already."""
    text = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in text.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_stop_box_returns_the_ended_pids_and_spares_the_caller(
    box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = box.start("worker")
    worker.send_signal(signal.SIGSTOP)
    assert reaper.stop_and_remove_box(box.directory) == [worker.pid]
    assert not box.directory.exists() and worker.wait(5) is not None
    assert reaper.stop_and_remove_box(box.directory) == []


def test_stop_box_works_without_pidfd(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # `os` stays unpatched: psutil, the fallback, has detected pidfd support already.
    monkeypatch.setattr(reaper, "_open_pidfd", lambda pid: None)
    worker = box.start("worker")
    assert reaper.stop_and_remove_box(box.directory) == [worker.pid]


def test_directory_that_is_not_a_box_is_not_removed(tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir(), empty.mkdir()
    (home / "letter").write_text("dear")
    reaper.remove_box_directory(home)
    reaper.remove_box_directory(empty)
    assert (home / "letter").exists() and not empty.exists()


KILLED = {"worker-crash": "worker", "queue-down": "queue", "watchdog-dead": "watchdog"}


@pytest.mark.parametrize("name", KILLED)
def test_killing_fault_kills_only_its_role(box: Any, name: str) -> None:
    victim, other = box.start(KILLED[name]), box.start("trickle")
    message = faults.inject(name, box.directory)
    assert f"PID {victim.pid}," in message and "killed" in message
    assert victim.wait(5) == -signal.SIGKILL and other.poll() is None
    with pytest.raises(faults.ProcessNotRunning):
        faults.inject(name, box.directory)


def test_hung_worker_fault_stops_the_worker_process(box: Any, wait_for: Any) -> None:
    worker = box.start("worker")
    assert str(worker.pid) in faults.inject("worker-hung", box.directory)
    wait_for(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)


def test_two_workers_fault_starts_a_detached_worker_of_the_box(box: Any, wait_for: Any) -> None:
    first = box.start("worker")
    message = faults.inject("two-workers", box.directory)
    second = next(pid for pid in pids(box.directory) if pid != first.pid)
    assert f"PID {second}." in message
    wait_for(lambda: psutil.Process(second).cmdline() == psutil.Process(first.pid).cmdline())
    assert psutil.Process(second).ppid() not in (os.getpid(), first.pid)
    assert os.getsid(second) != os.getsid(0)
    reaper.stop_and_remove_box(box.directory)
    assert not alive(second)


def test_half_pipeline_fault_leaves_a_truncated_file(box: Any, wait_for: Any) -> None:
    pipeline = box.start("pipeline")
    status = box.directory / "outputs" / "realtime_pipeline_status.json"
    wait_for(status.exists)
    assert str(pipeline.pid) in faults.inject("pipeline-half", box.directory)
    assert pipeline.wait(5) == -signal.SIGKILL
    with pytest.raises(json.JSONDecodeError):
        json.loads(status.read_text())


def test_faults_have_one_line_summaries_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    assert all(fault.summary and "\n" not in fault.summary for fault in faults.FAULTS.values())
    with pytest.raises(ValueError, match="worker-crash"):
        faults.inject("flood", tmp_path)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["python", "/x/rpa_worker.py", "--server", "u"], True),
        (["/venv/bin/python3.11", "-u", "rpa_worker.py"], True),
        (["vim", "rpa_worker.py"], False),
        (["python", "shim.py", "rpa_worker.py"], False),
        (["python", "/x/rpa_worker.py.old"], False),
        ([], False),
    ],
)
def test_is_running_script_checks_the_script_argument(argv: list[str], expected: bool) -> None:
    assert faults.is_running_script(argv, "rpa_worker.py") is expected
