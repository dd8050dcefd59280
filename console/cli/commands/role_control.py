"""`ensure`, `restart`, `kill`: the same guard as behind the console's keys."""

from __future__ import annotations

import sys

import click

from console.cli.context import Options, actor, pass_options
from console.cli.output import fail, put, put_json, say
from console.core.exit_codes import FAILURE
from console.core.model import Command, Outcome, Verb

_role = click.argument("role", default="worker")
_json = click.option("--json", "as_json", is_flag=True, help="The outcome as a document.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_force = click.option("--force", is_flag=True, help="No grace period: end it at once.")


@click.command()
@_role
@click.option("--yes", "-y", is_flag=True, help="End surplus; start beside another user's worker.")
@_dry_run
@_json
@pass_options
def ensure(options: Options, role: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """See to it that ROLE (the worker) runs, exactly as often as is wanted.

    Starts it if it is missing, adopts it if it is there. It ends nothing: where too many run, it
    says so and exits with 1. It answers when the new worker has outlived its settle time.
    """
    command = Command(Verb.ENSURE, role, actor(), force=yes, dry_run=dry_run)
    _carry_out(options, command, as_json, True)


@click.command()
@_role
@_force
@_yes
@_dry_run
@_json
@pass_options
def restart(
    options: Options, role: str, force: bool, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """End ROLE (the worker) gracefully and start it again."""
    command = Command(Verb.RESTART, role, actor(), force=force, dry_run=dry_run)
    _carry_out(options, command, as_json, yes)


@click.command()
@_role
@click.option("--duplicates", is_flag=True, help="Only what is more than wanted.")
@_force
@_yes
@_dry_run
@_json
@pass_options
def kill(
    options: Options,
    role: str,
    duplicates: bool,
    force: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End ROLE (the worker) with its whole tree; policy leaves it ended until an ensure."""
    verb = Verb.END_DUPLICATES if duplicates else Verb.KILL
    command = Command(verb, role, actor(), force=force, dry_run=dry_run)
    _carry_out(options, command, as_json, yes)


def _carry_out(options: Options, command: Command, as_json: bool, sure: bool) -> None:
    from console.core.frozen import replace
    from console.system import daemon_settings
    from console.system.guard.guard import Guard

    with options.box(mends=not command.dry_run, stands_in=True) as box:
        guard = Guard(box)
        if not command.dry_run:
            options.writable(box)
            if not sure:
                _ask(guard.carry_out(replace(command, dry_run=True)))
        outcome = guard.carry_out(command)
        for words in daemon_settings.unlike(box):
            say(f"note: {words}")
    if as_json:
        put_json(_document(command, outcome))
    else:
        (put if outcome.done else say)(outcome.message)
    raise click.exceptions.Exit(outcome.code)


def _ask(rehearsal: Outcome) -> None:
    """A terminal is asked by consequence; a pipe must say --yes."""
    from console.core.text.formatting import visible

    if not rehearsal.done:
        return
    if not sys.stdin.isatty():
        fail(f"{rehearsal.message}; nobody to ask here: add --yes", FAILURE)
    if not click.confirm(f"{visible(rehearsal.message)}. Go on?", err=True):
        fail("nothing was done", FAILURE)


def _document(command: Command, outcome: Outcome) -> dict[str, object]:
    return {
        "schema": 1,
        "command": command.verb.value,
        "role": command.role,
        "done": outcome.done,
        "changed": outcome.changed,
        "pid": outcome.pid,
        "message": outcome.message,
    }
