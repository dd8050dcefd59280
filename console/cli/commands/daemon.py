"""`daemon`: who runs the monitors when nobody looks."""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import suppress

import click

from console.cli.context import Options, actor, pass_options
from console.cli.output import fail, put, put_json, say
from console.core.exit_codes import FAILURE, UNREADABLE, USAGE
from console.core.model import Outcome


@click.group()
def daemon() -> None:
    """The monitors' own process: one a box, detached, untouched by log-outs."""


@daemon.command()
@pass_options
def run(options: Options) -> None:
    """Run the monitors in the foreground, until SIGTERM."""
    from console.system.host.process_memory import be_lean

    be_lean()  # first of all: what is imported stays
    from console.core.text import command_hint
    from console.runtime.daemon import StateLost, run_daemon
    from console.system.locks.lease import LeaseError
    from console.system.store.store import StoreError

    command_hint.use(
        _named(options)
    )  # the advice that it writes needs no option for the default box
    lost, ended = "", False
    while not ended:
        with options.box(mends=True, stands_in=True) as box:
            options.writable(box)
            try:
                if not run_daemon(box, lost):
                    about = f"{lost}; " if lost else ""
                    fail(f"{about}another process runs this box's monitors", FAILURE)
                ended = True
            except StateLost as error:
                lost = f"{error}; what the ledger and the store held is lost"
                say(f"{lost}; a new state is begun")
            except (LeaseError, StoreError) as error:
                fail(str(error), UNREADABLE)
    sys.stdout.flush()
    os._exit(0)  # a thread that hangs in a foreign file must not keep us: nothing is half written


@daemon.command()
@pass_options
def start(options: Options) -> None:
    """Start it, detached, unless it runs."""
    from console.runtime.commands import start_daemon

    with options.box(mends=True, stands_in=True) as box:
        options.writable(box)
        _finish(start_daemon(box, actor()))


@daemon.command()
@pass_options
def stop(options: Options) -> None:
    """End it. Workers live on; nobody watches them until it is started again."""
    from console.runtime.commands import stop_daemon

    with options.box(stands_in=True) as box:
        options.writable(box)
        _finish(stop_daemon(box, actor()))


@daemon.command()
@pass_options
def reload(options: Options) -> None:
    """Have it take over the configuration as it is by now, without a gap in monitoring.

    It does so by itself within seconds, unless a role would be lost whose process runs.
    """
    from console.runtime.reload_request import reload_daemon

    with options.box(stands_in=True) as box:
        options.writable(box)
        _finish(reload_daemon(box))


@daemon.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Say whether it runs. Exit code 0: it does."""
    from console.core.text.formatting import duration, utc
    from console.runtime.daemon_facts import DAEMON, told
    from console.runtime.snapshots.store_view import View
    from console.system.clock import now
    from console.system.store.store import StoreError

    with options.box(ephemeral=True, stands_in=True) as box:
        view, fact = View(box, {}).daemon(), None
        with suppress(StoreError):
            fact = box.store.get(DAEMON)
    version, troubles = told(fact, view.pid)
    if as_json:
        words = [one.words for one in troubles]
        seen = {"running": view.running, "pid": view.pid, "since": utc(view.since)}
        put_json(seen | {"version": version or None, "troubles": words})
    elif view.running and view.since is not None:
        known = f", version {version}" if version else ""
        put(f"running: PID {view.pid}, up {duration(now().since(view.since))}{known}")
        for one in troubles:
            say(one.words)
    else:
        say(view.reason)
    raise click.exceptions.Exit(0 if view.running else FAILURE)


@daemon.command()
@pass_options
def install(options: Options) -> None:
    """Write a systemd user unit for it, and say what to run next."""
    from console.core.text.command_hint import step
    from console.system import daemon_role as role
    from console.system.host import systemd_unit
    from console.system.paths import NoHome

    options.writable()
    state = options.find_state()
    try:
        path = systemd_unit.path(state)
    except NoHome as error:
        fail(str(error), USAGE)
    content = systemd_unit.text(role.role(state, options.find_config()), str(state))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text("utf-8", "replace") != content:
            fail(f"{path}: is there already and differs; move it away first", FAILURE)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}", FAILURE)
    put(str(path))
    say("now run:")
    say(f"  {step('daemon stop')}; systemctl --user daemon-reload")
    say(f"  systemctl --user enable --now {path.name}")
    say("  loginctl enable-linger    # or it ends with your last log-out")


def _named(options: Options) -> list[str]:
    """The options without those that name the user's own, default box."""
    from console.system.paths import NoHome, default_config, default_state

    with contextlib.suppress(NoHome):
        own_config, own_state = default_config(), default_state()
        config = None if options.find_config() == own_config else options.config
        state = None if options.find_state() == own_state else options.state
        return Options(config, state, False).given()
    return options.given()


def _finish(outcome: Outcome) -> None:
    (put if outcome.done else say)(outcome.message)
    raise click.exceptions.Exit(outcome.code)
