"""Writes to standard output and standard error, and ends the program with an exit code.

Data goes to standard output, messages to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from console.core.exit_codes import OK


def say(words: str) -> None:
    """Words for a person: standard error. They may quote a file that somebody else wrote."""
    from console.core.text.formatting import visible

    click.echo("\n".join(visible(line) for line in words.split("\n")), err=True)


def fail(words: str, code: int) -> NoReturn:
    """End with a clear word and an exit code."""
    say(f"rpa-console: {words}")
    raise click.exceptions.Exit(code)


def put(text: str) -> None:
    """Print data on standard output, without secrets and without what a terminal obeys."""
    from console.core.secret_redaction import redact
    from console.core.text.formatting import visible

    put_raw("\n".join(visible(line, len(line)) for line in redact(text).split("\n")))


def put_raw(text: str) -> None:
    """Print text of our own as it is: a script, an address. A closed pipe ends the program."""
    try:
        click.echo(text)
    except BrokenPipeError:
        hang_up()
        raise click.exceptions.Exit(OK) from None


def hang_up() -> None:
    """Standard output leads nowhere from here on: Python flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def put_json(value: Any, indent: int | None = 2) -> None:
    """Print a document on standard output, without secrets; other scripts stay readable."""
    import json

    from console.core.secret_redaction import values
    from console.core.text.formatting import json_escaped

    put_raw(json_escaped(json.dumps(values(value), ensure_ascii=not _utf8(), indent=indent)))


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
