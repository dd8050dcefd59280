"""Secrets in command lines, environments and worker output never leave the program."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

ARGUMENT, VARIABLE, WORDS, ADDRESS = "Argum3nt", "Variab1e", "W0rds", "Addr3ss"
SECRETS = (ARGUMENT, VARIABLE, WORDS, ADDRESS)
WORKER = f"""\
import sys, time
print("login failed: token={WORDS}", file=sys.stderr, flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def secretive(machine: Any) -> Any:
    machine.write()
    script = machine.directory / "rpa_worker.py"
    worker = {
        "match": str(script),
        "command": [sys.executable, "-I", "-S", str(script), "--password", ARGUMENT],
        "env": {"API_KEY": VARIABLE},
        "settle_s": 0.3,
        "restart": {"backoff_s": 0.2, "backoff_max_s": 0.3},
    }
    machine.write(
        worker=worker,
        queue={"url": f"http://bot:{ADDRESS}@127.0.0.1:9", "timeout_s": 0.5},
        alerts={"look_s": 0.3, "hook": ["/bin/sh", "-c", f"cat >> {machine.home}/told; env >> "
                f"{machine.home}/told", f"--token={ARGUMENT}"]},
    )  # fmt: skip
    script.write_text(WORKER)
    return machine


def leaked(text: str) -> list[str]:
    return [one for one in SECRETS if one in text]


def files(directory: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in directory.rglob("*") if one.is_file()}


def test_secrets_appear_in_no_output_and_no_file(secretive: Any, wait_for: Any) -> None:
    box = secretive
    assert box.run("ensure").returncode == 0
    (pid,) = box.workers()
    assert ARGUMENT in psutil.Process(pid).cmdline(), "the worker itself has it"
    assert box.run("daemon", "start").returncode == 0
    os.kill(pid, 9)
    wait_for(lambda: len(box.lives("started")) > 1, 60, "repaired")
    wait_for(lambda: box.run("alerts").stdout, 60, "an alert")
    handover = box.directory / "outputs" / "handover.md"
    wait_for(handover.exists, 90, "the hand-over")
    commands = (
        "status", "status --json", "ensure --dry-run", "restart --dry-run", "restart --dry-run "
        "--json", "config show", "config show --json", "config validate", "events", "events --json",
        "why", "why --json", "report", "report --json", "alerts", "alerts --json", "doctor",
        "doctor --json", "daemon status --json", "events --look 1",
    )  # fmt: skip
    for command in commands:
        ran = box.run(*command.split())
        assert leaked(ran.stdout + ran.stderr) == [], command
    assert "--password ***" in box.run("status", "--json").stdout
    assert "--password ***" in box.run("restart", "--dry-run").stdout
    assert 'API_KEY = "***"' in box.run("config", "show").stdout
    assert "token=***" in box.run("events", "--json").stdout
    assert box.run("daemon", "stop").returncode == 0
    written = files(box.directory / "outputs") | files(box.home)
    written |= {name: raw for name, raw in files(box.state).items() if "store" in name}
    assert [name for name, raw in written.items() if leaked(raw.decode("latin-1"))] == []


def test_configured_patterns_are_redacted_before_storage(machine: Any, wait_for: Any) -> None:
    machine.write()
    script = machine.directory / "rpa_worker.py"
    machine.write(
        worker={"command": [sys.executable, "-I", "-S", str(script), "PIN:4711"],
                "restart": {"enabled": False}},
        screen={"redact": [r"PIN:\d+"]},
    )  # fmt: skip
    script.write_text("import sys\nprint('my PIN:4711', file=sys.stderr)\nimport time\n"
                      "time.sleep(1)\nsys.exit(3)\n")  # fmt: skip
    machine.run("ensure")
    died = wait_for(lambda: machine.lives("died"), 30)
    assert died[0]["data"]["stderr"] == ["my ***"]
    shown = machine.run("restart", "--dry-run").stdout
    assert "4711" not in shown
    with sqlite3.connect(machine.state / "store.sqlite") as store:
        assert "4711" not in "\n".join(store.iterdump())


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "not a regular expression"), ("x*", "matches the empty text"), ("", "redact")],
)
def test_unusable_redaction_pattern_is_refused(machine: Any, pattern: str, words: str) -> None:
    machine.write(screen={"redact": ["fine", pattern]})
    refused = machine.run("config", "validate")
    assert refused.returncode == 2
    assert f"{machine.config}: screen.redact[" in refused.stderr
    assert "1]" in refused.stderr
    assert words in refused.stderr
