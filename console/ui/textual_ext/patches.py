"""Makes Textual send fewer cells, repaint less, and block while it waits for input.

Textual sends a changed line from its widget's left edge on; over a slow link that is most of the
traffic. It renders every widget again for one changed cell, and repaints the screen under a dialog
at every frame. Its input thread wakes ten times a second to check for input, and its writer thread
three times to write one frame.
"""

from __future__ import annotations

import asyncio
import os
import select
from codecs import getincrementaldecoder
from typing import Any

from rich.console import Console
from rich.control import Control
from textual import events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip

from console.ui.textual_ext.input_bytes import InputParser, limit_terminal_size

ESCAPE_TIMEOUT_MS = 20
"""Poll interval while a key may be the beginning of a longer sequence."""
HEADER_RESEND_INTERVAL_S, HEADER_RESEND_LINES = 60.0, 2
"""Interval at which the lines with the verdict are sent again, and the number of these lines."""
REPAINT_AFTER_IDLE_S = 60.0
"""The first key after a pause longer than this causes a full repaint."""


class MinimalUpdate(ChopsUpdate):
    """A partial update that begins at the first changed cell of a line."""

    def render_segments(self, console: Console) -> str:
        """Return the text to send to the terminal."""
        written = []
        for y, first, last in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                left = max(x, first)
                written.append(Control.move_to(left, y).segment.text)
                written.append(strip.crop(left - x, min(end, last) - x).render(console))
        return "".join(written)


class MinimalCompositor(Compositor):
    """A compositor whose partial updates contain only changed cells."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return an update with the changed cells, or None if Textual finds none."""
        spans = [*self._regions_to_spans(self._dirty_regions)]
        strips = [self._render_cells(*span) for span in spans]
        if not spans or None in strips:
            update = super().render_partial_update()
            return update and MinimalUpdate(update.chops, update.spans, update.chop_ends)
        self._dirty_regions.clear()
        chops: list[dict[int, Strip | None]] = [{} for _ in range(self.size.height)]
        ends: list[list[int]] = [[] for _ in chops]
        for (y, first, last), strip in zip(spans, strips, strict=True):
            chops[y][first] = strip
            ends[y].append(last)
        return MinimalUpdate(chops, spans, ends)

    def _render_cells(self, y: int, first: int, last: int) -> Strip | None:
        """Return cells of row `y` if one widget contains all of them, otherwise None.

        Only these cells are rendered; Textual would render the whole widget.
        """
        for widget, (region, clip) in self.visible_widgets.items():  # the topmost first
            shown = region.intersection(clip)
            if shown.y <= y < shown.bottom and first < shown.right and shown.x < last:
                if first < shown.x or shown.right < last:
                    return None
                crop = Region(first - region.x, y - region.y, last - first, 1)
                return widget.render_lines(crop)[0]
        return None


class MinimalScreen(Screen[None]):
    """A screen that paints each change once, also while it is under a dialog."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = MinimalCompositor()
        self._immediate_until = 0.0

    def paint_immediately(self, seconds: float) -> None:
        """Paint changes at once instead of in the next frame, for the given time."""
        self._immediate_until = max(
            self._immediate_until, asyncio.get_running_loop().time() + seconds
        )

    async def _on_idle(self, event: events.Idle) -> None:
        if asyncio.get_running_loop().time() < self._immediate_until:
            self._on_timer_update()
        await super()._on_idle(event)

    def _compositor_refresh(self) -> None:
        """Paint changes; under a dialog, pass the changed regions to the top screen once.

        Textual would repaint them at every frame.
        """
        if self is self.app.screen:
            super()._compositor_refresh()
            return
        regions = tuple(self._compositor._dirty_regions)
        self._compositor._dirty_regions.clear()
        self._dirty_widgets.clear()
        if regions:
            top = self.app.screen
            top._set_dirty(*regions)  # `refresh` would discard the other changes on it
            top._dirty_widgets.add(top)
            top.check_idle()


class BlockingInputDriver(LinuxDriver):
    """A driver whose input thread blocks until there is input or it is to stop, without polling."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop_pipe = os.pipe2(os.O_CLOEXEC)
        self._frame_parts: list[str] = []

    def write(self, data: str) -> None:
        """Write data to the terminal; a synchronised frame is written in one piece."""
        self._frame_parts.append(data)
        if self._frame_parts[0] != SYNC_START or data == SYNC_END:
            super().write("".join(self._frame_parts))
            self._frame_parts.clear()

    def _get_terminal_size(self) -> tuple[int, int]:
        return limit_terminal_size(super()._get_terminal_size())

    def _query_in_band_window_resize(self) -> None:
        """Do not request in-band reports of the size: the kernel reports it with SIGWINCH."""

    def _sigcont_application(self, *about: Any) -> None:
        """Enter application mode again, also after SIGSTOP, which left no time to leave it."""
        if not self._must_signal_resume and self._key_thread is not None:
            self.suspend_application_mode()
            self._must_signal_resume = True
        super()._sigcont_application(*about)

    def disable_input(self) -> None:
        """Stop the input thread."""
        os.write(self._stop_pipe[1], b".")  # wakes the thread; the call below sets its exit event
        super().disable_input()
        os.read(self._stop_pipe[0], 1)

    def run_input_thread(self) -> None:
        """Read input and process its events until the exit event is set or the input ends."""
        parser, decode = (
            InputParser(self._debug),
            getincrementaldecoder("utf-8")("replace").decode,
        )
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        poll.register(self._stop_pipe[0], select.POLLIN)
        while not self.exit_event.is_set():
            # Poll with a timeout only while a key may be the beginning of a longer sequence.
            if self.fileno in dict(
                poll.poll(ESCAPE_TIMEOUT_MS if parser.has_pending_key else None)
            ):
                data = os.read(self.fileno, 4096)
                if not data:
                    return  # end of file: the terminal is gone
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.flush_pending():
                self.process_message(event)


class MinimalRedrawApp(App[int]):
    """An application that uses BlockingInputDriver in place of LinuxDriver, and repaints at need.

    Other programs write to the terminal too (`wall`, the kernel, a shell after SIGSTOP), and only
    changed cells are sent. Therefore the whole screen is sent again when the terminal may have been
    overwritten, and the first lines once a minute.
    """

    _was_blurred, _last_key_at = False, 0.0

    def repaint(self) -> None:
        """Send every cell, whether changed or not."""
        self._display(self.screen, self.screen._compositor.render_update(full=True))

    def resend_lines(self, line_count: int = HEADER_RESEND_LINES) -> None:
        """Send the first lines, whether changed or not."""
        screen = self.screen
        screen._set_dirty(Region(0, 0, self.size.width, line_count))
        screen._dirty_widgets.add(screen)
        screen.check_idle()

    def on_mount(self) -> None:
        self._last_key_at = asyncio.get_running_loop().time()
        self.set_interval(HEADER_RESEND_INTERVAL_S, self.resend_lines)
        self.app_resume_signal.subscribe(self, lambda _: self.repaint())

    def on_app_blur(self) -> None:
        self._was_blurred = True

    def on_app_focus(self) -> None:
        """Repaint when the terminal's window gets the focus back; not at the first report."""
        if self._was_blurred:
            self._was_blurred = False
            self.repaint()

    async def on_event(self, event: events.Event) -> None:
        """Repaint at the first key after a pause of REPAINT_AFTER_IDLE_S."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            now = asyncio.get_running_loop().time()
            previous, self._last_key_at = self._last_key_at or now, now
            if now - previous > REPAINT_AFTER_IDLE_S:
                self.repaint()
        await super().on_event(event)

    def get_driver_class(self) -> type[Driver]:
        default = super().get_driver_class()
        return BlockingInputDriver if default is LinuxDriver else default
