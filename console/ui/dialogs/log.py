"""The output of a role: follows its end, in bounded memory, escapes made visible."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.cells import chop_cells
from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.model import LogPage
from console.core.text import size, visible
from console.ui.dialogs.sheet import Sheet
from console.ui.paint import Line, Look, Span, line

ReadLog = Callable[[str, str, int | None], Awaitable[LogPage]]
KEPT = 5000
"""Lines held in memory."""
LONGEST = 4000
"""Characters held of one line."""
EVERY = 1.0


class Log(Sheet[None]):
    """One role's `err` or `out`."""

    WIDE = True
    ASKS = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False),
        Binding("q,l", "dismiss(None)", show=False),
        Binding("tab", "other_stream", show=False, priority=True),
        Binding("w", "wrap", show=False),
        Binding("slash", "search", show=False),
        Binding("n", "next(-1)", show=False),
        Binding("N", "next(1)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-20)", show=False),
        Binding("pagedown", "scroll(20)", show=False),
        Binding("home", "scroll(-100000)", show=False),
        Binding("end", "follow", show=False),
    ]

    def __init__(self, role: str, read: ReadLog, look: Look) -> None:
        super().__init__("Log", look, "search")
        self.role, self.read = role, read
        self.stream, self.path, self.error = "err", "", ""
        self.kept: deque[str] = deque(maxlen=KEPT)
        self.end: int | None = None
        self.fresh = 0
        self.following, self.wrapping, self.word = True, False, ""

    def on_mount(self) -> None:
        self._restart()

    def content(self) -> list[Line]:
        """The kept lines, wrapped or not."""
        if self.error or not self.kept:
            return [line((self.error or "nothing has been written yet", "muted"))]
        width = max(4, self.pane.size.width - 4)
        return [self._line(part) for text in self.kept for part in self._parts(text, width)]

    def draw(self) -> None:
        """Show the lines, at the end when following."""
        if self.following:
            self.pane.offset_y, self.fresh = 10**9, 0
        state = "FOLLOWING" if self.following else f"+{self.fresh} new (End follows)"
        search = f" · / {self.word} (n N)" if self.word else ""
        wrap = " · wrap" if self.wrapping else ""
        self.pane.title = f"Log of {self.role} · {self.stream} · {state}{wrap}{search}"
        foot = f"{visible(self.path, 200)}   Tab out/err  w wrap  / search  Esc close"
        self.pane.foot = foot
        super().draw()

    async def follow(self) -> None:
        """Read the tail, then what is added."""
        while True:
            try:
                page = await self.read(self.role, self.stream, self.end)
            except Exception as error:
                page = LogPage("", error=f"cannot be read: {visible(str(error), 200)}")
            self._take(page)
            await asyncio.sleep(EVERY)

    def _take(self, page: LogPage) -> None:
        before = self.error, self.path
        self.error = visible(page.error, 500) if page.error and not self.kept else ""
        self.path = f"{page.path} ({size(page.size)})" if page.path else ""
        if page.error is None and self.end is not None and page.size < self.end:
            self.end = None  # Rotated or truncated: begin again at the new file's tail.
            return
        if page.error is None:
            self.end = page.end
        self.kept.extend(visible(text, LONGEST) for text in page.lines)
        self.fresh += len(page.lines)
        if page.lines or (self.error, self.path) != before:
            self.draw()

    def _parts(self, text: str, width: int) -> list[str]:
        return chop_cells(text, width) or [""] if self.wrapping else [text]

    def _line(self, text: str) -> Line:
        at = text.casefold().find(self.word) if self.word else -1
        if at < 0:
            return line(text, key=None)
        last = at + len(self.word)
        parts: tuple[Span, ...] = ((text[:at], ""), (text[at:last], "select"), (text[last:], ""))
        return Line(parts, item=True)

    def _restart(self) -> None:
        self.kept.clear()
        self.end, self.following = None, True
        self.draw()
        self.run_worker(self.follow(), exclusive=True, group="log", exit_on_error=False)

    def action_other_stream(self) -> None:
        self.stream = "out" if self.stream == "err" else "err"
        self._restart()

    def action_wrap(self) -> None:
        self.wrapping = not self.wrapping
        self.draw()

    def action_follow(self) -> None:
        self.following = True
        self.draw()

    def action_scroll(self, by: int) -> None:
        """Scrolling up stops following; reaching the end does not resume it, End does."""
        self.following = False
        self.pane.scroll_by(by)
        self.draw()

    def action_search(self) -> None:
        if self.prompt:
            self.prompt.display = True
            self.prompt.focus()

    def action_next(self, way: int) -> None:
        """The next older (-1) or newer (1) line that contains the searched word."""
        rows, at = self.pane.rows, self.pane.offset_y
        ahead = range(at + 1, len(rows)) if way > 0 else range(min(at, len(rows)) - 1, -1, -1)
        for index in ahead:
            if rows[index].item:
                self.following, self.pane.offset_y = False, index
                break
        self.draw()

    def action_back(self) -> None:
        """Esc closes the search first, then the log."""
        if self.prompt and self.prompt.display:
            self._close_search("")
        elif self.word:
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
