"""What Textual does too much of: cells sent, screens repainted, input waited for.

Textual sends a changed line from its widget's left edge on; over a slow link that is most of the
traffic. It draws every widget anew for one changed cell, repaints what lies under a dialog at every
frame, wakes ten times a second to see whether somebody has pressed a key, and a thread three times
to write one frame.
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

from console.ui.textual_ext.input_bytes import Incoming, bounded

ESCAPE_MS = 20
"""How often an unfinished key is looked at."""
REWRITE_S, VERDICT_LINES = 60.0, 2
"""How often the lines with the verdict are sent again, and how many these are."""
IDLE_S = 60.0
"""After a pause of this length a key has all sent again."""


class SparingUpdate(ChopsUpdate):
    """An update that begins at the first changed cell."""

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal."""
        written = []
        for y, first, last in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                left = max(x, first)
                written.append(Control.move_to(left, y).segment.text)
                written.append(strip.crop(left - x, min(end, last) - x).render(console))
        return "".join(written)


class SparingCompositor(Compositor):
    """A compositor whose partial updates are sparing."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """The changed cells, or None."""
        spans = [*self._regions_to_spans(self._dirty_regions)]
        found = [self._cells(*span) for span in spans]
        if not spans or None in found:
            update = super().render_partial_update()
            return update and SparingUpdate(update.chops, update.spans, update.chop_ends)
        self._dirty_regions.clear()
        chops: list[dict[int, Strip | None]] = [{} for _ in range(self.size.height)]
        ends: list[list[int]] = [[] for _ in chops]
        for (y, first, last), strip in zip(spans, found, strict=True):
            chops[y][first] = strip
            ends[y].append(last)
        return SparingUpdate(chops, spans, ends)

    def _cells(self, y: int, first: int, last: int) -> Strip | None:
        """Cells that one widget alone shows: asked for these, where Textual would draw it whole."""
        for widget, (region, clip) in self.visible_widgets.items():  # the topmost first
            shown = region.intersection(clip)
            if shown.y <= y < shown.bottom and first < shown.right and shown.x < last:
                if first < shown.x or shown.right < last:
                    return None
                place = Region(first - region.x, y - region.y, last - first, 1)
                return widget.render_lines(place)[0]
        return None


class SparingScreen(Screen[None]):
    """A screen that hands on what has changed, once."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = SparingCompositor()
        self._hasty_until = 0.0

    def hurry(self, seconds: float) -> None:
        """For so long, paint what has changed at once, not in the next frame."""
        self._hasty_until = max(self._hasty_until, asyncio.get_running_loop().time() + seconds)

    async def _on_idle(self, event: events.Idle) -> None:
        if asyncio.get_running_loop().time() < self._hasty_until:
            self._on_timer_update()
        await super()._on_idle(event)

    def _compositor_refresh(self) -> None:
        """Under a dialog, hand on what changed once; Textual would repaint it at every frame."""
        if self is self.app.screen:
            super()._compositor_refresh()
            return
        regions = tuple(self._compositor._dirty_regions)
        self._compositor._dirty_regions.clear()
        self._dirty_widgets.clear()
        if regions:
            top = self.app.screen
            top._set_dirty(*regions)  # `refresh` would forget what else has changed on it
            top._dirty_widgets.add(top)
            top.check_idle()


class SparingDriver(LinuxDriver):
    """A driver that sleeps until there is input or the end is near, instead of looking for both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending = os.pipe2(os.O_CLOEXEC)
        self._frame: list[str] = []

    def write(self, data: str) -> None:
        """Hand on what is to be written, a synchronised frame in one piece."""
        self._frame.append(data)
        if self._frame[0] != SYNC_START or data == SYNC_END:
            super().write("".join(self._frame))
            self._frame.clear()

    def _get_terminal_size(self) -> tuple[int, int]:
        return bounded(super()._get_terminal_size())

    def _query_in_band_window_resize(self) -> None:
        """Ask for no reports of the size: the kernel tells it (SIGWINCH)."""

    def _sigcont_application(self, *about: Any) -> None:
        """Put the terminal back into our mode, also when SIGSTOP left no time to leave it."""
        if not self._must_signal_resume and self._key_thread is not None:
            self.suspend_application_mode()
            self._must_signal_resume = True
        super()._sigcont_application(*about)

    def disable_input(self) -> None:
        """Stop listening to the terminal."""
        os.write(self._ending[1], b".")  # wakes the thread, which sees why when it is told below
        super().disable_input()
        os.read(self._ending[0], 1)

    def run_input_thread(self) -> None:
        """Hand on what the terminal says, until told to stop."""
        incoming, decode = Incoming(self._debug), getincrementaldecoder("utf-8")("replace").decode
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        poll.register(self._ending[0], select.POLLIN)
        while not self.exit_event.is_set():
            # Only a key that may be the beginning of a longer one is waited for with a limit.
            if self.fileno in dict(poll.poll(ESCAPE_MS if incoming.unsure else None)):
                read = os.read(self.fileno, 4096)
                if not read:
                    return  # nobody is at the other end any more
                for event in incoming.feed(decode(read)):
                    self.process_message(event)
            for event in incoming.tick():
                self.process_message(event)


class SparingApp(App[int]):
    """An application on the sparing driver, wherever Textual would use the one it is made from.

    Others write on the terminal, too (`wall`, the kernel, a shell after SIGSTOP), and only changed
    cells are sent. So all is sent again when the terminal may have been written over, and the first
    lines once a minute.
    """

    _left, _last_key = False, 0.0

    def repaint(self) -> None:
        """Send every cell, changed or not."""
        self._display(self.screen, self.screen._compositor.render_update(full=True))

    def rewrite(self, lines: int = VERDICT_LINES) -> None:
        """Send the first lines, changed or not."""
        screen = self.screen
        screen._set_dirty(Region(0, 0, self.size.width, lines))
        screen._dirty_widgets.add(screen)
        screen.check_idle()

    def on_mount(self) -> None:
        self._last_key = asyncio.get_running_loop().time()
        self.set_interval(REWRITE_S, self.rewrite)
        self.app_resume_signal.subscribe(self, lambda _: self.repaint())

    def on_app_blur(self) -> None:
        self._left = True

    def on_app_focus(self) -> None:
        """Repaint when the terminal's window is looked at again, not at the first report."""
        if self._left:
            self._left = False
            self.repaint()

    async def on_event(self, event: events.Event) -> None:
        """Repaint with the first key after a pause."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            now = asyncio.get_running_loop().time()
            before, self._last_key = self._last_key or now, now
            if now - before > IDLE_S:
                self.repaint()
        await super().on_event(event)

    def get_driver_class(self) -> type[Driver]:
        own = super().get_driver_class()
        return SparingDriver if own is LinuxDriver else own
