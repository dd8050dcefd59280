"""`completion`: prints the completion script of a shell."""

from __future__ import annotations

import click

from console.cli.output import print_raw


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: eval "$(rpa-console completion bash)" in ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    group = click.get_current_context().find_root().command
    print_raw(kind(group, {}, "rpa-console", "_RPA_CONSOLE_COMPLETE").source())
