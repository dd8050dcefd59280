"""`status --json` follows its contract and agrees with the system."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import psutil
from pytest import approx

NUMBER = (int, float)
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NONE = type(None)

INSTANCE = {
    "pid": int, "pids": list, "started_at": str, "uptime_s": NUMBER, "leased": bool,
    "adopted": bool, "command": str,
}  # fmt: skip
ROLE = {"name": str, "wanted": int, "state": str, "instances": list}
QUEUE = {
    "url": str, "state": str, "size": (int, NONE), "inflight": (int, NONE),
    "completed": (int, NONE), "failed": (int, NONE), "age_s": (*NUMBER, NONE),
}  # fmt: skip
MONITOR = {
    "name": str, "state": str, "last_run": (str, NONE), "age_s": (*NUMBER, NONE),
    "next_run": (str, NONE), "result": (str, NONE),
}  # fmt: skip
CANARY = {
    "ok": (bool, NONE), "latency_s": (*NUMBER, NONE), "queue_s": (*NUMBER, NONE),
    "work_s": (*NUMBER, NONE), "age_s": (*NUMBER, NONE),
}  # fmt: skip
WATCHDOG = {
    "pid": (int, NONE), "age_s": (*NUMBER, NONE), "heartbeat_age_s": (*NUMBER, NONE),
    "anomalies": list,
}  # fmt: skip
PIPELINE = {
    "state": str, "generated_at": (str, NONE), "age_s": (*NUMBER, NONE), "anomalies": list,
}  # fmt: skip
BASELINE = {
    "state": str, "started_at": (str, NONE), "checkpoint_at": (str, NONE),
    "progress": (*NUMBER, NONE), "coverage": (*NUMBER, NONE), "metrics": list,
}  # fmt: skip
METRIC = {
    "name": str, "value": (*NUMBER, NONE), "unit": str, "target": str, "verdict": str, "n": int,
}  # fmt: skip
STATES = {
    "STOPPED", "STARTING", "RUNNING", "READY", "STALLED", "STOPPING", "BACKOFF", "PARKED",
    "UNKNOWN",
}  # fmt: skip


def check(table: dict[str, Any], shape: dict[str, Any]) -> None:
    """Check that every key of the contract is present with a value of its type."""
    for key, kind in shape.items():
        assert key in table, key
        assert isinstance(table[key], kind), (key, table[key])
        if isinstance(table[key], str) and key.endswith(("_at", "_run")):
            assert STAMP.fullmatch(table[key]), (key, table[key])


def check_contract(document: dict[str, Any]) -> None:
    """Check the whole document against the contract that scripts rely on."""
    check(document, {"schema": int, "host": str, "at": str, "verdict": str, "reasons": list})
    assert document["schema"] == 1
    assert STAMP.fullmatch(document["at"])
    assert document["verdict"] in ("healthy", "degraded", "down", "unknown")
    for role in document["roles"]:
        check(role, ROLE)
        assert role["state"] in STATES
        for instance in role["instances"]:
            check(instance, INSTANCE)
            assert instance["pid"] == instance["pids"][0]
    check(document["queue"], QUEUE)
    names = ["canary", "pipeline", "queue", "watchdog", "worker"]
    assert sorted(one["name"] for one in document["monitors"]) == names
    for monitor in document["monitors"]:
        check(monitor, MONITOR)
        assert monitor["state"] in ("ok", "failing", "overdue", "unknown", "off")
    check(document["canary"], CANARY)
    check(document["watchdog"], WATCHDOG)
    check(document["pipeline"], PIPELINE)
    check(document["baseline"], BASELINE)
    assert document["baseline"]["state"] in ("off", "collecting", "complete", "invalid")
    for metric in document["baseline"]["metrics"]:
        check(metric, METRIC)


def test_unconfigured_status_follows_the_contract_and_keeps_no_file(machine: Any) -> None:
    looked = machine.bare("status", "--json")
    assert looked.returncode == 1
    document = json.loads(looked.stdout)
    check_contract(document)
    assert [role["name"] for role in document["roles"]] == ["worker", "watchdog"]
    assert document["queue"]["url"] == "http://127.0.0.1:8091"
    notes = "\n".join(document["notices"])
    for words in ("[roles.worker]", "[roles.watchdog]", 'outputs = "DIRECTORY"', "config init"):
        assert words in notes
    for role, script in zip(document["roles"], ("rpa_worker.py", "task_watchdog.py"), strict=True):
        # The test machine may run an unrelated worker, which is then shown.
        assert role["instances"] or f"no process runs {script}" in notes
    text = machine.bare("status")
    assert all(note in text.stdout for note in document["notices"])
    for quiet in ("events", "daemon status", "doctor"):
        machine.bare(*quiet.split())
    assert list(machine.home.iterdir()) == []


def test_status_agrees_with_the_process_table(box: Any) -> None:
    box.run("ensure")
    (pid,) = box.workers()
    document = box.document("status")
    check_contract(document)
    worker = document["roles"][0]
    (instance,) = worker["instances"]
    process = psutil.Process(pid)
    assert instance["pids"] == [pid, *(child.pid for child in process.children())]
    assert instance["command"] == " ".join(process.cmdline())
    assert (instance["leased"], instance["adopted"], instance["token"]) == (True, False, 1)
    at = process.create_time()
    assert abs(_unix(instance["started_at"]) - at) < 2
    assert abs(instance["uptime_s"] - (_unix(document["at"]) - at)) < 2
    assert (worker["state"], worker["wanted"]) == ("RUNNING", 1)
    box.run("kill", "--yes")
    worker = box.document("status")["roles"][0]
    assert (worker["state"], worker["instances"]) == ("STOPPED", [])
    assert worker["reason"].startswith("ended by cli:")


def _unix(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def test_launcher_and_its_worker_are_adopted_as_one_instance(
    box: Any, wait_for: Callable[..., Any]
) -> None:
    """A launcher and its interpreter are one worker."""
    script = str(box.directory / "rpa_worker.py")
    command = f"{sys.executable} -I -S {script} & echo; wait"
    launcher = psutil.Popen(
        ["/bin/sh", "-c", command], env={"RPA_CONSOLE_BOX": str(box.state)}, stdout=-3
    )
    (pid,) = wait_for(box.workers)
    worker = box.document("status")["roles"][0]
    (instance,) = worker["instances"]
    assert pid in instance["pids"]
    assert (instance["adopted"], instance["leased"]) == (True, False)
    said = box.run("ensure")
    assert "adopted" in said.stdout
    assert box.workers() == [pid]
    assert box.run("kill", "--yes").returncode == 0
    launcher.wait(10)


def test_healthy_box_exits_with_zero_and_follows_the_contract(
    machine: Any, wait_for: Callable[..., Any]
) -> None:
    machine.write_rig()
    for role in ("queue", "worker", "watchdog", "pipeline", "trickle"):
        assert machine.run("ensure", role).returncode == 0
    assert machine.run("daemon", "start").returncode == 0
    wait_for(lambda: machine.run("status").returncode == 0, 20, "healthy")
    document = machine.document("status")
    check_contract(document)
    assert document["verdict"] == "healthy"
    assert document["daemon"]["running"] is True
    states = {role["name"]: role["state"] for role in document["roles"]}
    assert (states["worker"], states["queue"]) == ("READY", "READY")
    assert document["queue"]["completed"] >= 1
    assert document["watchdog"]["heartbeat_age_s"] < 60
    canary = document["canary"]
    assert canary["ok"] and canary["queue_s"] + canary["work_s"] == approx(canary["latency_s"], 0.1)
    told = f"{canary['queue_s']:.2f} queue, {canary['work_s']:.2f} work"
    assert told in machine.run("status").stdout
    assert told in machine.run("report").stdout
    path = machine.directory / "outputs" / "worker_monitor.log"
    wait_for(lambda: "Server health OK" in path.read_text())
    log = path.read_text()
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]"
    assert re.search(rf"{stamp}\[INFO\] Daemon started\. interval=300s", log)
    assert re.search(rf"{stamp}\[INFO\] Worker alive: PID\(s\)=\d+", log)
    assert re.search(rf"{stamp}\[INFO\] Server health OK", log)
