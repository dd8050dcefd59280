"""A configuration edited while the daemon runs is announced, and taken over or refused."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pty_terminal import Glass

Wait = Callable[..., Any]

COMMAND = "roles.worker.command"


def pid_of(box: Any) -> int:
    """Return the daemon's PID."""
    return int(json.loads(box.run("daemon", "status", "--json").stdout)["pid"])


def start(box: Any, wait_for: Wait) -> None:
    """Start the daemon, and wait until it watches the file."""
    assert box.run("daemon", "start").returncode == 0
    wait_for((box.state / "daemon.json").exists, 30)


def noticed(box: Any) -> list[str]:
    """Return the daemon's recorded notices about the configuration."""
    return [
        one["reason"]
        for one in box.events("noticed")
        if str(one["reason"]).startswith("configuration")
    ]


def command(box: Any, *more: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(box.directory / "rpa_worker.py"), *more]


def seen_by_daemon(box: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((box.state / "daemon.json").read_text())
    return found


def test_changed_command_is_announced_and_used_at_the_next_start(box: Any, wait_for: Wait) -> None:
    box.run("ensure")
    start(box, wait_for)
    daemon = pid_of(box)
    (first,) = box.workers()
    box.write(worker={"command": command(box, "--second")})
    told = wait_for(lambda: noticed(box), 20)
    assert f"configuration taken over from {box.config}: " in told[0]
    assert f"; {COMMAND}: " in told[0]
    assert "→" in told[0] and "--second" in told[0]
    assert "a process that runs keeps those it was started with" in told[0]
    assert told[0] in (box.directory / "outputs" / "worker_monitor.log").read_text()
    assert box.workers() == [first]
    os.kill(first, signal.SIGKILL)
    (second,) = wait_for(lambda: [one for one in box.workers() if one != first], 20)
    with open(f"/proc/{second}/cmdline") as file:
        assert file.read().split("\0")[-2] == "--second"
    assert pid_of(box) == daemon
    assert len(noticed(box)) == 1


def test_commands_note_that_the_daemon_uses_older_settings(box: Any, wait_for: Wait) -> None:
    box.run("ensure")
    start(box, wait_for)
    daemon = pid_of(box)
    os.kill(daemon, signal.SIGSTOP)
    try:
        box.write(worker={"command": command(box, "--second"), "grace_s": 3})
        for arguments in (["status"], ["ensure"], ["restart", "--dry-run"]):
            said = box.run(*arguments)
            words = said.stdout + said.stderr
            assert f"note: the daemon (PID {daemon}) goes by other settings" in words, arguments
            assert "roles.worker.grace_s: 2.0 → 3.0" in words
            assert f"{COMMAND}: " in words and "--second" in words
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_for(lambda: "goes by other" not in box.run("status").stdout, 20)


def test_broken_configuration_is_refused_and_the_old_one_kept(box: Any, wait_for: Wait) -> None:
    box.run("ensure")
    start(box, wait_for)
    (first,) = box.workers()
    whole = box.config.read_text()
    box.config.write_text(whole + '\n[retention]\nsamples_days = "long"\n')
    log = box.directory / "outputs" / "worker_monitor.log"
    told = wait_for(lambda: [one for one in log.read_text().splitlines() if "taken" in one], 20)
    assert f"configuration not taken over: {box.config}: retention.samples_days: " in told[0]
    assert "found 'long'" in told[0]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: [one for one in box.workers() if one != first], 20)
    assert "retention.samples_days" in seen_by_daemon(box)["trouble"]
    assert box.run("daemon", "reload").returncode == 2
    box.config.write_text(whole)
    assert box.run("daemon", "reload").stdout == "the daemon goes by the configuration already\n"
    assert seen_by_daemon(box)["trouble"] == ""
    assert "retention.samples_days" in noticed(box)[0]


def test_reload_applies_changes_at_once_or_reports_the_reason(box: Any, wait_for: Wait) -> None:
    refused = box.run("daemon", "reload")
    assert (refused.returncode, "not running" in refused.stderr) == (1, True)
    start(box, wait_for)
    daemon = pid_of(box)
    box.write(monitors={"queue": {"enabled": False}})
    done = box.run("daemon", "reload")
    assert (done.returncode, pid_of(box)) == (0, daemon), done.stderr
    states = {one["name"]: one["state"] for one in box.document("status")["monitors"]}
    assert states["queue"] == "off"
    since = next(one for one in box.document("status")["monitors"] if one["name"] == "queue")
    box.write(monitors={"queue": {"every_s": 0.5}})
    assert box.run("daemon", "reload").returncode == 0

    def looked() -> bool:
        now = next(one for one in box.document("status")["monitors"] if one["name"] == "queue")
        return bool(now["last_run"]) and now["last_run"] != since["last_run"]

    wait_for(looked, 20)  # the disabled monitor runs again
    other = box.config.with_name("other.toml")
    other.write_text(box.config.read_text())
    elsewhere = box.bare("--config", str(other), "--state-dir", str(box.state), "daemon", "reload")
    assert elsewhere.returncode == 1
    assert f"the daemon reads {box.config}, this command {other}" in elsewhere.stderr


def test_running_role_is_removed_only_by_an_explicit_reload(box: Any, wait_for: Wait) -> None:
    script = box.directory / "robot.py"
    script.write_text("import time\nwhile True:\n    time.sleep(60)\n")
    robot = {"match": str(script), "command": [sys.executable, "-I", "-S", str(script)]}
    whole = box.config.read_text()
    box.config.write_text(whole + f"[roles.robot]\nmatch = {json.dumps(robot['match'])}\n")
    with box.config.open("a") as file:
        file.write(f"command = {json.dumps(robot['command'])}\n")
    assert box.run("ensure", "robot").returncode == 0
    start(box, wait_for)
    (started,) = [one["pid"] for one in box.events("started", "--role", "robot")]
    box.config.write_text(whole)
    told = wait_for(lambda: noticed(box), 20)
    assert "configuration not taken over: roles.robot is gone from" in told[0]
    assert f"PID {started} runs" in told[0]
    assert "roles.robot" in box.run("status").stdout
    assert box.run("daemon", "reload").returncode == 0
    assert noticed(box)[-1].endswith("roles.robot: removed")
    box.config.write_text(whole + f"[roles.robot]\nmatch = {json.dumps(robot['match'])}\n")
    box.run("daemon", "reload")
    assert box.run("kill", "robot", "--yes").returncode == 0


def test_change_notice_hides_secrets(box: Any, wait_for: Wait) -> None:
    box.write(worker={"env": {"TOKEN": "first-secret"}}, alerts={"hook": ["x", "first-secret"]})
    start(box, wait_for)
    box.write(worker={"env": {"TOKEN": "other-secret"}}, alerts={"hook": ["x", "other-secret"]})
    (told,) = wait_for(lambda: noticed(box), 20)
    assert "roles.worker.env.TOKEN: changed (hidden)" in told
    assert "alerts.hook: changed (hidden)" in told
    assert "-secret" not in told + (box.state / "daemon.json").read_text()


def test_open_console_shows_the_changed_configuration(box: Any, wait_for: Wait) -> None:
    box.write(screen={"box": "before-it"})
    start(box, wait_for)
    glass = Glass(["--read-only", *box.options], box.environment)
    try:
        glass.wait_for("before-it")
        box.write(screen={"box": "after-it"})
        glass.wait_for("after-it")
        box.config.write_text(box.config.read_text() + "\n[retention]\nsamples_days = 0\n")
        glass.wait_for(lambda text: "retention.samples_days" in text)
        assert "after-it" in glass.text
        glass.press("q")
        assert glass.leave() == 0
    finally:
        glass.close()


def test_daemon_takes_over_a_configuration_created_later(machine: Any, wait_for: Wait) -> None:
    machine.directory.mkdir(mode=0o700)
    here = ["--state-dir", str(machine.state)]
    assert machine.bare(*here, "daemon", "start").returncode == 0
    try:
        wait_for((machine.state / "daemon.json").exists, 30)
        own = machine.home / ".config" / "rpa-console" / "config.toml"
        own.parent.mkdir(parents=True)
        own.write_text('[screen]\nbox = "named"\n')

        def told() -> bool:
            said = machine.bare(*here, "events", "--json").stdout
            return f"configuration taken over from {own}: screen.box: not set" in said

        wait_for(told, 20)
    finally:
        machine.bare(*here, "daemon", "stop")


def test_reload_does_not_signal_a_console_that_runs_the_monitors(box: Any, wait_for: Wait) -> None:
    """SIGHUP would end the console. It checks the file by itself."""
    glass = Glass(["--no-daemon", *box.options], box.environment)
    try:
        wait_for(lambda: glass.pump() or (box.state / "daemon.json").exists(), 30)
        box.write(screen={"box": "after-it", "theme": "light"})
        refused = box.run("daemon", "reload")
        assert refused.returncode == 1
        assert "a console" in refused.stderr and "runs the monitors" in refused.stderr
        glass.wait_for("after-it")
        assert "keeps its theme" in noticed(box)[-1]
        glass.press("q")
        assert glass.leave() == 0
    finally:
        glass.close()


def test_alert_files_move_with_the_outputs_directory(box: Any, wait_for: Wait) -> None:
    box.write(outputs=str(box.directory / "one"), alerts={"look_s": 0.5})
    start(box, wait_for)
    one, two = (box.directory / name / "alerts" for name in ("one", "two"))
    wait_for(lambda: one.is_dir() and list(one.iterdir()), 40)
    box.config.write_text(box.config.read_text().replace(f"{one.parent}", f"{two.parent}"))
    assert box.run("daemon", "reload").returncode == 0
    wait_for(lambda: two.is_dir() and list(two.iterdir()), 20)
    wait_for(lambda: list(one.iterdir()) == [], 20)
