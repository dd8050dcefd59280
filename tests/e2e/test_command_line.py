"""The commands' streams, JSON documents, confirmations and exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from console.demo.script_support import call_server


def test_ensure_starts_a_worker_once(box: Any) -> None:
    first = box.run("ensure")
    assert (first.returncode, first.stderr) == (0, "")
    (pid,) = box.workers()
    assert str(pid) in first.stdout
    again = box.document("ensure")
    assert again == {
        "schema": 1,
        "command": "ensure",
        "role": "worker",
        "done": True,
        "changed": False,
        "pid": pid,
        "message": again["message"],
    }
    assert box.workers() == [pid]


@pytest.mark.parametrize("command", ["ensure", "restart", "kill"])
def test_dry_run_prints_the_plan_and_changes_nothing(box: Any, command: str) -> None:
    if command != "ensure":
        box.run("ensure")
    before, ledger = box.workers(), box.events()
    said = box.run(command, "--dry-run")
    assert said.returncode == 0
    assert "would" in said.stdout
    assert box.workers() == before
    assert box.events() == ledger


def test_kill_and_restart_confirm_on_a_terminal_and_refuse_a_pipe(box: Any) -> None:
    box.run("ensure")
    (pid,) = box.workers()
    for command in ("kill", "restart"):
        refused = box.run(command)
        assert refused.returncode == 1
        assert "--yes" in refused.stderr
        assert str(pid) in refused.stderr
        assert refused.stdout == ""
    assert box.workers() == [pid]
    assert _ask(box, "kill", b"n\n") == 1
    assert box.workers() == [pid]
    assert _ask(box, "kill", b"y\n") == 0
    assert box.workers() == []


def _ask(box: Any, command: str, answer: bytes) -> int:
    """Run a command on a terminal, and answer its confirmation."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "console", *box.options, command],
            stdin=slave,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=box.environment,
        )
        os.write(master, answer)
        return process.wait(30)
    finally:
        os.close(master)
        os.close(slave)


def test_restart_and_kill_act_with_yes(box: Any) -> None:
    box.run("ensure")
    (before,) = box.workers()
    assert box.run("restart", "--yes").returncode == 0
    (after,) = box.workers()
    assert after != before
    killed = box.document("kill", "--yes", "--force")
    assert (killed["done"], killed["changed"], killed["command"]) == (True, True, "kill")
    assert box.workers() == []
    nothing = box.run("kill", "--yes")
    assert nothing.returncode == 0
    assert "nothing" in nothing.stdout


def test_kill_duplicates_ends_only_the_surplus_instance(
    box: Any, wait_for: Callable[..., Any]
) -> None:
    box.run("ensure")
    (first,) = box.workers()
    mark = {"RPA_CONSOLE_BOX": str(box.state)}
    script = str(box.directory / "rpa_worker.py")
    with subprocess.Popen([sys.executable, "-I", "-S", script], env=mark) as second:
        wait_for(lambda: len(box.workers()) == 2)
        said = box.run("status")
        assert "2 instances where 1 is wanted" in said.stdout
        assert box.run("kill", "--duplicates", "--yes").returncode == 0
        assert second.wait(10) == -signal.SIGTERM
    assert box.workers() == [first]


def test_read_only_refuses_every_changing_command(box: Any) -> None:
    box.run("ensure")
    before, ledger = box.workers(), box.events()
    for command in (
        ["ensure"], ["restart", "--yes"], ["kill", "--yes"], ["canary"], ["daemon", "start"],
        ["daemon", "stop"], ["daemon", "run"], ["config", "init"],
    ):  # fmt: skip
        refused = box.bare(*box.options, "--read-only", *command)
        assert (refused.returncode, refused.stdout) == (1, ""), command
        assert "read-only" in refused.stderr
    assert box.bare(*box.options, "--read-only", "kill", "--dry-run").returncode == 0
    assert box.bare(*box.options, "--read-only", "status").returncode in (0, 1)
    assert box.workers() == before
    assert box.events() == ledger


def test_read_only_setting_refuses_ensure(box: Any) -> None:
    box.write(read_only=True)
    assert box.run("ensure").returncode == 1
    assert box.workers() == []


def test_unknown_command_role_or_option_is_a_usage_error(box: Any) -> None:
    for arguments in (["bogus"], ["ensure", "nobody"], ["status", "--bogus"], ["events", "-n0"]):
        refused = box.run(*arguments)
        assert (refused.returncode, refused.stdout) == (2, ""), arguments
        assert refused.stderr
    assert "worker, watchdog" in box.run("ensure", "nobody").stderr


def test_ensure_of_a_role_without_a_command_names_the_setting(box: Any) -> None:
    refused = box.run("ensure", "watchdog")
    assert refused.returncode == 1
    assert "command = [...]" in refused.stderr
    assert "[roles.watchdog]" in refused.stderr


def test_ensure_names_a_command_that_cannot_start(box: Any) -> None:
    box.write(worker={"command": ["/nowhere/python", "rpa_worker.py"]})
    refused = box.run("ensure")
    assert refused.returncode == 1
    assert "/nowhere/python" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_events_prints_lines_or_json_documents(box: Any) -> None:
    box.run("ensure")
    (pid,) = box.workers()
    line = box.run("events").stdout
    assert "started" in line
    assert f"PID {pid}" in line
    (event,) = box.events("started")
    assert (event["pid"], event["role"], event["token"]) == (pid, "worker", 1)
    assert event["actor"].startswith("cli:")
    assert box.run("events", "--role", "watchdog").stdout == ""


def test_canary_without_a_queue_server_reports_the_failed_step(box: Any) -> None:
    failed = box.run("canary")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "not accepted: refused" in failed.stderr
    document = box.document("canary")
    assert document["done"] is False
    assert document["canary"]["failed_at"] == "accepted"
    look = json.loads(box.run("events", "--look", "2").stdout)
    assert (look["look"], look["monitor"]) == (2, "canary")
    assert look["data"]["failed_at"] == "accepted"
    none = box.run("events", "--look", "99")
    assert (none.returncode, none.stdout) == (1, "") and "no look 99" in none.stderr


def test_canary_with_a_wrong_answer_shows_the_answer(machine: Any, wait_for: Any) -> None:
    """The test acts as a worker that returns a wrong answer."""
    machine.write_rig()
    assert machine.run("ensure", "queue").returncode == 0
    url = tomllib.loads(machine.config.read_text())["queue"]["url"]
    asked = machine.start("canary")

    def taken() -> str:
        task = call_server(url, "/api/tasks/next", headers={"X-Worker-Name": "we"})
        return str(task.get("task_id") or "")

    task_id = wait_for(taken)
    output = {"execution_time": 0.0, "said": "\x1b[31m" + "x" * 5000}
    body = {"success": False, "error": "no browser", "data": output}
    call_server(url, f"/api/tasks/{task_id}/result", body)
    words, told = asked.communicate(timeout=30)
    assert (asked.returncode, words) == (1, "")
    first, second = told.splitlines()
    assert first == "canary: wrong answer: no browser"
    assert second.startswith("its output: {") and "\\u001b[31mxxx" in second
    assert len(second) < 400
    (row,) = [one for one in machine.run("report").stdout.splitlines() if "| Canary |" in one]
    assert "wrong answer: no browser; its output: {" in row and "\x1b" not in row
    assert len(row) < 700


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shell_script(machine: Any, shell: str) -> None:
    said = machine.bare("completion", shell)
    assert (said.returncode, said.stderr) == (0, "")
    assert "_RPA_CONSOLE_COMPLETE" in said.stdout


def test_help_and_version_need_no_box(machine: Any) -> None:
    version = machine.bare("--version")
    assert (version.returncode, version.stdout) == (0, "rpa-console, version 0.1.0\n")
    for arguments in (["--help"], ["kill", "-h"], ["daemon", "--help"], ["config", "--help"]):
        said = machine.bare(*arguments)
        assert (said.returncode, said.stderr) == (0, ""), arguments
        assert said.stdout.startswith("Usage: rpa-console")


def test_doctor_reports_broken_configuration_and_state(machine: Any) -> None:
    healthy = machine.bare("doctor", "--json")
    found = {one["check"]: one for one in json.loads(healthy.stdout)["findings"]}
    assert {"sqlite", "state", "daemon", "configuration"} <= found.keys()
    machine.config.parent.mkdir()
    machine.config.write_text("[queue\n")
    machine.state.write_text("a file where a directory should be")
    sick = machine.run("doctor")
    assert sick.returncode == 1
    assert "not TOML" in sick.stdout
    assert "not a directory" in sick.stdout
    assert "Traceback" not in sick.stderr
