"""The command line: global options, and commands that are imported only when they are asked for.

Data goes to standard output, words to standard error. Exit codes: 0 healthy or done, 1 not healthy
or refused, 2 usage or configuration, 3 state cannot be read, 4 timed out, 130 interrupted.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

gc.set_threshold(100_000)  # what a command makes is needed until it ends: none is looked for

import io
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from console import __version__
from console.cli.context import Options
from console.cli.output import fail, hang_up, say
from console.core import resource_limits
from console.core.exit_codes import FAILURE, INTERRUPTED, OK, UNREADABLE, USAGE
from console.core.text import command_hint

if TYPE_CHECKING:
    pass

_COMMANDS = {
    "status": "status",
    "ensure": "role_control",
    "restart": "role_control",
    "kill": "role_control",
    "events": "events",
    "why": "why",
    "alerts": "alerts",
    "report": "report",
    "baseline": "baseline",
    "canary": "canary",
    "daemon": "daemon",
    "config": "config",
    "doctor": "doctor",
    "demo": "demo",
    "serve": "serve",
    "completion": "completion",
}
"""Command -> the file of `console/cli/commands` that holds it."""


_ACTING = (None, "ensure", "restart", "kill", "daemon", "canary", "baseline", "demo", "serve")
"""The commands that start, end or watch processes; None: the console."""


class LazyGroup(click.Group):
    """Imports a command's file when the command is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        from importlib import import_module

        module = import_module(f"console.cli.commands.{_COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command


PATH = click.Path(path_type=Path, readable=False)
"""Whether it can be read is found out, and said in our words, by who reads it."""


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 healthy or done, 1 not healthy or refused, 2 usage or configuration, "
    "3 state cannot be read, 4 timed out, 130 interrupted.",
)
@click.option(
    "--config", type=PATH, envvar="RPA_CONSOLE_CONFIG", metavar="FILE",
    help="Configuration file (environment: RPA_CONSOLE_CONFIG).",
)  # fmt: skip
@click.option(
    "--state-dir", type=PATH, envvar="RPA_CONSOLE_STATE_DIR", metavar="DIR",
    help="Where locks, logs and the store are (environment: RPA_CONSOLE_STATE_DIR).",
)  # fmt: skip
@click.option("--read-only", is_flag=True, help="Look, and refuse whatever would change anything.")
@click.option("--no-daemon", is_flag=True, help="Run the monitors in the console itself.")
@click.option("--theme", metavar="NAME", help="The console's theme.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
@click.option(
    "--mouse/--no-mouse", default=None, help="Take the mouse, or leave it to the terminal."
)
@click.version_option(__version__, prog_name="rpa-console")
@click.pass_context
def rpa_console(
    context: click.Context,
    config: Path | None,
    state_dir: Path | None,
    read_only: bool,
    no_daemon: bool,
    theme: str | None,
    ascii_only: bool,
    mouse: bool | None,
) -> None:
    """See whether the automation is truly working, and make it right with one key.

    Without a command the console opens.
    """
    context.obj = Options(config, state_dir, read_only)
    command_hint.use(context.obj.given())
    if context.invoked_subcommand in _ACTING and not sys.platform.startswith("linux"):
        from console.system.processes.procfs import unsupported

        fail(unsupported() or "", USAGE)
    if context.invoked_subcommand is None:
        from console.cli.commands.tui import open_console

        context.exit(open_console(context.obj, no_daemon, theme, ascii_only, mouse))


def main() -> None:
    """Do as the command line says."""
    if not _debugging():
        sys.unraisablehook = lambda _: None  # a traceback from the end of an object helps no one
        threading.excepthook = lambda about: _tell_unforeseen(about.exc_value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The terminal's encoding, also in UTF-8 mode; a narrow locale loses no command.
            stream.reconfigure(encoding=_spoken(stream), errors="backslashreplace")
    try:
        code = rpa_console.main(prog_name="rpa-console", standalone_mode=False)
    except click.exceptions.Abort:
        say("interrupted")
        code = INTERRUPTED
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        say(words.getvalue().rstrip("\n"))
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = _unforeseen(error)
    _leave(code if isinstance(code, int) else OK)


def _spoken(stream: io.TextIOWrapper) -> str:
    if sys.flags.utf8_mode and "PYTHONIOENCODING" not in os.environ:
        import locale

        return locale.getencoding()
    return stream.encoding


def _debugging() -> bool:
    return os.environ.get("RPA_CONSOLE_DEBUG", "") not in ("", "0")


def _unforeseen(error: Exception) -> int:
    """Tell in one line what no command has foreseen; the exit code."""
    if _debugging():
        sys.excepthook(type(error), error, error.__traceback__)
    code = UNREADABLE
    if reason := resource_limits.reached(error):
        _tell(reason)
    elif isinstance(error, OSError):  # standard output on a full disk, above all
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        _tell(f"{where}{error.strerror or error}")
        code = FAILURE
    else:
        _tell_unforeseen(error)
    with suppress(OSError):
        hang_up()
    return code


def _tell_unforeseen(error: BaseException | None) -> None:
    words = f"{type(error).__name__}: {error}"[:500]
    more = "" if _debugging() else "; run with RPA_CONSOLE_DEBUG=1 to see the traceback"
    _tell((error and resource_limits.reached(error)) or f"internal error: {words}{more}")


def _tell(words: str) -> None:
    """`say`, where perhaps nothing more can be imported, opened or kept in memory."""
    try:
        say(f"rpa-console: {words}")
    except Exception:
        with suppress(OSError):
            os.write(2, b"rpa-console: " + words.encode("ascii", "backslashreplace") + b"\n")


def _leave(code: int) -> NoReturn:
    """End at once: all is closed and written, and the kernel takes back what is left faster than
    Python goes through it. A thread that still works is waited for, though.
    """
    if threading.active_count() > 1:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # closed by who called us; nobody is left to tell
            stream.flush()
    os._exit(code)
