"""Dialog with the output of a role: follows its end, reads any part of it, in bounded memory."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.cells import chop_cells
from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.model.logs import LogPage
from console.core.model.time import Moment
from console.core.text.formatting import format_clock, format_size, sanitize_text
from console.ui.dialogs.base import Dialog
from console.ui.dialogs.help import LOG_KEYS, KeyHelpDialog
from console.ui.dialogs.log_buffer import BORDER_CELLS, LogBuffer, build_footer, highlight_match
from console.ui.ports import LogReader
from console.ui.render.styled_lines import LineStyles, StyledLine, styled_line

POLL_INTERVAL_S = 1.0
CONTEXT_LINES = 3
"""Lines shown above a match."""


class LogDialog(Dialog[None]):
    """The log of one role: its stream `err` or `out`."""

    FULL_SCREEN = True
    PROMPT_OPEN = False
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

    def __init__(
        self, role: str, log_reader: LogReader, line_styles: LineStyles, past: Moment | None = None
    ) -> None:
        super().__init__("Log", line_styles, "search the whole file")
        self.role, self.log_reader = role, log_reader
        self.past_warning = f"NOW, not {format_clock(past)} · " if past else ""
        """Text in the title that the log is the current one, if the screen shows the past."""
        self.stream, self.path, self.error, self.progress = "err", "", "", ""
        self.buffer = LogBuffer()
        self.read_offset: int | None = None
        """Offset up to which the file was read; the buffer may hold another part of it."""
        self.file_size, self.new_line_count = 0, 0
        self.is_following, self.is_wrapping, self.search_word = True, False, ""

    def on_mount(self) -> None:
        self._restart()

    # --- showing ----------------------------------------------------------------------------

    def build_lines(self) -> list[StyledLine]:
        """Return the lines of the buffer, wrapped or not."""
        if self.error or not self.buffer.lines:
            return [styled_line((self.error or "nothing has been written yet", "muted"))]
        return [
            highlight_match(row, self.search_word)
            for text in self.buffer.lines
            for row in self._wrap_line(text)
        ]

    def redraw(self) -> None:
        """Show the lines and the title; when following, scroll to the end."""
        if self.is_following:
            self.line_view.offset_y, self.new_line_count = 10**9, 0
        state = "FOLLOWING" if self.is_following else f"+{self.new_line_count} new (End follows)"
        position = (
            f" · at {100 * self.buffer.start / self.file_size:.0f} %"
            if self._is_behind_tail
            else ""
        )
        search = f" · / {self.search_word} (n N)" if self.search_word else ""
        wrap = " · wrap" if self.is_wrapping else ""
        progress = f" · {self.progress}" if self.progress else ""
        title = (
            f"Log of {self.role} · {self.past_warning}{self.stream} · "
            f"{state}{position}{wrap}{search}{progress}"
        )
        self.line_view.title = sanitize_text(title, 300)
        self.line_view.footer = build_footer(
            sanitize_text(self.path, 200), self.size.width - BORDER_CELLS
        )
        super().redraw()

    def action_help(self) -> None:
        self.app.push_screen(KeyHelpDialog("Log", LOG_KEYS, self.line_view.line_styles))

    def _wrap_line(self, text: str) -> list[str]:
        width = max(4, self.line_view.size.width - 4)
        return chop_cells(text, width) or [""] if self.is_wrapping else [text]

    # --- reading ----------------------------------------------------------------------------

    @property
    def _is_behind_tail(self) -> bool:
        """Return True if the buffer ends before the offset up to which the file was read."""
        return (
            bool(self.file_size)
            and self.buffer.end is not None
            and self.buffer.end != self.read_offset
        )

    async def follow(self) -> None:
        """Read the tail of the log, then new lines every POLL_INTERVAL_S."""
        while True:
            try:
                page = await self.log_reader.read(self.role, self.stream, self.read_offset)
            except Exception as error:
                page = LogPage("", error=f"cannot be read: {sanitize_text(str(error), 200)}")
            self._add_page(page)
            await asyncio.sleep(POLL_INTERVAL_S)

    def _add_page(self, page: LogPage) -> None:
        before = self.error, self.path
        self.error = sanitize_text(page.error, 500) if page.error and not self.buffer.lines else ""
        self.path = f"{page.path} ({format_size(page.size)})" if page.path else ""
        if page.error is None and self.read_offset is not None and page.size < self.read_offset:
            self.read_offset = None  # rotated or truncated: start again at the new file's tail
            self.buffer.clear()
            return
        if page.error is None:
            contiguous = not self._is_behind_tail
            self.read_offset, self.file_size = page.end, page.size
            if contiguous and page.lines:
                self.buffer.append_page(page)
            self.new_line_count += len(page.lines)
        if page.lines or (self.error, self.path) != before:
            self.redraw()

    def _restart(self) -> None:
        self.buffer.clear()
        self.read_offset, self.is_following, self.progress = None, True, ""
        self.redraw()
        self.run_worker(self.follow(), exclusive=True, group="log", exit_on_error=False)

    def _load_adjacent(self, direction: int) -> None:
        """Read the page before (-1) or after (1) the buffer, unless a search is running."""
        if not self.progress:
            self.run_worker(
                self._read_adjacent(direction), group="page", exclusive=True, exit_on_error=False
            )

    async def _read_adjacent(self, direction: int) -> None:
        if direction < 0 and self.buffer.start > 0:
            row_count = len(self.line_view.rows)
            page = await self.log_reader.read_before(self.role, self.stream, self.buffer.start)
            self.buffer.prepend_page(page)
            offset_y = self.line_view.offset_y
            self.redraw()
            self.line_view.offset_y = offset_y + max(0, len(self.line_view.rows) - row_count)
        elif direction > 0 and self._is_behind_tail and self.buffer.end is not None:
            page = await self.log_reader.read(self.role, self.stream, self.buffer.end)
            if page.lines:
                self.buffer.append_page(page)
        self.redraw()

    async def _show_at(self, offset: int) -> None:
        """Replace the buffer by the part of the file around the line at `offset`, and show it."""
        above = await self.log_reader.read_before(self.role, self.stream, offset)
        page = await self.log_reader.read(self.role, self.stream, offset)
        self.buffer.clear()
        self.buffer.append_page(page)
        added = self.buffer.prepend_page(above) if offset > 0 else 0
        self.is_following = False
        self.redraw()
        rows = sum(len(self._wrap_line(text)) for text in self.buffer.lines[:added])
        self.line_view.offset_y = max(0, rows - CONTEXT_LINES)
        self.redraw()

    # --- keys -------------------------------------------------------------------------------

    def action_other_stream(self) -> None:
        self.stream = "out" if self.stream == "err" else "err"
        self._restart()

    def action_wrap(self) -> None:
        self.is_wrapping = not self.is_wrapping
        self.redraw()

    def action_follow(self) -> None:
        if self._is_behind_tail:
            self._restart()
        self.is_following = True
        self.redraw()

    def action_top(self) -> None:
        """Show the beginning of the file."""
        self.is_following, self.line_view.offset_y = False, 0
        self.redraw()
        if self.buffer.start > 0:
            self.run_worker(self._show_at(0), group="page", exclusive=True, exit_on_error=False)

    def action_scroll(self, by: int) -> None:
        """Scroll, and stop following; reaching the end does not resume it, the key End does."""
        self.is_following = False
        self.line_view.scroll_by(by)
        if by < 0 and self.line_view.offset_y == 0:
            self._load_adjacent(-1)
        elif (
            by > 0
            and self.line_view.offset_y
            >= len(self.line_view.rows) - self.line_view.visible_row_count
        ):
            self._load_adjacent(1)
        self.redraw()

    # --- searching --------------------------------------------------------------------------

    def action_search(self) -> None:
        if self.prompt:
            self.prompt.display = True
            self.prompt.focus()

    def action_next(self, direction: int) -> None:
        """Show the next older (-1) or newer (1) line that contains the search word.

        The buffer is searched first, then the rest of the file.
        """
        rows, current = (
            self.line_view.rows,
            self.line_view.offset_y + (0 if self.is_following else CONTEXT_LINES),
        )
        indices = (
            range(current + 1, len(rows))
            if direction > 0
            else range(min(current, len(rows)) - 1, -1, -1)
        )
        for index in indices:
            if rows[index].is_item:
                self.is_following, self.line_view.offset_y = False, max(0, index - CONTEXT_LINES)
                break
        else:
            if self.search_word and not self.progress:
                self.run_worker(self._search(direction), group="search", exit_on_error=False)
        self.redraw()

    async def _search(self, direction: int) -> None:
        """Search the file beyond the buffer, one part at a time, until a match or its end."""
        start: int | None = self.buffer.start if direction < 0 else self.buffer.end
        self.progress = "searching …"
        while start is not None and self.progress:
            result = await self.log_reader.find(
                self.role, self.stream, self.search_word, start, direction
            )
            if result.line is not None:
                self.progress = ""
                await self._show_at(result.line)
                return
            start = result.goes_on
            percent = 100 * (start or 0) / result.size if result.size else 0
            self.progress = (
                f"searching … at {percent:.0f} %" if start is not None and self.progress else ""
            )
            self.redraw()
        self.progress = f"no {'older' if direction < 0 else 'newer'} one"
        self.redraw()
        self.progress = ""

    def action_back(self) -> None:
        """End the search; without a search, close the dialog (key: Esc)."""
        if self.progress:
            self.progress = ""
        elif (self.prompt and self.prompt.display) or self.search_word:
            self._close_search("")
        else:
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._close_search(event.value.casefold())
        if self.search_word:
            self.action_next(-1)

    def _close_search(self, word: str) -> None:
        self.search_word = word
        if self.prompt:
            self.prompt.value, self.prompt.display = "", False
        self.line_view.focus()
        self.redraw()
