"""Runs the console on a terminal and restores the terminal without delay, however it ends."""

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

from console.core.text.formatting import sanitize_text
from console.ui.app import ConsoleApp

RESET_SEQUENCE = (
    b"\x18"  # CAN: ends a sequence that was cut in the middle
    b"\x1b[?2026l"  # synchronised output
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse
    b"\x1b[?2004l\x1b[?1004l\x1b[?2048l"  # bracketed paste, focus, in-band resize
    b"\x1b[?7h"  # line wrap
    b"\x1b[<u"  # kitty keyboard, before the alternate screen is left
    b"\x1b[?1049l\x1b[?25h\x1b[0m"  # alternate screen, cursor, colours
)

SIXTEEN_COLOUR_THEME = "sixteen"
"""The theme for a terminal with only 16 colours."""
EXIT_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class TerminalGuard:
    """The terminal's settings at the start, and functions that restore them."""

    def __init__(self) -> None:
        self._saved_attributes: list[Any] | None = None
        self._output_fd = -1
        try:
            self._saved_attributes = termios.tcgetattr(0)
            if 0 in termios.tcgetwinsize(0):
                # The terminal reports no size: set one, because Textual and Rich would assume
                # different sizes.
                termios.tcsetwinsize(0, (24, 80))
            # Open a new file description: the one shared with the shell must stay blocking.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            self._output_fd = os.open(os.ttyname(2), flags)
        except (OSError, termios.error):
            pass

    def restore(self) -> None:
        """Restore the terminal without blocking on it."""
        try:
            if self._output_fd >= 0:
                os.write(self._output_fd, RESET_SEQUENCE)
        except OSError:
            pass
        try:
            if self._saved_attributes is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._saved_attributes)
        except (OSError, termios.error):
            pass

    def exit_now(self, signal_number: int, frame: FrameType | None = None) -> None:
        """Restore the terminal and exit at once with status 128 + signal number.

        The event loop may be blocked on a terminal whose output is not read.
        """
        self.restore()
        os._exit(128 + signal_number)

    def watch_hangup(self) -> None:
        """End the process when its terminal hangs up, even if no SIGHUP arrives."""
        poller = select.poll()
        poller.register(0, 0)  # poll(2) always reports POLLHUP and POLLERR
        while not poller.poll():
            pass
        self.exit_now(signal.SIGHUP)


def run(app: ConsoleApp, mouse: bool | None = None) -> int:
    """Run the console on this terminal and return its exit code.

    `mouse`: whether to enable mouse reports; None: enable them unless the session is over SSH.
    """
    guard = TerminalGuard()
    previous_handlers = {number: signal.signal(number, guard.exit_now) for number in EXIT_SIGNALS}
    threading.Thread(target=guard.watch_hangup, name="terminal-watch", daemon=True).start()
    if mouse is None:
        mouse = not os.environ.get("SSH_CONNECTION")
    if app.console.color_system == "standard" and SIXTEEN_COLOUR_THEME in app.themes:
        # The colours of other themes would be rounded to unreadable combinations.
        app.apply_theme(SIXTEEN_COLOUR_THEME)
    try:
        _run_event_loop(lambda: app.run_async(mouse=mouse))
    except Exception as error:
        guard.restore()
        _print_to_stderr("".join(traceback.format_exception(error, limit=-8)))
        return 1
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
    if app.exit_message:
        _print_to_stderr(app.exit_message)
    return app.return_code or 0


def _run_event_loop(main: Callable[[], Any]) -> None:
    """Run a coroutine like `asyncio.run`, but without waiting for the default executor's threads,
    which may be blocked.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.wait(pending, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _print_to_stderr(text: str) -> None:
    for line in text.splitlines():
        print(sanitize_text(line, 500), file=sys.stderr)  # noqa: T201 - printed after the console
