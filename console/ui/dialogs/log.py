"""The output of a role: follows its end, reaches its beginning, in bounded memory."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.cells import chop_cells
from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.model import LogPage, Moment
from console.core.text.formatting import clock, size, visible
from console.ui.dialogs.base import Sheet
from console.ui.dialogs.help import LOG, Keys
from console.ui.dialogs.log_buffer import FRAME, Window, foot, marked
from console.ui.ports import Logs
from console.ui.render.styled_lines import Line, Look, line

EVERY = 1.0
CONTEXT = 3
"""Lines shown above one that was found."""


class Log(Sheet[None]):
    """One role's `err` or `out`."""

    WIDE = True
    ASKS = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False),
        Binding("q,l", "dismiss(None)", show=False),
        Binding("tab", "other_stream", show=False, priority=True),
        Binding("w", "wrap", show=False),
        Binding("question_mark,f1", "help", show=False),
        Binding("slash", "search", show=False),
        Binding("n", "next(-1)", show=False),
        Binding("N", "next(1)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-20)", show=False),
        Binding("pagedown", "scroll(20)", show=False),
        Binding("home", "top", show=False),
        Binding("end", "follow", show=False),
    ]

    def __init__(self, role: str, logs: Logs, look: Look, past: Moment | None = None) -> None:
        super().__init__("Log", look, "search the whole file")
        self.role, self.logs = role, logs
        self.past = f"NOW, not {clock(past)} · " if past else ""
        """The log is of now; whoever comes from the past is told so."""
        self.stream, self.path, self.error, self.doing = "err", "", "", ""
        self.window = Window()
        self.tail: int | None = None
        """How far the file has been read; the window may be elsewhere in it."""
        self.bytes, self.fresh = 0, 0
        self.following, self.wrapping, self.word = True, False, ""

    def on_mount(self) -> None:
        self._restart()

    # --- showing ----------------------------------------------------------------------------

    def content(self) -> list[Line]:
        """The kept lines, wrapped or not."""
        if self.error or not self.window.lines:
            return [line((self.error or "nothing has been written yet", "muted"))]
        return [marked(row, self.word) for text in self.window.lines for row in self._rows(text)]

    def draw(self) -> None:
        """Show the lines, at the end when following."""
        if self.following:
            self.pane.offset_y, self.fresh = 10**9, 0
        state = "FOLLOWING" if self.following else f"+{self.fresh} new (End follows)"
        share = f" · at {100 * self.window.start / self.bytes:.0f} %" if self._elsewhere else ""
        search = f" · / {self.word} (n N)" if self.word else ""
        wrap = " · wrap" if self.wrapping else ""
        doing = f" · {self.doing}" if self.doing else ""
        title = (
            f"Log of {self.role} · {self.past}{self.stream} · {state}{share}{wrap}{search}{doing}"
        )
        self.pane.title = visible(title, 300)
        self.pane.foot = foot(visible(self.path, 200), self.size.width - FRAME)
        super().draw()

    def action_help(self) -> None:
        self.app.push_screen(Keys("Log", LOG, self.pane.look))

    def _rows(self, text: str) -> list[str]:
        width = max(4, self.pane.size.width - 4)
        return chop_cells(text, width) or [""] if self.wrapping else [text]

    # --- reading ----------------------------------------------------------------------------

    @property
    def _elsewhere(self) -> bool:
        """The window does not reach to the end of what has been read."""
        return bool(self.bytes) and self.window.end is not None and self.window.end != self.tail

    async def follow(self) -> None:
        """Read the tail, then what is added."""
        while True:
            try:
                page = await self.logs.read(self.role, self.stream, self.tail)
            except Exception as error:
                page = LogPage("", error=f"cannot be read: {visible(str(error), 200)}")
            self._take(page)
            await asyncio.sleep(EVERY)

    def _take(self, page: LogPage) -> None:
        before = self.error, self.path
        self.error = visible(page.error, 500) if page.error and not self.window.lines else ""
        self.path = f"{page.path} ({size(page.size)})" if page.path else ""
        if page.error is None and self.tail is not None and page.size < self.tail:
            self.tail = None  # Rotated or truncated: begin again at the new file's tail.
            self.window.clear()
            return
        if page.error is None:
            beside = not self._elsewhere
            self.tail, self.bytes = page.end, page.size
            if beside and page.lines:
                self.window.after(page)
            self.fresh += len(page.lines)
        if page.lines or (self.error, self.path) != before:
            self.draw()

    def _restart(self) -> None:
        self.window.clear()
        self.tail, self.following, self.doing = None, True, ""
        self.draw()
        self.run_worker(self.follow(), exclusive=True, group="log", exit_on_error=False)

    def _reach(self, way: int) -> None:
        """The window's edge is in view: read the page beyond it."""
        if not self.doing:
            self.run_worker(
                self._read_beside(way), group="page", exclusive=True, exit_on_error=False
            )

    async def _read_beside(self, way: int) -> None:
        if way < 0 and self.window.start > 0:
            rows = len(self.pane.rows)
            page = await self.logs.before(self.role, self.stream, self.window.start)
            self.window.before(page)
            shown = self.pane.offset_y
            self.draw()
            self.pane.offset_y = shown + max(0, len(self.pane.rows) - rows)
        elif way > 0 and self._elsewhere and self.window.end is not None:
            page = await self.logs.read(self.role, self.stream, self.window.end)
            if page.lines:
                self.window.after(page)
        self.draw()

    async def _show_at(self, offset: int) -> None:
        """The part of the file around a line."""
        above = await self.logs.before(self.role, self.stream, offset)
        page = await self.logs.read(self.role, self.stream, offset)
        self.window.clear()
        self.window.after(page)
        added = self.window.before(above) if offset > 0 else 0
        self.following = False
        self.draw()
        rows = sum(len(self._rows(text)) for text in self.window.lines[:added])
        self.pane.offset_y = max(0, rows - CONTEXT)
        self.draw()

    # --- keys -------------------------------------------------------------------------------

    def action_other_stream(self) -> None:
        self.stream = "out" if self.stream == "err" else "err"
        self._restart()

    def action_wrap(self) -> None:
        self.wrapping = not self.wrapping
        self.draw()

    def action_follow(self) -> None:
        if self._elsewhere:
            self._restart()
        self.following = True
        self.draw()

    def action_top(self) -> None:
        """The beginning of the file."""
        self.following, self.pane.offset_y = False, 0
        self.draw()
        if self.window.start > 0:
            self.run_worker(self._show_at(0), group="page", exclusive=True, exit_on_error=False)

    def action_scroll(self, by: int) -> None:
        """Scrolling up stops following; reaching the end does not resume it, End does."""
        self.following = False
        self.pane.scroll_by(by)
        if by < 0 and self.pane.offset_y == 0:
            self._reach(-1)
        elif by > 0 and self.pane.offset_y >= len(self.pane.rows) - self.pane.room:
            self._reach(1)
        self.draw()

    # --- searching --------------------------------------------------------------------------

    def action_search(self) -> None:
        if self.prompt:
            self.prompt.display = True
            self.prompt.focus()

    def action_next(self, way: int) -> None:
        """The next older (-1) or newer (1) line that contains the searched word."""
        rows, at = self.pane.rows, self.pane.offset_y + (0 if self.following else CONTEXT)
        ahead = range(at + 1, len(rows)) if way > 0 else range(min(at, len(rows)) - 1, -1, -1)
        for index in ahead:
            if rows[index].item:
                self.following, self.pane.offset_y = False, max(0, index - CONTEXT)
                break
        else:
            if self.word and not self.doing:
                self.run_worker(self._search(way), group="search", exit_on_error=False)
        self.draw()

    async def _search(self, way: int) -> None:
        """Beyond the window, a part of the file at a time."""
        start: int | None = self.window.start if way < 0 else self.window.end
        self.doing = "searching …"
        while start is not None and self.doing:
            found = await self.logs.find(self.role, self.stream, self.word, start, way)
            if found.line is not None:
                self.doing = ""
                await self._show_at(found.line)
                return
            start = found.goes_on
            done = 100 * (start or 0) / found.size if found.size else 0
            self.doing = f"searching … at {done:.0f} %" if start is not None and self.doing else ""
            self.draw()
        self.doing = f"no {'older' if way < 0 else 'newer'} one"
        self.draw()
        self.doing = ""

    def action_back(self) -> None:
        """Esc ends the search first, then closes the log."""
        if self.doing:
            self.doing = ""
        elif (self.prompt and self.prompt.display) or self.word:
            self._close_search("")
        else:
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._close_search(event.value.casefold())
        if self.word:
            self.action_next(-1)

    def _close_search(self, word: str) -> None:
        self.word = word
        if self.prompt:
            self.prompt.value, self.prompt.display = "", False
        self.pane.focus()
        self.draw()
