"""`doctor`: what the console relies on here, and what is wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import click

from console.cli.context import Options, pass_options
from console.cli.output import put, put_json
from console.core import resource_limits
from console.core.exit_codes import FAILURE
from console.core.frozen import frozen
from console.core.text.command_hint import step
from console.system import doctor_checks
from console.system.doctor_checks import Finding, State, fails, ok, warning

if TYPE_CHECKING:
    from console.core.model import DaemonView, MonitorView, Snapshot
    from console.system.box import Box
    from console.system.config.schema import Settings

DEADLINE_S = 8.0
"""All checks run side by side, and one that does not answer in this time fails."""
HEARTBEAT_S = 20.0


@frozen
class Patient:
    """What is examined."""

    config: Path | None
    state: Path
    settings: Settings
    mistake: str
    """Why the configuration cannot be used; the settings are then the defaults."""


@click.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def doctor(options: Options, as_json: bool) -> None:
    """Check what rpa-console relies on: ok, warning or fails. Exit code 1: something fails.

    Answers also with a broken configuration, and within seconds.
    """
    findings = examine(_patient(options))
    if as_json:
        rows = [
            {
                "check": one.check,
                "ok": one.state is not State.FAILS,
                "state": one.state.value,
                "seen": one.seen,
            }
            for one in findings
        ]
        put_json({"schema": 1, "findings": rows})
    else:
        for one in findings:
            put(f"{one.state.value:<8} {one.check:<16} {one.seen}")
    raise click.exceptions.Exit(FAILURE if any(one.state is State.FAILS for one in findings) else 0)


def _patient(options: Options) -> Patient:
    from console.system.config.loader import ConfigError, load
    from console.system.config.schema import Settings

    path, state = options.find_config(), options.find_state()
    try:
        return Patient(path, state, load(path), "")
    except ConfigError as error:
        return Patient(path, state, Settings(), str(error))


def examine(patient: Patient, deadline_s: float = DEADLINE_S) -> list[Finding]:
    """Every finding, in the order of the checks."""
    from console.system import clock

    found: dict[str, list[Finding]] = {}
    names, threads = [], []
    for check in _CHECKS:
        thread = Thread(target=_run, args=(check, patient, found), daemon=True)
        names.append(check.__name__.strip("_"))
        try:
            thread.start()
        except RuntimeError as error:  # no thread can be started: one check after the other
            found["threads"] = [fails("threads", resource_limits.reached(error) or str(error))]
            _run(check, patient, found)
        else:
            threads.append((names[-1], thread))
    ends = clock.tick() + deadline_s
    for name, thread in threads:
        thread.join(max(0.0, ends - clock.tick()))
        if thread.is_alive():
            found[name] = [fails(name, f"no answer within {deadline_s:g} s")]
    return [one for name in (*names, "threads") for one in found.get(name, ())]


def _run(
    check: Callable[[Patient], Iterator[Finding]],
    patient: Patient,
    found: dict[str, list[Finding]],
) -> None:
    name = check.__name__.strip("_")
    try:
        result = list(check(patient))
    except Exception as error:
        result = [fails(name, resource_limits.reached(error) or f"{type(error).__name__}: {error}")]
    found.setdefault(name, result)


# --- the checks -------------------------------------------------------------------------------


def _versions(patient: Patient) -> Iterator[Finding]:
    from importlib.metadata import version

    from console import __version__
    from console.system import daemon_settings
    from console.system.store.store import sqlite_version

    record = daemon_settings.read(patient.state)
    if record is not None and _lives(record.pid) and record.version not in ("", __version__):
        words = f"{__version__}; the daemon (PID {record.pid}) is {record.version}: restart it"
        yield warning("rpa-console", words)
    else:
        yield ok("rpa-console", __version__)
    yield ok("python", f"{sys.version.split()[0]} ({sys.executable})")
    names = ("textual", "psutil", "portalocker", "click", "msgspec", "apsw")
    yield ok("libraries", ", ".join(f"{name} {version(name)}" for name in names))
    sqlite = sqlite_version()
    fixed = tuple(int(part) for part in sqlite.split(".")) >= (3, 51, 3)
    words = f"{sqlite} (3.51.3 or newer: several may write one WAL)"
    yield ok("sqlite", words) if fixed else fails("sqlite", words)


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _kernel(patient: Patient) -> Iterator[Finding]:
    yield from doctor_checks.kernel()


def _configuration(patient: Patient) -> Iterator[Finding]:
    from console.system.config.loader import doubtful_owner
    from console.system.paths import Paths

    if patient.mistake:
        yield fails("configuration", patient.mistake)
        return
    doubt = doubtful_owner(patient.config) if patient.config else None
    if doubt:
        yield warning("configuration", f"{patient.config}: {doubt}")
    else:
        yield ok("configuration", str(patient.config or "none: the defaults are in force"))
    for role in patient.settings.all_roles():
        if not role.command:
            words = "not set: it can be watched and ended, not started"
            yield warning(f"roles.{role.name}.command", words)
    outputs = Paths(patient.state).state / "outputs"
    yield from doctor_checks.settings(patient.settings, outputs if outputs.exists() else None)


def _theme(patient: Patient) -> Iterator[Finding]:
    from console.cli.commands.tui import user_themes
    from console.ui.keymap import mistakes
    from console.ui.render.theme import load_all, shipped_themes

    wanted = patient.settings.screen.theme
    known, notices = load_all((shipped_themes(), user_themes()))
    for words in notices:
        yield warning("theme", words)
    if wanted in known:
        yield ok("theme", wanted)
    else:
        yield fails("theme", f"screen.theme: no theme {wanted!r}: {', '.join(sorted(known))}")
    for words in mistakes(patient.settings.screen.keys):
        yield fails("keys", words)


def _state(patient: Patient) -> Iterator[Finding]:
    from console.system.paths import (
        PathError,
        Paths,
        check_ancestors,
        check_private,
        network_filesystem,
    )
    from console.system.store.store import Store

    paths = Paths(patient.state)
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
    yield from doctor_checks.disk(paths.state)
    if paths.store.exists():
        store = Store(paths.store)
        damage = store.check()
        store.close()
        kb = paths.store.stat().st_size // 1024
        yield fails("store", damage) if damage else ok("store", f"{paths.store} ({kb} kB, whole)")


def _daemon(patient: Patient) -> Iterator[Finding]:
    """The daemon, the monitors as it sees them, and the clocks that both go by."""
    from console.monitors import discover
    from console.runtime.snapshots.store_view import View
    from console.system import daemon_settings
    from console.system.box import open_box
    from console.system.paths import PathError
    from console.system.store.store import StoreError

    try:
        with open_box(patient.settings, patient.state, patient.config, True, stands_in=True) as box:
            view = View(box, discover())
            view.refresh()
            snapshot = view.compose()
            yield _running(box, snapshot.daemon, snapshot)
            if not patient.mistake:
                yield from (warning("daemon", words) for words in daemon_settings.unlike(box))
            yield from (_monitor(one, snapshot) for one in snapshot.monitors)
    except (PathError, StoreError) as error:
        yield fails("daemon", str(error))
        return
    looks = [one.last.moment.at for one in snapshot.monitors if one.last]
    yield from doctor_checks.wall_clock(max(looks, default=None), snapshot.daemon.pid)


def _running(box: Box, daemon: DaemonView, snapshot: Snapshot) -> Finding:
    from console.core.text.formatting import duration
    from console.system import daemon_settings
    from console.system.daemon_role import stopped

    if not daemon.running or daemon.pid is None:
        return fails("daemon", daemon.reason)
    if stopped(daemon.pid):
        return fails("daemon", f"PID {daemon.pid} is stopped: kill -CONT {daemon.pid}")
    beat = daemon.heartbeat or daemon.since
    silent_s = snapshot.moment.since(beat) if beat else 0.0
    if silent_s > HEARTBEAT_S:
        return fails("daemon", f"PID {daemon.pid} hangs: no heartbeat for {duration(silent_s)}")
    record = daemon_settings.read(box.paths.state)
    if record is not None and record.pid == daemon.pid and record.trouble:
        return warning("daemon", f"PID {daemon.pid}: {record.trouble}")
    return ok("daemon", f"PID {daemon.pid}")


def _monitor(monitor: MonitorView, snapshot: Snapshot) -> Finding:
    from console.core.model import HealthState
    from console.core.text.formatting import duration

    health, last = monitor.health, monitor.last
    words = f"{health.state}: {health.reason}" if health.reason else str(health.state)
    if last is not None:
        words += f", last looked {duration(snapshot.moment.since(last.moment))} ago"
    name = f"  {monitor.name}"
    if health.state in (HealthState.OK, HealthState.OFF):
        return ok(name, words)
    bad = health.state is HealthState.FAILING and health.severe
    overdue = snapshot.daemon.running and health.state is HealthState.OVERDUE
    return (fails if bad or overdue else warning)(name, words)


def _server(patient: Patient) -> Iterator[Finding]:
    """The queue server, asked now."""
    from console.monitors._queue_client import ask
    from console.system.accounts import described, user_id
    from console.system.host.json_http import HttpError
    from console.system.paths import trusted_uids
    from console.system.processes import port_owners

    url = patient.settings.queue.address
    ours = trusted_uids() | {user_id(role) for role in patient.settings.all_roles()}
    for uid in sorted(port_owners.accounts(url) - ours):
        words = f"{url}: a process of {described(uid)} listens there: what it says is believed"
        yield warning("queue server", words)
    try:
        ask(patient.settings, "/api/health")
    except HttpError as error:
        yield fails("queue server", f"{url}: {error}")
    else:
        yield ok("queue server", f"{url} answers")


def _session(patient: Patient) -> Iterator[Finding]:
    """Whether this system ends the monitors at log-out."""
    from console.system.host import logind, systemd_unit

    if not os.path.isdir("/run/systemd/system"):
        yield ok("log-out", "no systemd: detached processes live on")
        return
    name = logind.user()
    installed = systemd_unit.path(patient.state).exists()
    well, words = outlives(name, logind.ends_sessions(name), installed, logind.lingers(name))
    yield ok("log-out", words) if well else fails("log-out", words)


def outlives(name: str, ended: bool, installed: bool, lingers: bool) -> tuple[bool, str]:
    """Whether the daemon outlives the last log-out, detached or as a user's unit; and how."""
    linger = f"loginctl enable-linger {name}"
    if installed and lingers:
        return True, "the monitors are a user unit, and lingering is on"
    if installed:
        return False, f"the user unit ends with the last log-out: {linger}"
    if not ended:
        return True, "detached processes live on (KillUserProcesses=no)"
    words = f"the monitors end at log-out (KillUserProcesses=yes): {step('daemon install')}"
    return False, words if lingers else f"{words}; {linger}"


def _terminal(patient: Patient) -> Iterator[Finding]:
    import locale

    from console.cli.commands.tui import refuse_terminal

    refusal = refuse_terminal()
    yield ok("terminal", refusal or f"TERM={os.environ.get('TERM')}")
    encoding = locale.getencoding()
    utf8 = "utf" in encoding.lower()
    yield ok("encoding", encoding if utf8 else f"{encoding}: drawn in ASCII")
    if os.environ.get("SSH_CONNECTION"):
        yield ok("ssh", "mouse capture is off; selecting text is the terminal's own")


_CHECKS = (
    _versions, _kernel, _configuration, _theme, _state, _daemon, _server, _session, _terminal,
)  # fmt: skip
