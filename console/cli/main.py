"""The command line: global options, and commands whose modules are imported on demand.

Data goes to standard output, messages to standard error. Exit codes: 0 healthy or done, 1 not
healthy or refused, 2 usage or configuration, 3 state cannot be read, 4 timed out, 130 interrupted.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

gc.set_threshold(100_000)  # a command needs its objects until it ends: avoid collections

import io
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from console import __version__
from console.cli.context import Options
from console.cli.output import discard_stdout, fail, print_message
from console.core import resource_limits
from console.core.exit_codes import FAILURE, INTERRUPTED, OK, UNREADABLE, USAGE
from console.core.text import command_hint

_COMMAND_MODULES = {
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
"""Command -> the module of `console/cli/commands` that defines it."""


_LINUX_ONLY_COMMANDS = (
    None,
    "ensure",
    "restart",
    "kill",
    "daemon",
    "canary",
    "baseline",
    "demo",
    "serve",
)
"""The commands that start, end or monitor processes. None stands for the console."""


def _import_msgspec() -> None:
    """Import msgspec without its optional import of typing_extensions: 3 ms and 1 MB less."""
    from console.system.host.process_memory import block_imports

    with block_imports("typing_extensions"):
        import msgspec  # noqa: F401


class LazyGroup(click.Group):
    """A command group that imports a command's module when the command is requested."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMAND_MODULES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMAND_MODULES:
            return None
        from importlib import import_module

        _import_msgspec()
        module = import_module(f"console.cli.commands.{_COMMAND_MODULES[name]}")
        command: click.Command = getattr(module, name)
        return command


PATH_TYPE = click.Path(path_type=Path, readable=False)
"""Click does not check readability: the code that reads the path reports the error itself."""


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 healthy or done, 1 not healthy or refused, 2 usage or configuration, "
    "3 state cannot be read, 4 timed out, 130 interrupted.",
)
@click.option(
    "--config", type=PATH_TYPE, envvar="RPA_CONSOLE_CONFIG", metavar="FILE",
    help="Configuration file (environment: RPA_CONSOLE_CONFIG).",
)  # fmt: skip
@click.option(
    "--state-dir", type=PATH_TYPE, envvar="RPA_CONSOLE_STATE_DIR", metavar="DIR",
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
    command_hint.set_global_options(context.obj.to_arguments())
    if context.invoked_subcommand in _LINUX_ONLY_COMMANDS and not sys.platform.startswith("linux"):
        from console.system.processes.procfs import platform_error

        fail(platform_error() or "", USAGE)
    if context.invoked_subcommand is None:
        _import_msgspec()
        from console.cli.commands.tui import open_console

        context.exit(open_console(context.obj, no_daemon, theme, ascii_only, mouse))


def main() -> None:
    """Run the command line and exit the process with its code."""
    if not _is_debug_mode():
        sys.unraisablehook = lambda _: None  # no traceback of an error in a finalizer
        threading.excepthook = lambda about: _print_unexpected_error(about.exc_value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Use the terminal's encoding, also in UTF-8 mode. Escape unencodable characters.
            stream.reconfigure(encoding=_terminal_encoding(stream), errors="backslashreplace")
    try:
        code = rpa_console.main(prog_name="rpa-console", standalone_mode=False)
    except click.exceptions.Abort:
        print_message("interrupted")
        code = INTERRUPTED
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        print_message(words.getvalue().rstrip("\n"))
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = _report_unexpected_error(error)
    _exit_process(code if isinstance(code, int) else OK)


def _terminal_encoding(stream: io.TextIOWrapper) -> str:
    if sys.flags.utf8_mode and "PYTHONIOENCODING" not in os.environ:
        import locale

        return locale.getencoding()
    return stream.encoding


def _is_debug_mode() -> bool:
    return os.environ.get("RPA_CONSOLE_DEBUG", "") not in ("", "0")


def _report_unexpected_error(error: Exception) -> int:
    """Print one line about an error that no command has handled; return the exit code."""
    if _is_debug_mode():
        sys.excepthook(type(error), error, error.__traceback__)
    code = UNREADABLE
    if reason := resource_limits.limit_message(error):
        _print_error_safely(reason)
    elif isinstance(error, OSError):  # for example, standard output on a full disk
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        _print_error_safely(f"{where}{error.strerror or error}")
        code = FAILURE
    else:
        _print_unexpected_error(error)
    with suppress(OSError):
        discard_stdout()
    return code


def _print_unexpected_error(error: BaseException | None) -> None:
    words = f"{type(error).__name__}: {error}"[:500]
    more = "" if _is_debug_mode() else "; run with RPA_CONSOLE_DEBUG=1 to see the traceback"
    _print_error_safely(
        (error and resource_limits.limit_message(error)) or f"internal error: {words}{more}"
    )


def _print_error_safely(message: str) -> None:
    """Call `print_message`, or write to descriptor 2 if that fails.

    The process may be unable to import modules, open files or allocate memory.
    """
    try:
        print_message(f"rpa-console: {message}")
    except Exception:
        with suppress(OSError):
            os.write(2, b"rpa-console: " + message.encode("ascii", "backslashreplace") + b"\n")


def _exit_process(exit_code: int) -> NoReturn:
    """Flush the standard streams and exit without finalizing the interpreter.

    By now all files are written and closed, and the kernel frees the memory faster than Python
    does. If other threads are alive, exit with `sys.exit`, which waits for them.
    """
    if threading.active_count() > 1:
        sys.exit(exit_code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # the caller has closed the stream
            stream.flush()
    os._exit(exit_code)
