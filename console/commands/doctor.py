"""`doctor`: what the console relies on here, and what is wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import click

from console.cli import BAD, Options, pass_options, put, put_json

Finding = tuple[str, bool, str]
"""What was looked at, whether it is well, and what was seen."""


@click.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def doctor(options: Options, as_json: bool) -> None:
    """Check what rpa-console relies on. Answers also with a broken configuration."""
    findings = [finding for check in _CHECKS for finding in _safely(check, options)]
    if as_json:
        rows = [{"check": name, "ok": well, "seen": seen} for name, well, seen in findings]
        put_json({"schema": 1, "findings": rows})
    else:
        for name, well, seen in findings:
            put(f"{'ok ' if well else 'BAD'}  {name:<16} {seen}")
    raise click.exceptions.Exit(0 if all(well for _, well, _ in findings) else BAD)


def _safely(check: Callable[[Options], Iterator[Finding]], options: Options) -> list[Finding]:
    try:
        return list(check(options))
    except Exception as error:
        return [(check.__name__.strip("_"), False, f"{type(error).__name__}: {error}")]


def _versions(options: Options) -> Iterator[Finding]:
    from importlib.metadata import version

    from console import __version__
    from console.system.store import sqlite_version

    yield "rpa-console", True, __version__
    yield "python", True, f"{sys.version.split()[0]} ({sys.executable})"
    names = ("textual", "psutil", "portalocker", "click", "msgspec", "apsw")
    yield "libraries", True, ", ".join(f"{name} {version(name)}" for name in names)
    sqlite = sqlite_version()
    fixed = tuple(int(part) for part in sqlite.split(".")) >= (3, 51, 3)
    yield "sqlite", fixed, f"{sqlite} (3.51.3 or newer: several may write one WAL)"


def _kernel(options: Options) -> Iterator[Finding]:
    import fcntl

    pidfd = hasattr(os, "pidfd_open")
    yield "pidfd", pidfd, "yes" if pidfd else "no: signals are checked, then sent"
    ofd = hasattr(fcntl, "F_OFD_SETLK")
    yield "locks", ofd, "open file description" if ofd else "flock"
    proc = os.path.isdir("/proc/self/fdinfo")
    yield "/proc", proc, "readable" if proc else "missing: psutil answers"


def _configuration(options: Options) -> Iterator[Finding]:
    from console.system.configuration import ConfigError, load

    path = options.find_config()
    try:
        load(path)
    except ConfigError as error:
        yield "configuration", False, str(error)
    else:
        yield "configuration", True, str(path or "none: the defaults are in force")


def _state(options: Options) -> Iterator[Finding]:
    from console.system.paths import PathError, Paths, check_private, network_filesystem
    from console.system.store import Store

    paths = Paths(options.find_state())
    if not paths.state.exists():
        yield "state", True, f"{paths.state} (not made yet)"
        return
    try:
        check_private(paths.state)
    except PathError as error:
        yield "state", False, str(error)
        return
    kind = network_filesystem(paths.state)
    yield (
        "state",
        kind is None,
        f"{paths.state}" + (f" on {kind}: locks do not hold" if kind else ""),
    )
    if paths.store.exists():
        store = Store(paths.store)
        damage = store.check()
        store.close()
        size = paths.store.stat().st_size
        yield "store", damage is None, damage or f"{paths.store} ({size // 1024} kB, whole)"


def _daemon(options: Options) -> Iterator[Finding]:
    from console.core.text import duration
    from console.monitors import discover
    from console.runtime.view import View

    with options.box(ephemeral=True) as box:
        view = View(box, discover())
        view.refresh()
        snapshot = view.compose()
    daemon = snapshot.daemon
    yield "daemon", daemon.running, f"PID {daemon.pid}" if daemon.running else daemon.reason
    for monitor in snapshot.monitors:
        since = monitor.last and duration(snapshot.moment.since(monitor.last.moment))
        bad = daemon.running and monitor.health.state in ("overdue", "unknown")
        yield (
            f"  {monitor.name}",
            not bad,
            (f"{monitor.health.state}, last looked {since} ago" if since else monitor.health.state),
        )


def _session(options: Options) -> Iterator[Finding]:
    """Whether this system ends the monitors at log-out."""
    from console.system import logind, unit

    if not os.path.isdir("/run/systemd/system"):
        yield "log-out", True, "no systemd: detached processes live on"
        return
    name = logind.user()
    yield (
        "log-out",
        *outlives(name, logind.ends_sessions(name), unit.path().exists(), logind.lingers(name)),
    )


def outlives(name: str, ended: bool, installed: bool, lingers: bool) -> tuple[bool, str]:
    """Whether the daemon outlives the last log-out, detached or as a user's unit; and how."""
    linger = f"loginctl enable-linger {name}"
    if installed and lingers:
        return True, "the monitors are a user unit, and lingering is on"
    if installed:
        return False, f"the user unit ends with the last log-out: {linger}"
    if not ended:
        return True, "detached processes live on (KillUserProcesses=no)"
    words = "the monitors end at log-out (KillUserProcesses=yes): rpa-console daemon install"
    return False, words if lingers else f"{words}; {linger}"


def _terminal(options: Options) -> Iterator[Finding]:
    import locale

    from console.commands.screen import refuse_terminal

    refusal = refuse_terminal()
    yield "terminal", True, refusal or f"TERM={os.environ.get('TERM')}"
    encoding = locale.getpreferredencoding(False)
    utf8 = "utf" in encoding.lower()
    yield "encoding", True, encoding if utf8 else f"{encoding}: drawn in ASCII"
    if os.environ.get("SSH_CONNECTION"):
        yield "ssh", True, "mouse capture is off; selecting text is the terminal's own"


_CHECKS = (_versions, _kernel, _configuration, _state, _daemon, _session, _terminal)
