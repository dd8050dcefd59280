"""`doctor` and `config validate` name missing things by their key, in bounded time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.cli.commands.doctor import CheckContext, run_checks
from console.system.config.schema import Queue, Settings
from console.system.doctor_checks import CheckState, hidepid_option

Wait = Callable[..., Any]


def found(box: Any) -> dict[str, tuple[str, str]]:
    """Run `doctor`, check its exit code, and return the state and the text of each check."""
    ran = box.run("doctor", "--json")
    rows = json.loads(ran.stdout)["findings"]
    assert ran.returncode == int(any(one["state"] == "fails" for one in rows))
    assert all(one["ok"] == (one["state"] != "fails") for one in rows)
    return {one["check"]: (one["state"], one["seen"]) for one in rows}


def test_doctor_reports_a_dead_server_and_failing_monitors(box: Any, wait_for: Wait) -> None:
    before = found(box)
    assert before["queue server"][0] == "fails"
    assert before["daemon"][0] == "fails"
    assert before["roles.worker"][0] == "ok"
    assert before["roles.watchdog.command"][0] == "warning"
    assert before["clock"][0] == "ok"
    box.run("ensure")
    box.run("daemon", "start")
    wait_for(lambda: found(box)["  queue"][0] == "fails", 30)
    wait_for(lambda: "has not looked yet" not in found(box)["  watchdog"][1], 30)
    after = found(box)
    assert "no answer" in after["  queue"][1]
    assert after["daemon"][0] == "ok"
    assert after["disk"][0] in ("ok", "warning")
    assert after["  watchdog"][0] == "fails"


def test_doctor_and_status_report_a_sigstopped_daemon(box: Any, wait_for: Wait) -> None:
    box.run("daemon", "start")
    pid = json.loads(box.run("daemon", "status", "--json").stdout)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(
            lambda: found(box)["daemon"] == ("fails", f"PID {pid} is stopped: kill -CONT {pid}")
        )
        told = box.document("status")
        assert any("is stopped (SIGSTOP)" in reason for reason in told["reasons"])
        assert any("is stopped" in words for words in told["daemon"]["troubles"])
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("tables", "key", "words"),
    [
        ({"worker": {"command": ["/nope/python", "x"]}}, "roles.worker.command", "/nope/python"),
        ({"worker": {"command": ["no-such-program"]}}, "roles.worker.command", "no-such-program"),
        ({"worker": {"command": ["/etc/passwd"]}}, "roles.worker.command", "/etc/passwd"),
        (
            {"worker": {"match": "gone.py", "command": [sys.executable, "/nope/gone.py"]}},
            "roles.worker.command", "/nope/gone.py: does not exist",
        ),
        ({"worker": {"cwd": "/nope"}}, "roles.worker.cwd", "/nope: is no directory"),
        ({"outputs": "/etc/passwd"}, "outputs", "/etc/passwd: is no directory"),
        ({"alerts": {"hook": ["/nope/hook"]}}, "alerts.hook", "/nope/hook"),
    ],
)  # fmt: skip
def test_missing_path_in_the_settings_fails_the_check(
    machine: Any, tables: dict[str, Any], key: str, words: str
) -> None:
    machine.write(**tables)
    state, seen = found(machine)[key]
    assert (state, words in seen) == ("fails", True), seen
    said = machine.run("config", "validate")
    assert (said.returncode, said.stdout) == (2, "")
    assert f"error: {machine.config}: {key}: " in said.stderr
    assert words in said.stderr


def test_questionable_settings_are_warnings(machine: Any) -> None:
    machine.write(outputs=str(machine.directory / "not-yet"), screen={"theme": "no-such"})
    said = machine.run("config", "validate")
    assert said.returncode == 0
    assert f"warning: {machine.config}: outputs: " in said.stderr
    assert found(machine)["outputs"][0] == "warning"
    assert found(machine)["theme"][0] == "fails"
    (machine.directory / "not-yet").mkdir(mode=0o777)
    (machine.directory / "not-yet").chmod(0o777)
    assert "every user can write" in found(machine)["outputs"][1]


def test_hanging_check_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the server accepts and never answers
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = Settings(queue=Queue(url=url, timeout_s=30.0))
        patient = CheckContext(None, tmp_path / "state", settings, "")
        began = time.monotonic()
        findings = run_checks(patient, 3.0)
        assert time.monotonic() - began < 10
    hung = [one for one in findings if "no answer within 3 s" in one.seen]
    assert [(one.check, one.state) for one in hung] == [("server", CheckState.FAILS)]


@pytest.mark.parametrize(
    ("options", "uid", "groups", "hidden"),
    [
        (["rw"], 1000, set(), None),
        (["rw", "hidepid=2"], 1000, set(), "hidepid=2"),
        (["hidepid=invisible"], 1000, {1000}, "hidepid=invisible"),
        (["hidepid=0"], 1000, set(), None),
        (["hidepid=2"], 0, set(), None),
        (["hidepid=2", "gid=7"], 1000, {7}, None),
        (["gid=7", "hidepid=2"], 1000, {8}, "hidepid=2"),
    ],
)
def test_hidepid_option_applies_to_users_outside_its_group(
    options: list[str], uid: int, groups: set[int], hidden: str | None
) -> None:
    assert hidepid_option(options, uid, groups) == hidden


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_disk_check_fails_without_a_free_inode(tmp_path: Path) -> None:
    code = (
        "import pathlib, itertools\n"
        "from console.system.doctor_checks import check_disk\n"
        f"place = pathlib.Path({str(tmp_path)!r})\n"
        "try:\n"
        "    for number in itertools.count():\n"
        "        (place / str(number)).touch()\n"
        "except OSError:\n"
        "    print(*check_disk(place))\n"
    )
    mount = 'mount -t tmpfs -o nr_inodes=20,size=1g none "$1" && exec "$2" -c "$3"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, code],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    if "permission denied" in ran.stderr.lower() or "not permitted" in ran.stderr:
        pytest.skip("no mount here")
    assert "no inode is free" in ran.stdout, ran.stderr
    assert "State.FAILS" in ran.stdout
