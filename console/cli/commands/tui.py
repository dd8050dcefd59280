"""The program without a command: opens the console on the box."""

from __future__ import annotations

import gc
import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.context import Options, current_actor
from console.cli.output import print_message
from console.core.exit_codes import USAGE
from console.core.text.command_hint import format_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from console.core.handover.model import Handover
    from console.core.model.commands import Command, Outcome
    from console.core.model.snapshot import Snapshot
    from console.core.model.time import Moment
    from console.core.trends import Trends
    from console.runtime.loop import Runtime
    from console.runtime.snapshots.store_view import StoreView
    from console.system.box import Box
    from console.system.locks.ofd_lock import HeldLock
    from console.ui.ports import ConsolePorts, Feed, LogReader, Publish

    Submit = Callable[[Command], Awaitable[Outcome]]


def open_console(
    options: Options, no_daemon: bool, theme: str | None, ascii_only: bool, mouse: bool | None
) -> int:
    """Open the console on the box that the options name; return its exit code."""
    if refusal := terminal_refusal():
        print_message(f"rpa-console: {refusal}; try: {format_command('status')}")
        return USAGE
    from console.ui.keymap import find_keymap_errors

    with options.open_box(repair=not options.read_only, memory_fallback=True) as box:
        for error_text in (keymap_errors := find_keymap_errors(box.settings.screen.keys)):
            print_message(f"{box.config_path}: {error_text}")
        if keymap_errors:
            return USAGE
        read_only = options.read_only or box.settings.read_only
        return run_console(box, read_only, no_daemon, theme, ascii_only, mouse)


def terminal_refusal() -> str | None:
    """Return the reason why the console cannot be drawn on this terminal, or None if it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "the console needs a terminal"
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        return f"the console cannot be drawn with TERM={os.environ.get('TERM', '')!r}"
    return None


def run_console(
    box: Box,
    read_only: bool,
    no_daemon: bool,
    theme: str | None,
    ascii_only: bool,
    mouse: bool | None = None,
) -> int:
    """Draw the console until the operator leaves it; return its exit code.

    Before that, start the daemon, which goes on afterwards; with `no_daemon`, take the monitors'
    lease and run them in this process. With `read_only`, do neither.
    """
    # Textual reads these variables when it is imported.
    os.environ.setdefault("TEXTUAL_FPS", "10")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    actor = current_actor(_interface_name())
    from console.system import daemon_role
    from console.system.files import last_viewed

    lease_lock = (
        daemon_role.acquire_lease(box.paths, box.store) if no_daemon and not read_only else None
    )
    if not no_daemon and not read_only:
        # In the background: stored data can be shown before the daemon outlives its settle time.
        threading.Thread(target=_ensure_daemon, args=(box, actor), daemon=True).start()
    if not sys.stderr.isatty():
        os.dup2(1, 2)  # Textual draws on standard error
    gc.disable()  # no garbage yet: the objects created during start-up stay in use
    mouse_setting = box.settings.screen.mouse
    if mouse is None and mouse_setting != "auto":
        mouse = bool(mouse_setting)
    try:
        ports = build_ports(box, lease_lock, read_only, theme, ascii_only, actor)
        _print_verdict(ports.initial_snapshot)
        from console.ui.app import ConsoleApp
        from console.ui.terminal import run

        app = ConsoleApp(ports)
        # Also now: when the connection is cut, there is no time for the update below.
        last_viewed.update(box.paths, box.now())
        gc.freeze()
        gc.set_threshold(10_000)  # from here on there is garbage to collect
        gc.enable()
        return run(app, mouse)
    finally:
        last_viewed.update(box.paths, box.now())
        if lease_lock is not None:
            lease_lock.close()


def _print_verdict(snapshot: Snapshot | None) -> None:
    """Print the verdict as an ordinary line before the console is loaded; nothing for None.

    Loading the console takes twice as long as computing the verdict. The line carries its time,
    because it is still on the terminal when the operator leaves the console, hours later.
    """
    if snapshot is not None:
        from console.core.status_document import format_headline
        from console.core.text.formatting import format_clock

        print_message(f"{format_clock(snapshot.moment)}  {format_headline(snapshot)}")


def _ensure_daemon(box: Box, actor_name: str) -> None:
    from console.runtime.snapshots.store_view import StoreView

    if not StoreView(box, {}).daemon_view().running:
        from console.runtime.commands import start_daemon

        start_daemon(box, actor_name)


def build_ports(
    box: Box,
    daemon_lock: HeldLock | None,
    read_only: bool,
    theme: str | None,
    ascii_only: bool,
    actor_name: str = "",
) -> ConsolePorts:
    """Return the ports: every function and value that the screen needs of the box."""
    import asyncio

    from console.monitors import discover_monitors
    from console.runtime.snapshots.store_view import StoreView
    from console.runtime.snapshots.time_travel import TimeTravelReader
    from console.system.files import last_viewed
    from console.ui.ports import ConsolePorts

    monitors = discover_monitors()
    view, time_travel = (
        StoreView(box, monitors, daemon_lock is not None, daemon_lock),
        TimeTravelReader(box, monitors),
    )
    feeds, submit = _lazy_runtime(view)

    async def trends(until: Moment | None) -> Trends:
        return await asyncio.to_thread(time_travel.trends, until)

    async def past(around: Moment, way: int) -> Snapshot | None:
        return await asyncio.to_thread(time_travel.snapshot, around, way)

    async def handover(shown: Snapshot, since: Moment) -> Handover:
        return await asyncio.to_thread(time_travel.handover, shown, since)

    return ConsolePorts(
        feeds=feeds,
        submit=submit,
        log_reader=_build_log_reader(box),
        clock=box.now,
        initial_snapshot=_first_snapshot(view),
        actor=actor_name,
        read_only=read_only,
        theme=theme or box.settings.screen.theme,
        theme_directories=(user_theme_directory(),),
        ascii=ascii_only or not _can_show_unicode(),
        key_overrides=box.settings.screen.keys,
        build_handover=handover,
        last_viewed=last_viewed.read(box.paths, box.now()),
        load_trends=trends,
        load_past=past,
    )


def _lazy_runtime(view: StoreView) -> tuple[dict[str, Feed], Submit]:
    """Return the runtime's feeds by monitor name, and its submit function.

    The first call to one of them loads the runtime, after the first frame is drawn.
    """

    @cache
    def runtime() -> Runtime:
        from console.runtime.loop import Runtime

        return Runtime(view.box, view.monitors, view.monitors_run_in_console, view)

    def feed(name: str) -> Feed:
        async def follow(publish: Publish) -> None:
            await runtime().feeds()[name](publish)

        return follow

    async def submit(command: Command) -> Outcome:
        return await runtime().submit(command)

    return {name: feed(name) for name in view.monitors}, submit


def _first_snapshot(view: StoreView) -> Snapshot | None:
    """Return the snapshot that a running daemon has stored already.

    Return None if no daemon runs, or on any error: the feeds report it.
    """
    try:
        view.refresh()
        return view.compose() if view.daemon_view().running else None
    except Exception:
        return None


def _build_log_reader(box: Box) -> LogReader:
    import asyncio

    from console.core.model.logs import LogPage, LogSearchResult
    from console.core.records import replace
    from console.system.files import log_search, safe_files
    from console.system.processes.output_files import NoOutputFile
    from console.ui.ports import LogReader

    async def read(role: str, stream: str, offset: int | None) -> LogPage:
        try:
            path, name = await _locate_output(box, role, stream)
        except NoOutputFile as error:
            return LogPage("", error=str(error))
        return replace(await asyncio.to_thread(safe_files.read_tail, path, offset), path=name)

    async def before(role: str, stream: str, end: int) -> LogPage:
        try:
            path, name = await _locate_output(box, role, stream)
        except NoOutputFile as error:
            return LogPage("", error=str(error))
        return replace(await asyncio.to_thread(log_search.read_before, path, end), path=name)

    async def find(role: str, stream: str, word: str, start: int, way: int) -> LogSearchResult:
        try:
            path, _ = await _locate_output(box, role, stream)
        except NoOutputFile:
            return LogSearchResult(None, None)
        return await asyncio.to_thread(log_search.find_word, path, word, start, way)

    return LogReader(read, before, find)


async def _locate_output(box: Box, role: str, stream: str) -> tuple[Path, str]:
    """Return the path of a role's output, and its display name.

    This is the role's own log, or the file of an adopted process. Raises NoOutputFile.
    """
    import asyncio

    from console.system.processes import output_files
    from console.system.processes.process_table import ProcessError

    own_log = box.paths.log(role, stream)
    try:
        instances = await box.find_instances(role)
    except ProcessError:
        instances = ()
    if not instances or any(instance.leased for instance in instances):
        return own_log, str(own_log)
    return await asyncio.to_thread(output_files.find_output_file, instances[0].identity, stream)


def _interface_name() -> str:
    """Return "web" if `serve` runs this console for a browser, else "console".

    Removes the variable from the environment.
    """
    return "web" if os.environ.pop("RPA_CONSOLE_VIA", "") == "web" else "console"


def user_theme_directory() -> Path:
    """Return the directory of this user's themes; /dev/null if the user has no home directory."""
    from console.system.paths import NoHomeDirectoryError, default_config_file

    try:
        return default_config_file().with_name("themes")
    except NoHomeDirectoryError:
        return Path(os.devnull)


def _can_show_unicode() -> bool:
    """Return True if locale and font can show more than ASCII: the Linux console's font cannot.

    Reads the environment instead of Python's locale: Python treats the C locale as UTF-8, and sets
    `LC_CTYPE` accordingly.
    """
    import locale

    if os.environ.get("TERM") == "linux":
        return False
    lc_all, lc_ctype, lang = map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))
    if lc_ctype == "C.UTF-8" and lang:
        lc_ctype = None
    encoding = lc_all or lc_ctype or lang or locale.getpreferredencoding(False)
    return "utf" in encoding.lower()
