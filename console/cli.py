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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from console import __version__
from console.core import limits, program
from console.core.frozen import frozen

if TYPE_CHECKING:
    from console.system.box import Box

OK, BAD, USAGE, UNREADABLE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 130

_COMMANDS = {
    "status": "status",
    "ensure": "act",
    "restart": "act",
    "kill": "act",
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
"""Command -> the file of `console/commands` that holds it."""


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

        module = import_module(f"console.commands.{_COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command


@frozen
class Options:
    """The global options, as given."""

    config: Path | None
    state: Path | None
    read_only: bool

    def find_config(self) -> Path | None:
        """The configuration file: the one that was named, or the user's own if there is one."""
        from console.system.paths import NoHome, default_config

        if self.config is not None:
            return _place(self.config)
        try:
            default = default_config()
        except NoHome:
            return None
        try:
            return default if default.exists() else None
        except OSError:
            return default  # who reads it is told why that cannot be

    def find_state(self) -> Path:
        """The state directory."""
        from console.system.paths import NoHome, default_state

        try:
            return _place(self.state or default_state())
        except NoHome as error:
            fail(str(error), USAGE)

    @contextmanager
    def box(
        self, ephemeral: bool = False, mends: bool = False, stands_in: bool = False
    ) -> Iterator[Box]:
        """The box these options name; what is wrong with it ends the program with a clear word.

        The arguments are those of `open_box`.
        """
        from console.system.box import open_box
        from console.system.configuration import ConfigError, load
        from console.system.paths import PathError
        from console.system.store import StoreError

        try:
            config = self.find_config()
            settings = load(config)
            state, mends = self.find_state(), mends and not (self.read_only or settings.read_only)
            with open_box(settings, state, config, ephemeral, mends, stands_in) as box:
                yield box
        except ConfigError as error:
            fail(str(error), USAGE)
        except (PathError, StoreError) as error:
            fail(str(error), UNREADABLE)

    def given(self) -> list[str]:
        """The options that name the box, as words of a command line."""
        config, state = self.config, self.state
        named = ["--config", os.path.abspath(os.path.expanduser(config))] if config else []
        if state:
            named += ["--state-dir", os.path.abspath(os.path.expanduser(state))]
        return named

    def writable(self, box: Box | None = None) -> None:
        """Refuse what would change anything, where that was asked for."""
        if self.read_only or (box is not None and box.settings.read_only):
            fail("read-only: nothing was done", BAD)


def _place(path: Path) -> Path:
    """The path, absolute, of a file or directory that was named."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # SQLite, systemd and JSON have every path in UTF-8
        fail(f"{path}: its name is not valid UTF-8; choose another place", USAGE)
    return Path(os.path.expanduser(path)).absolute()


def say(words: str) -> None:
    """Words for a person: standard error. They may quote a file that somebody else wrote."""
    from console.core.text import visible

    click.echo("\n".join(visible(line) for line in words.split("\n")), err=True)


def fail(words: str, code: int) -> NoReturn:
    """End with a clear word and an exit code."""
    say(f"rpa-console: {words}")
    raise click.exceptions.Exit(code)


def put(text: str) -> None:
    """Print data on standard output, without secrets and without what a terminal obeys."""
    from console.core.redact import redact
    from console.core.text import visible

    put_raw("\n".join(visible(line, len(line)) for line in redact(text).split("\n")))


def put_raw(text: str) -> None:
    """Print text of our own as it is: a script, an address. A closed pipe ends the program."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _hang_up()
        raise click.exceptions.Exit(OK) from None


def _hang_up() -> None:
    """Standard output leads nowhere from here on: Python flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def put_json(value: Any, indent: int | None = 2) -> None:
    """Print a document on standard output, without secrets; other scripts stay readable."""
    import json

    from console.core.redact import values
    from console.core.text import json_escaped

    put_raw(json_escaped(json.dumps(values(value), ensure_ascii=not _utf8(), indent=indent)))


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def actor(via: str = "cli") -> str:
    """Who is asking: `cli:ana@pts/3`."""
    import getpass

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid()) if hasattr(os, "getuid") else "?"
    for stream in (0, 1, 2):
        try:
            return f"{via}:{name}@{os.ttyname(stream).removeprefix('/dev/')}"
        except OSError:
            continue
    return f"{via}:{name}"


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
    program.use(context.obj.given())
    if context.invoked_subcommand in _ACTING and not sys.platform.startswith("linux"):
        from console.system.proc import unsupported

        fail(unsupported() or "", USAGE)
    if context.invoked_subcommand is None:
        from console.commands.screen import open_console

        context.exit(open_console(context.obj, no_daemon, theme, ascii_only, mouse))


pass_options = click.make_pass_decorator(Options)


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
    if reason := limits.reached(error):
        _tell(reason)
    elif isinstance(error, OSError):  # standard output on a full disk, above all
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        _tell(f"{where}{error.strerror or error}")
        code = BAD
    else:
        _tell_unforeseen(error)
    with suppress(OSError):
        _hang_up()
    return code


def _tell_unforeseen(error: BaseException | None) -> None:
    words = f"{type(error).__name__}: {error}"[:500]
    more = "" if _debugging() else "; run with RPA_CONSOLE_DEBUG=1 to see the traceback"
    _tell((error and limits.reached(error)) or f"internal error: {words}{more}")


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
