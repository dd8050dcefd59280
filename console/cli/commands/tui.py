"""The bare command: the console, wired to the box."""

from __future__ import annotations

import gc
import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.context import Options, actor
from console.cli.output import say
from console.core.exit_codes import USAGE
from console.core.text.command_hint import step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from console.core.handover.model import Handover
    from console.core.model import Command, Moment, Outcome, Snapshot
    from console.core.trends import Trends
    from console.runtime.loop import Runtime
    from console.runtime.snapshots.store_view import View
    from console.system.box import Box
    from console.system.locks.ofd_lock import Grant
    from console.ui.ports import Feed, Logs, Publish, Wiring

    Submit = Callable[[Command], Awaitable[Outcome]]


def open_console(
    options: Options, no_daemon: bool, theme: str | None, ascii_only: bool, mouse: bool | None
) -> int:
    """Open the console on the box that the options name; its exit code."""
    if refusal := refuse_terminal():
        say(f"rpa-console: {refusal}; try: {step('status')}")
        return USAGE
    from console.ui.keymap import mistakes

    with options.box(mends=not options.read_only, stands_in=True) as box:
        for mistake in (wrong := mistakes(box.settings.screen.keys)):
            say(f"{box.config}: {mistake}")
        if wrong:
            return USAGE
        read_only = options.read_only or box.settings.read_only
        return show(box, read_only, no_daemon, theme, ascii_only, mouse)


def refuse_terminal() -> str | None:
    """Why the console cannot be drawn here, or None."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "the console needs a terminal"
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        return f"the console cannot be drawn with TERM={os.environ.get('TERM', '')!r}"
    return None


def show(
    box: Box,
    read_only: bool,
    no_daemon: bool,
    theme: str | None,
    ascii_only: bool,
    mouse: bool | None = None,
) -> int:
    """Draw the console until it is left. Monitoring is seen to first, and goes on after."""
    # Textual reads these when it is imported.
    os.environ.setdefault("TEXTUAL_FPS", "10")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    asker = actor(_via())
    from console.system import daemon_role
    from console.system.files import last_viewed

    grant = daemon_role.claim(box.paths, box.store) if no_daemon and not read_only else None
    if not no_daemon and not read_only:
        # In the background: what there is can be shown before the daemon has settled.
        threading.Thread(target=_see_to_daemon, args=(box, asker), daemon=True).start()
    if not sys.stderr.isatty():
        os.dup2(1, 2)  # Textual draws on standard error
    gc.disable()  # there is no garbage yet, and what is made here stays
    wanted = box.settings.screen.mouse
    if mouse is None and wanted != "auto":
        mouse = bool(wanted)
    try:
        wiring = wire(box, grant, read_only, theme, ascii_only, asker)
        _tell_meanwhile(wiring.first)
        from console.ui.app import ConsoleApp
        from console.ui.terminal import run

        app = ConsoleApp(wiring)
        last_viewed.note(box.paths, box.now())  # now, too: a cut line leaves no time for it
        gc.freeze()
        gc.set_threshold(10_000)  # from here on garbage is made
        gc.enable()
        return run(app, mouse)
    finally:
        last_viewed.note(box.paths, box.now())
        if grant is not None:
            grant.close()


def _tell_meanwhile(first: Snapshot | None) -> None:
    """The verdict as an ordinary line: to load the console takes twice as long as to know it.

    It bears its time: it is still there when the console has been left, hours later.
    """
    if first is not None:
        from console.core.status_document import headline
        from console.core.text.formatting import clock

        say(f"{clock(first.moment)}  {headline(first)}")


def _see_to_daemon(box: Box, asker: str) -> None:
    from console.runtime.snapshots.store_view import View

    if not View(box, {}).daemon().running:
        from console.runtime.commands import start_daemon

        start_daemon(box, asker)


def wire(
    box: Box,
    grant: Grant | None,
    read_only: bool,
    theme: str | None,
    ascii_only: bool,
    asker: str = "",
) -> Wiring:
    """Everything that the screen may ask of the world."""
    import asyncio

    from console.monitors import discover
    from console.runtime.snapshots.store_view import View
    from console.runtime.snapshots.time_travel import Past
    from console.system.files import last_viewed
    from console.ui.ports import Wiring

    monitors = discover()
    view, store = View(box, monitors, grant is not None, grant), Past(box, monitors)
    feeds, submit = _runtime(view)

    async def trends(until: Moment | None) -> Trends:
        return await asyncio.to_thread(store.trends, until)

    async def past(around: Moment, way: int) -> Snapshot | None:
        return await asyncio.to_thread(store.snapshot, around, way)

    async def handover(shown: Snapshot, since: Moment) -> Handover:
        return await asyncio.to_thread(store.handover, shown, since)

    return Wiring(
        feeds=feeds,
        submit=submit,
        logs=_logs(box),
        clock=box.now,
        first=_first(view),
        actor=asker,
        read_only=read_only,
        theme=theme or box.settings.screen.theme,
        theme_directories=(user_themes(),),
        ascii=ascii_only or not _unicode(),
        keys=box.settings.screen.keys,
        handover=handover,
        looked=last_viewed.last(box.paths, box.now()),
        trends=trends,
        past=past,
    )


def _runtime(view: View) -> tuple[dict[str, Feed], Submit]:
    """The runtime's feeds, and how to submit to it; it is loaded once the first frame is drawn."""

    @cache
    def runtime() -> Runtime:
        from console.runtime.loop import Runtime

        return Runtime(view.box, view.monitors, view.here, view)

    def feed(name: str) -> Feed:
        async def follow(publish: Publish) -> None:
            await runtime().feeds()[name](publish)

        return follow

    async def submit(command: Command) -> Outcome:
        return await runtime().submit(command)

    return {name: feed(name) for name in view.monitors}, submit


def _first(view: View) -> Snapshot | None:
    """What a running daemon has written already; what is wrong with it the feeds will tell."""
    try:
        view.refresh()
        return view.compose() if view.daemon().running else None
    except Exception:
        return None


def _logs(box: Box) -> Logs:
    import asyncio

    from console.core.frozen import replace
    from console.core.model import Found, LogPage
    from console.system.files import log_search, safe_files
    from console.system.processes.output_files import NoOutput
    from console.ui.ports import Logs

    async def read(role: str, stream: str, offset: int | None) -> LogPage:
        try:
            path, name = await _output(box, role, stream)
        except NoOutput as error:
            return LogPage("", error=str(error))
        return replace(await asyncio.to_thread(safe_files.tail, path, offset), path=name)

    async def before(role: str, stream: str, end: int) -> LogPage:
        try:
            path, name = await _output(box, role, stream)
        except NoOutput as error:
            return LogPage("", error=str(error))
        return replace(await asyncio.to_thread(log_search.before, path, end), path=name)

    async def find(role: str, stream: str, word: str, start: int, way: int) -> Found:
        try:
            path, _ = await _output(box, role, stream)
        except NoOutput:
            return Found(None, None)
        return await asyncio.to_thread(log_search.find, path, word, start, way)

    return Logs(read, before, find)


async def _output(box: Box, role: str, stream: str) -> tuple[Path, str]:
    """Where a role's output is, and its name: our own log, or the file of an adopted process.

    Raises NoOutput.
    """
    import asyncio

    from console.system.processes import output_files
    from console.system.processes.process_table import ProcessError

    own = box.paths.log(role, stream)
    try:
        instances = await box.instances(role)
    except ProcessError:
        instances = ()
    if not instances or any(one.leased for one in instances):
        return own, str(own)
    return await asyncio.to_thread(output_files.written_by, instances[0].identity, stream)


def _via() -> str:
    """How the console is operated: `serve` says when it is from a browser."""
    return "web" if os.environ.pop("RPA_CONSOLE_VIA", "") == "web" else "console"


def user_themes() -> Path:
    """Where this user's own themes are; nowhere without a home."""
    from console.system.paths import NoHome, default_config

    try:
        return default_config().with_name("themes")
    except NoHome:
        return Path(os.devnull)


def _unicode() -> bool:
    """Whether locale and font can show more than ASCII: the Linux console's own font cannot.

    Asked of the environment: Python itself takes the C locale for UTF-8, and writes so into
    `LC_CTYPE`.
    """
    import locale

    if os.environ.get("TERM") == "linux":
        return False
    everything, letters, language = map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))
    if letters == "C.UTF-8" and language:
        letters = None
    told = everything or letters or language or locale.getpreferredencoding(False)
    return "utf" in told.lower()
