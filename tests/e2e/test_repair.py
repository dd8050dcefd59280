"""Restarts after deaths of workers and daemons, and the events that record them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

Wait = Callable[..., Any]


@pytest.fixture
def watched(box: Any) -> Any:
    """A box with a running worker and its daemon."""
    assert box.run("ensure").returncode == 0
    assert box.run("daemon", "start").returncode == 0
    return box


def daemon_pid(box: Any) -> int:
    document = box.document("daemon", "status")
    assert document["running"], document
    return int(document["pid"])


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_concurrent_ensures_start_one_worker(box: Any) -> None:
    callers = [box.start("ensure") for _ in range(6)]
    said = [caller.communicate(timeout=40)[0] for caller in callers]
    assert [caller.returncode for caller in callers] == [0] * 6, said
    (pid,) = box.workers()
    assert all(str(pid) in words for words in said)
    assert len(box.lives("started")) == 1


def test_killed_worker_is_reported_within_a_second_and_restarted(
    watched: Any, wait_for: Wait
) -> None:
    (pid,) = watched.workers()
    follower = watched.start("events", "--follow", "--json", "--limit", "1")
    follower.stdout.readline()
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    line = follower.stdout.readline()
    assert time.monotonic() - began < 1.0
    follower.terminate()
    assert '"died"' in line
    assert "SIGKILL" in line
    (after,) = wait_for(lambda: [one for one in watched.workers() if one != pid])
    started = wait_for(lambda: watched.lives("started")[1:])
    assert (started[0]["pid"], started[0]["actor"]) == (after, "policy")
    worker = watched.document("status")["roles"][0]
    assert [one["pid"] for one in worker["instances"]] == [after]


def test_status_shows_a_death_within_a_second_without_a_daemon(box: Any) -> None:
    box.run("ensure")
    (pid,) = box.workers()
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    worker = box.document("status")["roles"][0]
    assert time.monotonic() - began < 1.0
    assert worker["instances"] == []


def test_worker_is_parked_after_three_restarts_until_an_ensure(
    watched: Any, wait_for: Wait
) -> None:
    ended: list[int] = []
    for _ in range(4):
        (pid,) = wait_for(lambda: [one for one in watched.workers() if one not in ended])
        os.kill(pid, signal.SIGKILL)
        ended.append(pid)
    wait_for(lambda: watched.events("parked"))
    assert [one["pid"] for one in watched.lives("started")] == ended
    worker = watched.document("status")["roles"][0]
    assert (worker["state"], worker["instances"]) == ("PARKED", [])
    assert "a person must act" in worker["reason"]
    assert "parked" in " ".join(watched.document("status")["reasons"])
    outputs = watched.directory / "outputs"
    (alert,) = outputs.glob("ALERT_worker_parked*")
    assert "restart worker takes it up again" in alert.read_text()
    log = outputs / "worker_monitor.log"
    pulse = len(log.read_text())
    watched.run("ensure")
    assert len(watched.workers()) == 1
    wait_for(lambda: len(log.read_text()) > pulse)
    assert len(watched.events("parked")) == 1
    assert watched.document("status")["roles"][0]["state"] == "RUNNING"


def test_worker_killed_by_an_operator_stays_stopped_until_an_ensure(
    watched: Any, wait_for: Wait
) -> None:
    log = watched.directory / "outputs" / "worker_monitor.log"
    assert watched.run("kill", "--yes").returncode == 0
    wait_for(lambda: "Worker not found" in log.read_text())
    # This is longer than any back-off of this box, so the restart policy has run.
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert watched.workers() == []
    assert watched.document("status")["roles"][0]["state"] == "STOPPED"
    assert watched.run("ensure").returncode == 0
    assert len(watched.workers()) == 1


def test_killed_daemon_leaves_workers_and_its_successor_repairs(
    watched: Any, wait_for: Wait
) -> None:
    (worker,) = watched.workers()
    first = daemon_pid(watched)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: gone(first))
    assert watched.workers() == [worker]
    document = watched.document("status")
    assert document["daemon"]["running"] is False
    assert any("daemon is not running" in reason for reason in document["reasons"])
    assert [one["pid"] for one in document["roles"][0]["instances"]] == [worker]

    os.kill(worker, signal.SIGKILL)  # while no daemon runs
    wait_for(lambda: gone(worker))
    assert watched.run("daemon", "start").returncode == 0
    assert daemon_pid(watched) != first
    (after,) = wait_for(watched.workers, 15, "the second daemon repairs what it missed")
    assert after != worker
    deaths = [one["pid"] for one in watched.lives("died")]
    assert deaths == [worker]
    assert len(watched.events("daemon-started")) == 2
    assert watched.events("daemon-stopped") == []


def test_second_daemon_is_refused(watched: Any) -> None:
    pid = daemon_pid(watched)
    second = watched.run("daemon", "run")
    assert (second.returncode, second.stdout) == (1, "")
    assert "another process runs" in second.stderr
    assert str(pid) in watched.run("daemon", "start").stdout
    assert daemon_pid(watched) == pid


def test_daemon_stop_leaves_the_workers_running(watched: Any) -> None:
    workers, pid = watched.workers(), daemon_pid(watched)
    process = psutil.Process(pid)
    assert process.terminal() is None
    assert os.getsid(pid) != os.getsid(0)
    began = time.monotonic()
    assert watched.run("daemon", "stop").returncode == 0
    assert time.monotonic() - began < 4
    assert gone(pid)
    assert watched.workers() == workers
    said = watched.run("daemon", "status")
    assert (said.returncode, said.stdout) == (1, "")
    assert "not running" in said.stderr
    assert watched.events("daemon-stopped")


def test_daemon_stops_within_two_seconds_while_a_monitor_waits(
    machine: Any, wait_for: Wait
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        machine.write(queue={"url": url, "timeout_s": 60})
        daemon = machine.start("daemon", "run")
        silent.settimeout(15)
        with silent.accept()[0]:
            began = time.monotonic()
            daemon.terminate()
            assert daemon.wait(10) == 0
            assert time.monotonic() - began < 2.0
    assert wait_for(lambda: machine.events("daemon-stopped"))


def test_foreground_daemon_is_reported_and_stops_on_sigint(box: Any, wait_for: Wait) -> None:
    daemon = box.start("daemon", "run")
    wait_for(lambda: box.document("daemon", "status")["running"])
    assert daemon_pid(box) == daemon.pid
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(10) == 0
    assert box.document("daemon", "status")["running"] is False
