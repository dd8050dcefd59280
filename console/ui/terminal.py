"""The console's edge: however it ends, the terminal is left as it was found, and quickly."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import termios
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from console.core.text.formatting import visible
from console.ui.app import ConsoleApp

RESET = (
    b"\x18"  # CAN: ends a sequence that was cut in the middle
    b"\x1b[?2026l"  # synchronised output
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse
    b"\x1b[?2004l\x1b[?1004l\x1b[?2048l"  # bracketed paste, focus, in-band resize
    b"\x1b[?7h"  # line wrap
    b"\x1b[<u"  # kitty keyboard, before the alternate screen is left
    b"\x1b[?1049l\x1b[?25h\x1b[0m"  # alternate screen, cursor, colours
)

SIXTEEN = "sixteen"
"""The theme for a terminal that has no more colours."""
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Edge:
    """The terminal as it was at the start, and the way back to it."""

    def __init__(self) -> None:
        self._attributes: list[Any] | None = None
        self._output = -1
        try:
            self._attributes = termios.tcgetattr(0)
            if 0 in termios.tcgetwinsize(0):
                # A line that tells no size: Textual and Rich would guess differently, for ever.
                termios.tcsetwinsize(0, (24, 80))
            # A description of its own: the shared one must not become non-blocking for the shell.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            self._output = os.open(os.ttyname(2), flags)
        except (OSError, termios.error):
            pass

    def restore(self) -> None:
        """Put the terminal back without ever waiting for it."""
        try:
            if self._output >= 0:
                os.write(self._output, RESET)
        except OSError:
            pass
        try:
            if self._attributes is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._attributes)
        except (OSError, termios.error):
            pass

    def die(self, number: int, frame: FrameType | None = None) -> None:
        """Leave at once: the event loop may be stuck on a terminal that nobody reads."""
        self.restore()
        os._exit(128 + number)

    def watch(self) -> None:
        """End the process when its terminal is gone, signal or not."""
        poller = select.poll()
        poller.register(0, 0)  # hang-up and error are reported unasked
        while not poller.poll():
            pass
        self.die(signal.SIGHUP)


def run(app: ConsoleApp, mouse: bool | None = None) -> int:
    """Run the console on this terminal and return its exit code.

    `mouse`: whether it is taken from the terminal; None: unless the line is SSH's.
    """
    edge = Edge()
    before = {number: signal.signal(number, edge.die) for number in ENDING}
    threading.Thread(target=edge.watch, name="terminal-watch", daemon=True).start()
    if mouse is None:
        mouse = not os.environ.get("SSH_CONNECTION")
    if app.console.color_system == "standard" and SIXTEEN in app.themes:
        app.wear(SIXTEEN)  # shades of our own would be rounded to something unreadable
    try:
        _complete(lambda: app.run_async(mouse=mouse))
    except Exception as error:
        edge.restore()
        _tell("".join(traceback.format_exception(error, limit=-8)))
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if app.farewell:
        _tell(app.farewell)
    return app.return_code or 0


def _complete(main: Callable[[], Any]) -> None:
    """Like `asyncio.run`, but does not wait for threads that somebody else is stuck in."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _tell(text: str) -> None:
    for one in text.splitlines():
        print(visible(one, 500), file=sys.stderr)  # noqa: T201 - the console's own last words
