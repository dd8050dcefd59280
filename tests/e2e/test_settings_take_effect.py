"""The effects of settings that need a daemon or a second box to show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

Wait = Callable[..., Any]


def test_daemon_restarts_the_worker_with_unwritable_outputs(machine: Any, wait_for: Wait) -> None:
    """Unwritable outputs lose the files and do not stop the monitors."""
    machine.write(outputs="/proc/nowhere")
    machine.run("ensure")
    assert machine.run("daemon", "start").returncode == 0
    (pid,) = machine.workers()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: [one for one in machine.workers() if one != pid])


def test_relative_paths_start_at_the_configuration_directory(machine: Any, wait_for: Wait) -> None:
    """The daemon's working directory differs from its caller's. Both must find the same files."""
    machine.write(
        outputs="files",
        worker={"cwd": ".", "command": [sys.executable, "-I", "-S", "rpa_worker.py"]},
    )
    assert machine.run("ensure").returncode == 0
    assert machine.run("daemon", "start").returncode == 0
    wait_for((machine.directory / "files" / "worker_monitor.log").exists)
    (pid,) = machine.workers()
    assert psutil.Process(pid).cwd() == str(machine.directory)


def test_canary_monitor_stops_after_for_s(machine: Any, wait_for: Wait) -> None:
    machine.write(monitors={"canary": {"every_s": 0.2, "for_s": 1.0}})
    machine.run("daemon", "start")

    def canary() -> dict[str, Any]:
        document = machine.document("status")
        return next(one for one in document["monitors"] if one["name"] == "canary")

    off = wait_for(lambda: one if (one := canary())["state"] == "off" else None, 15)
    assert off["reason"] == "has run for 1s, as configured"
    assert off["next_run"] is None
    last = off["last_run"]
    machine.run("daemon", "stop")
    machine.run("daemon", "start")
    machine.document("status")
    assert canary()["last_run"] == last
    assert machine.run("canary").returncode == 1  # an operator may still send one


def test_disabled_monitors_do_not_run(machine: Any, wait_for: Wait) -> None:
    off = {name: {"enabled": False} for name in ("canary", "queue", "pipeline", "watchdog")}
    machine.write(monitors=off)
    machine.run("ensure")
    machine.run("daemon", "start")
    outputs = machine.directory / "outputs"
    wait_for((outputs / "worker_monitor.log").exists)
    document = wait_for(
        lambda: one if (one := machine.document("status"))["verdict"] != "unknown" else None
    )
    states = {one["name"]: (one["state"], one["last_run"]) for one in document["monitors"]}
    assert states.pop("worker")[0] != "off"
    assert set(states.values()) == {("off", None)}
    assert not (outputs / "realtime_pipeline_status.json").exists()


def test_daemon_writes_the_missing_pipeline_status_files(machine: Any, wait_for: Wait) -> None:
    machine.write(monitors={"pipeline": {"every_s": 0.5}})
    machine.run("daemon", "start")
    outputs = Path(machine.directory / "outputs")
    wait_for((outputs / "realtime_pipeline_status.json").exists)
    wait_for((outputs / "realtime_pipeline_status.md").exists)


def test_match_env_separates_two_boxes_on_one_machine(machine: Any, tmp_path: Path) -> None:
    """The configuration distinguishes the boxes by an environment variable."""
    machine.write(worker={"match_env": {"LINE": "a"}, "env": {"LINE": "a"}})
    machine.run("ensure")
    (ours,) = machine.workers()
    script = str(machine.directory / "rpa_worker.py")
    other = subprocess.Popen([sys.executable, "-I", "-S", script], env={"LINE": "b"})
    try:
        worker = machine.document("status")["roles"][0]
        assert [one["pid"] for one in worker["instances"]] == [ours]
    finally:
        other.kill()
        other.wait()


def test_box_name_setting_is_shown_in_status(machine: Any) -> None:
    machine.write(screen={"box": "invoices"})
    assert machine.document("status")["box"] == "invoices"
    assert "  invoices" in machine.run("status").stdout.splitlines()[0]


def test_daemon_notifies_systemd_of_ready_watchdog_and_stopping(
    machine: Any, tmp_path: Path
) -> None:
    """The unit's `Type=notify` and `WatchdogSec` rely on these messages."""
    machine.write()
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        machine.environment |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        daemon = machine.start("daemon", "run")

        def told(word: str) -> list[str]:
            """Return the messages up to and including this one."""
            heard: list[str] = []
            while word not in heard:
                heard += manager.recv(4096).decode().splitlines()
            return heard

        first = told("READY=1")
        assert set(first) <= {"READY=1", "WATCHDOG=1", "STATUS=running the monitors"}
        told("WATCHDOG=1")
        began = time.monotonic()
        for _ in range(3):
            assert set(told("WATCHDOG=1")) == {"WATCHDOG=1"}
        assert time.monotonic() - began < 5.0, "every 0.2 s are asked for"
        daemon.send_signal(signal.SIGTERM)
        assert set(told("STOPPING=1")) <= {"WATCHDOG=1", "STOPPING=1"}
        assert daemon.wait(20) == 0


def test_edited_target_invalidates_the_running_baseline(machine: Any, wait_for: Wait) -> None:
    """A run measured under two targets proves neither. Its verdict uses its original targets."""
    machine.write(alerts={"look_s": 0.2}, baseline={"latency_s": 5.0})
    assert machine.run("daemon", "start").returncode == 0
    assert machine.run("baseline", "start").returncode == 0
    edited = machine.config.read_text().replace("latency_s = 5.0", "latency_s = 0.01")
    machine.config.write_text(edited)
    wait_for(lambda: _noticed(machine), 20)
    assert _noticed(machine) == ["the baseline is invalid: baseline.latency_s was 5.0, is 0.01"]
    status = machine.run("baseline", "status")
    assert status.returncode == 1 and "baseline invalid" in status.stdout
    (latency,) = [one for one in status.stdout.splitlines() if "latency_s " in one and "[" in one]
    assert "< 5 " in latency


def _noticed(machine: Any) -> list[str]:
    return [one["reason"] for one in machine.events("noticed") if "the baseline" in one["reason"]]
