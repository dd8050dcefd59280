"""`ensure`, `restart`, `kill`: run commands through the guard that the console's keys use."""

from __future__ import annotations

import sys

import click

from console.cli.context import Options, current_actor, pass_options
from console.cli.output import fail, print_json, print_message, print_redacted
from console.core.exit_codes import FAILURE
from console.core.model.commands import Command, Outcome, Verb

_role_argument = click.argument("role", default="worker")
_json_option = click.option("--json", "as_json", is_flag=True, help="The outcome as a document.")
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_force_option = click.option("--force", is_flag=True, help="No grace period: end it at once.")


@click.command()
@_role_argument
@click.option("--yes", "-y", is_flag=True, help="End surplus; start beside another user's worker.")
@_dry_run_option
@_json_option
@pass_options
def ensure(options: Options, role: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Make sure that ROLE (the worker) runs in the configured number of instances.

    Starts it if it is missing, adopts it if it runs already. Without --yes it ends nothing: if too
    many run, it says so and exits with 1. It answers once the new worker has outlived its settle
    time.
    """
    command = Command(Verb.ENSURE, role, current_actor(), force=yes, dry_run=dry_run)
    _run_command(options, command, as_json, True)


@click.command()
@_role_argument
@_force_option
@_yes_option
@_dry_run_option
@_json_option
@pass_options
def restart(
    options: Options, role: str, force: bool, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """End ROLE (the worker) gracefully and start it again."""
    command = Command(Verb.RESTART, role, current_actor(), force=force, dry_run=dry_run)
    _run_command(options, command, as_json, yes)


@click.command()
@_role_argument
@click.option("--duplicates", is_flag=True, help="Only what is more than wanted.")
@_force_option
@_yes_option
@_dry_run_option
@_json_option
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
    command = Command(verb, role, current_actor(), force=force, dry_run=dry_run)
    _run_command(options, command, as_json, yes)


def _run_command(options: Options, command: Command, as_json: bool, is_confirmed: bool) -> None:
    from console.core.records import replace
    from console.system import daemon_settings
    from console.system.guard.guard import Guard

    with options.open_box(repair=not command.dry_run, memory_fallback=True) as box:
        guard = Guard(box)
        if not command.dry_run:
            options.require_writable(box)
            if not is_confirmed:
                _confirm(guard.carry_out(replace(command, dry_run=True)))
        outcome = guard.carry_out(command)
        for mismatch in daemon_settings.settings_mismatch(box):
            print_message(f"note: {mismatch}")
    if as_json:
        print_json(_outcome_document(command, outcome))
    else:
        (print_redacted if outcome.done else print_message)(outcome.message)
    raise click.exceptions.Exit(outcome.code)


def _confirm(dry_run_outcome: Outcome) -> None:
    """Ask the operator to confirm the consequence that the dry run reports.

    Without a terminal on standard input, refuse: the command needs --yes. Return without a question
    if the dry run was refused.
    """
    from console.core.text.formatting import sanitize_text

    if not dry_run_outcome.done:
        return
    if not sys.stdin.isatty():
        fail(f"{dry_run_outcome.message}; nobody to ask here: add --yes", FAILURE)
    if not click.confirm(f"{sanitize_text(dry_run_outcome.message)}. Go on?", err=True):
        fail("nothing was done", FAILURE)


def _outcome_document(command: Command, outcome: Outcome) -> dict[str, object]:
    return {
        "schema": 1,
        "command": command.verb.value,
        "role": command.role,
        "done": outcome.done,
        "changed": outcome.changed,
        "pid": outcome.pid,
        "message": outcome.message,
    }
