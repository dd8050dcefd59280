"""`daemon`: runs, controls and installs the process that runs the monitors in the background."""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import suppress

import click

from console.cli.context import Options, current_actor, pass_options
from console.cli.output import fail, print_json, print_message, print_redacted
from console.core.exit_codes import FAILURE, UNREADABLE, USAGE
from console.core.model.commands import Outcome


@click.group()
def daemon() -> None:
    """The monitors' own process: one a box, detached, untouched by log-outs."""


@daemon.command()
@pass_options
def run(options: Options) -> None:
    """Run the monitors in the foreground, until SIGTERM."""
    from console.system.host.process_memory import reduce_memory

    reduce_memory()  # before other imports: an imported module stays in memory
    from console.core.text import command_hint
    from console.runtime.daemon import StateLost, run_daemon
    from console.system.locks.lease import LockFileError
    from console.system.store.store import StoreError

    # Command hints that the daemon writes need no options for the default box.
    command_hint.set_global_options(_non_default_arguments(options))
    state_lost_reason, has_ended = "", False
    while not has_ended:
        with options.open_box(repair=True, memory_fallback=True) as box:
            options.require_writable(box)
            try:
                if not run_daemon(box, state_lost_reason):
                    prefix = f"{state_lost_reason}; " if state_lost_reason else ""
                    fail(f"{prefix}another process runs this box's monitors", FAILURE)
                has_ended = True
            except StateLost as error:
                state_lost_reason = f"{error}; what the ledger and the store held is lost"
                print_message(f"{state_lost_reason}; a new state is begun")
            except (LockFileError, StoreError) as error:
                fail(str(error), UNREADABLE)
    sys.stdout.flush()
    # Do not wait for a thread that hangs on another program's file: all writes are complete.
    os._exit(0)


@daemon.command()
@pass_options
def start(options: Options) -> None:
    """Start the daemon, detached, unless it runs already."""
    from console.runtime.commands import start_daemon

    with options.open_box(repair=True, memory_fallback=True) as box:
        options.require_writable(box)
        _print_outcome_and_exit(start_daemon(box, current_actor()))


@daemon.command()
@pass_options
def stop(options: Options) -> None:
    """Stop the daemon. Workers keep running, unmonitored, until it is started again."""
    from console.runtime.commands import stop_daemon

    with options.open_box(memory_fallback=True) as box:
        options.require_writable(box)
        _print_outcome_and_exit(stop_daemon(box, current_actor()))


@daemon.command()
@pass_options
def reload(options: Options) -> None:
    """Make the daemon apply the changed configuration, without a gap in monitoring.

    It does so by itself within seconds, unless the change drops a role whose process runs.
    """
    from console.runtime.reload_request import reload_daemon

    with options.open_box(memory_fallback=True) as box:
        options.require_writable(box)
        _print_outcome_and_exit(reload_daemon(box))


@daemon.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Print whether the daemon runs. Exit code 0: it runs."""
    from console.core.text.formatting import format_duration, format_utc
    from console.runtime.daemon_facts import DAEMON_FACT, parse_daemon_fact
    from console.runtime.snapshots.store_view import StoreView
    from console.system.clock import now
    from console.system.store.store import StoreError

    with options.open_box(ephemeral=True, memory_fallback=True) as box:
        view, fact = StoreView(box, {}).daemon_view(), None
        with suppress(StoreError):
            fact = box.store.get_fact(DAEMON_FACT)
    version, troubles = parse_daemon_fact(fact, view.pid)
    if as_json:
        messages = [trouble.message for trouble in troubles]
        document = {"running": view.running, "pid": view.pid, "since": format_utc(view.since)}
        print_json(document | {"version": version or None, "troubles": messages})
    elif view.running and view.since is not None:
        suffix = f", version {version}" if version else ""
        print_redacted(
            f"running: PID {view.pid}, up {format_duration(now().since(view.since))}{suffix}"
        )
        for trouble in troubles:
            print_message(trouble.message)
    else:
        print_message(view.reason)
    raise click.exceptions.Exit(0 if view.running else FAILURE)


@daemon.command()
@pass_options
def install(options: Options) -> None:
    """Write a systemd user unit for the daemon, and print the commands to run next."""
    from console.core.text.command_hint import format_command
    from console.system import daemon_role as role
    from console.system.host import systemd_unit
    from console.system.paths import NoHomeDirectoryError

    options.require_writable()
    state = options.find_state_dir()
    try:
        path = systemd_unit.unit_path(state)
    except NoHomeDirectoryError as error:
        fail(str(error), USAGE)
    content = systemd_unit.unit_text(role.build_role(state, options.find_config()), str(state))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text("utf-8", "replace") != content:
            fail(f"{path}: is there already and differs; move it away first", FAILURE)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}", FAILURE)
    print_redacted(str(path))
    print_message("now run:")
    print_message(f"  {format_command('daemon stop')}; systemctl --user daemon-reload")
    print_message(f"  systemctl --user enable --now {path.name}")
    print_message("  loginctl enable-linger    # or it ends with your last log-out")


def _non_default_arguments(options: Options) -> list[str]:
    """Return the options as arguments, without those that name the user's default box."""
    from console.system.paths import (
        NoHomeDirectoryError,
        default_config_file,
        default_state_directory,
    )

    with contextlib.suppress(NoHomeDirectoryError):
        own_config, own_state = default_config_file(), default_state_directory()
        config = None if options.find_config() == own_config else options.config_path
        state = None if options.find_state_dir() == own_state else options.state_dir
        return Options(config, state, False).to_arguments()
    return options.to_arguments()


def _print_outcome_and_exit(outcome: Outcome) -> None:
    (print_redacted if outcome.done else print_message)(outcome.message)
    raise click.exceptions.Exit(outcome.code)
