"""`doctor`: checks everything that the console relies on, and prints the findings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import click

from console.cli.context import Options, pass_options
from console.cli.output import print_json, print_redacted
from console.core import resource_limits
from console.core.exit_codes import FAILURE
from console.core.records import Record
from console.core.text.command_hint import format_command
from console.system import doctor_checks
from console.system.doctor_checks import CheckState, Finding, fails, ok, warning

if TYPE_CHECKING:
    from console.core.model.snapshot import Snapshot
    from console.core.model.views import DaemonView, MonitorView
    from console.system.box import Box
    from console.system.config.schema import Settings

CHECKS_TIMEOUT_S = 8.0
"""All checks run in parallel; a check that does not answer within this time fails."""
MAX_HEARTBEAT_AGE_S = 20.0


class CheckContext(Record, frozen=True):
    """The paths and settings that the checks examine."""

    config_path: Path | None
    state_dir: Path
    settings: Settings
    config_error: str
    """The reason why the configuration cannot be used, or ""; `settings` are then the defaults."""


@click.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def doctor(options: Options, as_json: bool) -> None:
    """Check what rpa-console relies on: ok, warning or fails. Exit code 1: something fails.

    Answers within seconds, also with a broken configuration.
    """
    findings = run_checks(_load_context(options))
    if as_json:
        rows = [
            {
                "check": finding.check,
                "ok": finding.state is not CheckState.FAILS,
                "state": finding.state.value,
                "seen": finding.seen,
            }
            for finding in findings
        ]
        print_json({"schema": 1, "findings": rows})
    else:
        for finding in findings:
            print_redacted(f"{finding.state.value:<8} {finding.check:<16} {finding.seen}")
    raise click.exceptions.Exit(
        FAILURE if any(finding.state is CheckState.FAILS for finding in findings) else 0
    )


def _load_context(options: Options) -> CheckContext:
    from console.system.config.loader import ConfigError, load
    from console.system.config.schema import Settings

    path, state = options.find_config(), options.find_state_dir()
    try:
        return CheckContext(path, state, load(path), "")
    except ConfigError as error:
        return CheckContext(path, state, Settings(), str(error))


def run_checks(context: CheckContext, timeout_s: float = CHECKS_TIMEOUT_S) -> list[Finding]:
    """Run all checks and return every finding, in the order of the checks."""
    import hashlib  # noqa: F401 - without a free descriptor, its first import prints a traceback

    from console.system import clock

    findings: dict[str, list[Finding]] = {}
    names, threads = [], []
    for check in _CHECKS:
        thread = Thread(target=_run_check, args=(check, context, findings), daemon=True)
        names.append(check.__name__.strip("_"))
        try:
            thread.start()
        except RuntimeError as error:  # no thread can be started: run the checks in sequence
            findings["threads"] = [
                fails("threads", resource_limits.limit_message(error) or str(error))
            ]
            _run_check(check, context, findings)
        else:
            threads.append((names[-1], thread))
    deadline = clock.tick() + timeout_s
    for name, thread in threads:
        thread.join(max(0.0, deadline - clock.tick()))
        if thread.is_alive():
            findings[name] = [fails(name, f"no answer within {timeout_s:g} s")]
    return [finding for name in (*names, "threads") for finding in findings.get(name, ())]


def _run_check(
    check: Callable[[CheckContext], Iterator[Finding]],
    context: CheckContext,
    findings: dict[str, list[Finding]],
) -> None:
    name = check.__name__.strip("_")
    try:
        result = list(check(context))
    except Exception as error:
        result = [
            fails(name, resource_limits.limit_message(error) or f"{type(error).__name__}: {error}")
        ]
    findings.setdefault(name, result)


# --- the checks -------------------------------------------------------------------------------


def _versions(context: CheckContext) -> Iterator[Finding]:
    from importlib.metadata import version

    from console import __version__
    from console.system import daemon_settings
    from console.system.store.store import sqlite_version

    record = daemon_settings.read(context.state_dir)
    if record is not None and _is_running(record.pid) and record.version not in ("", __version__):
        text = f"{__version__}; the daemon (PID {record.pid}) is {record.version}: restart it"
        yield warning("rpa-console", text)
    else:
        yield ok("rpa-console", __version__)
    yield ok("python", f"{sys.version.split()[0]} ({sys.executable})")
    names = ("textual", "psutil", "portalocker", "click", "msgspec", "apsw")
    yield ok("libraries", ", ".join(f"{name} {version(name)}" for name in names))
    sqlite = sqlite_version()
    is_safe = tuple(int(part) for part in sqlite.split(".")) >= (3, 51, 3)
    text = f"{sqlite} (3.51.3 or newer: several may write one WAL)"
    yield ok("sqlite", text) if is_safe else fails("sqlite", text)


def _is_running(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _kernel(context: CheckContext) -> Iterator[Finding]:
    yield from doctor_checks.check_kernel()


def _configuration(context: CheckContext) -> Iterator[Finding]:
    from console.system.config.loader import group_write_warning
    from console.system.paths import Paths

    if context.config_error:
        yield fails("configuration", context.config_error)
        return
    permission_warning = group_write_warning(context.config_path) if context.config_path else None
    if permission_warning:
        yield warning("configuration", f"{context.config_path}: {permission_warning}")
    else:
        yield ok("configuration", str(context.config_path or "none: the defaults are in force"))
    for role in context.settings.all_roles():
        if not role.command:
            text = "not set: it can be watched and ended, not started"
            yield warning(f"roles.{role.name}.command", text)
    outputs = Paths(context.state_dir).state / "outputs"
    yield from doctor_checks.check_settings(context.settings, outputs if outputs.exists() else None)


def _theme(context: CheckContext) -> Iterator[Finding]:
    from console.cli.commands.tui import user_theme_directory
    from console.ui.keymap import find_keymap_errors
    from console.ui.render.theme import load_themes, shipped_themes_path

    wanted = context.settings.screen.theme
    themes, notices = load_themes((shipped_themes_path(), user_theme_directory()))
    for text in notices:
        yield warning("theme", text)
    if wanted in themes:
        yield ok("theme", wanted)
    else:
        yield fails("theme", f"screen.theme: no theme {wanted!r}: {', '.join(sorted(themes))}")
    for text in find_keymap_errors(context.settings.screen.keys):
        yield fails("keys", text)


def _state(context: CheckContext) -> Iterator[Finding]:
    from console.system.paths import (
        PathError,
        Paths,
        check_ancestors,
        check_private,
        network_filesystem,
    )
    from console.system.store.store import Store

    paths = Paths(context.state_dir)
    if not paths.state.exists():
        yield ok("state", f"{paths.state} (not made yet)")
        return
    try:
        check_private(paths.state)
        check_ancestors(paths.state)
    except PathError as error:
        yield fails("state", str(error))
        return
    if kind := network_filesystem(paths.state):
        yield fails("state", f"{paths.state} on {kind}: locks do not hold")
    else:
        yield ok("state", str(paths.state))
    yield from doctor_checks.check_disk(paths.state)
    if paths.store.exists():
        store = Store(paths.store)
        damage = store.find_damage()
        store.close()
        kb = paths.store.stat().st_size // 1024
        yield fails("store", damage) if damage else ok("store", f"{paths.store} ({kb} kB, whole)")


def _daemon(context: CheckContext) -> Iterator[Finding]:
    """Yield findings about the daemon, about each monitor, and about the wall clock."""
    from console.monitors import discover_monitors
    from console.runtime.snapshots.store_view import StoreView
    from console.system import daemon_settings
    from console.system.box import open_box
    from console.system.paths import PathError
    from console.system.store.store import StoreError

    try:
        with open_box(
            context.settings, context.state_dir, context.config_path, True, memory_fallback=True
        ) as box:
            view = StoreView(box, discover_monitors())
            view.refresh()
            snapshot = view.compose()
            yield _daemon_finding(box, snapshot.daemon, snapshot)
            if not context.config_error:
                yield from (
                    warning("daemon", text) for text in daemon_settings.settings_mismatch(box)
                )
            yield from (_monitor_finding(monitor, snapshot) for monitor in snapshot.monitors)
    except (PathError, StoreError) as error:
        yield fails("daemon", str(error))
        return
    sample_times = [monitor.last.moment.at for monitor in snapshot.monitors if monitor.last]
    yield from doctor_checks.check_wall_clock(max(sample_times, default=None), snapshot.daemon.pid)


def _daemon_finding(box: Box, daemon: DaemonView, snapshot: Snapshot) -> Finding:
    from console.core.text.formatting import format_duration
    from console.system import daemon_settings
    from console.system.daemon_role import is_stopped

    if not daemon.running or daemon.pid is None:
        return fails("daemon", daemon.reason)
    if is_stopped(daemon.pid):
        return fails("daemon", f"PID {daemon.pid} is stopped: kill -CONT {daemon.pid}")
    last_heartbeat = daemon.heartbeat or daemon.since
    heartbeat_age_s = snapshot.moment.since(last_heartbeat) if last_heartbeat else 0.0
    if heartbeat_age_s > MAX_HEARTBEAT_AGE_S:
        return fails(
            "daemon", f"PID {daemon.pid} hangs: no heartbeat for {format_duration(heartbeat_age_s)}"
        )
    record = daemon_settings.read(box.paths.state)
    if record is not None and record.pid == daemon.pid and record.not_applied_reason:
        return warning("daemon", f"PID {daemon.pid}: {record.not_applied_reason}")
    return ok("daemon", f"PID {daemon.pid}")


def _monitor_finding(monitor: MonitorView, snapshot: Snapshot) -> Finding:
    from console.core.model.samples import HealthState
    from console.core.text.formatting import format_duration

    health, last = monitor.health, monitor.last
    text = f"{health.state}: {health.reason}" if health.reason else str(health.state)
    if last is not None:
        text += f", last looked {format_duration(snapshot.moment.since(last.moment))} ago"
    name = f"  {monitor.name}"
    if health.state in (HealthState.OK, HealthState.OFF):
        return ok(name, text)
    bad = health.state is HealthState.FAILING and health.severe
    overdue = snapshot.daemon.running and health.state is HealthState.OVERDUE
    return (fails if bad or overdue else warning)(name, text)


def _server(context: CheckContext) -> Iterator[Finding]:
    """Request the health of the queue server now, and yield findings about the server."""
    from console.monitors._queue_client import request_json
    from console.system.accounts import describe_account, role_user_id
    from console.system.host.json_http import HttpError
    from console.system.paths import trusted_uids
    from console.system.processes import port_owners

    url = context.settings.queue.address
    trusted = trusted_uids() | {role_user_id(role) for role in context.settings.all_roles()}
    for uid in sorted(port_owners.find_listening_uids(url) - trusted):
        text = (
            f"{url}: a process of {describe_account(uid)} listens there: what it says is believed"
        )
        yield warning("queue server", text)
    try:
        request_json(context.settings, "/api/health")
    except HttpError as error:
        yield fails("queue server", f"{url}: {error}")
    else:
        yield ok("queue server", f"{url} answers")


def _session(context: CheckContext) -> Iterator[Finding]:
    """Yield a finding about whether this system ends the monitors at log-out."""
    from console.system.host import logind, systemd_unit

    if not os.path.isdir("/run/systemd/system"):
        yield ok("log-out", "no systemd: detached processes live on")
        return
    name = logind.current_user_name()
    installed = systemd_unit.unit_path(context.state_dir).exists()
    survives, text = logout_survival(
        name, logind.kills_user_processes(name), installed, logind.is_lingering(name)
    )
    yield ok("log-out", text) if survives else fails("log-out", text)


def logout_survival(
    user_name: str, kills_user_processes: bool, is_unit_installed: bool, is_lingering: bool
) -> tuple[bool, str]:
    """Return whether the daemon outlives the last log-out, and an explanation.

    The daemon is either a detached process or a systemd user unit.
    """
    linger = f"loginctl enable-linger {user_name}"
    if is_unit_installed and is_lingering:
        return True, "the monitors are a user unit, and lingering is on"
    if is_unit_installed:
        return False, f"the user unit ends with the last log-out: {linger}"
    if not kills_user_processes:
        return True, "detached processes live on (KillUserProcesses=no)"
    text = (
        f"the monitors end at log-out (KillUserProcesses=yes): {format_command('daemon install')}"
    )
    return False, text if is_lingering else f"{text}; {linger}"


def _terminal(context: CheckContext) -> Iterator[Finding]:
    import locale

    from console.cli.commands.tui import terminal_refusal

    refusal = terminal_refusal()
    yield ok("terminal", refusal or f"TERM={os.environ.get('TERM')}")
    encoding = locale.getencoding()
    utf8 = "utf" in encoding.lower()
    yield ok("encoding", encoding if utf8 else f"{encoding}: drawn in ASCII")
    if os.environ.get("SSH_CONNECTION"):
        yield ok("ssh", "mouse capture is off; selecting text is the terminal's own")


_CHECKS = (
    _versions, _kernel, _configuration, _theme, _state, _daemon, _server, _session, _terminal,
)  # fmt: skip
