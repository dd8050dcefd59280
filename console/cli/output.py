"""Writes to standard output and standard error, and ends the program with an exit code.

Data goes to standard output, messages to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from console.core.exit_codes import OK


def print_message(message: str) -> None:
    """Print a message on standard error, with secrets masked and control characters escaped.

    The message may quote a file of another user or program.
    """
    from console.core.text.formatting import sanitize_text

    click.echo("\n".join(sanitize_text(line) for line in message.split("\n")), err=True)


def fail(message: str, exit_code: int) -> NoReturn:
    """End the program with an error message and an exit code."""
    print_message(f"rpa-console: {message}")
    raise click.exceptions.Exit(exit_code)


def print_redacted(text: str) -> None:
    """Print data on standard output, with secrets masked and control characters escaped.

    A closed pipe ends the program.
    """
    from console.core.secret_redaction import redact
    from console.core.text.formatting import sanitize_text

    print_raw("\n".join(sanitize_text(line, len(line)) for line in redact(text).split("\n")))


def print_raw(text: str) -> None:
    """Print the program's own text, such as a script or an address, unchanged.

    A closed pipe ends the program.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        discard_stdout()
        raise click.exceptions.Exit(OK) from None


def discard_stdout() -> None:
    """Redirect standard output to /dev/null, because Python flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a document as JSON on standard output, with secrets masked.

    Non-ASCII letters stay readable if standard output is UTF-8; otherwise they are escaped.
    """
    import json

    from console.core.secret_redaction import redact_values
    from console.core.text.formatting import escape_json

    print_raw(
        escape_json(
            json.dumps(redact_values(value), ensure_ascii=not _is_stdout_utf8(), indent=indent)
        )
    )


def _is_stdout_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
