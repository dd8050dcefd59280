"""`completion`: what a shell needs to complete our commands."""

from __future__ import annotations

import click

from console.cli import put_raw


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: eval "$(rpa-console completion bash)" in ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    from console.cli import rpa_console

    kind = get_completion_class(shell)
    assert kind is not None
    put_raw(kind(rpa_console, {}, "rpa-console", "_RPA_CONSOLE_COMPLETE").source())
