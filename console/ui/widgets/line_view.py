"""The one widget that shows lines: with or without a border, and never repainted as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from console.core.model import Moment
from console.ui.redraw.render_cache import Standing, Ticking
from console.ui.render.styled_lines import (
    Choice,
    Line,
    Look,
    changed,
    chosen,
    crop,
    fit,
    line,
    strip,
)
from console.ui.widgets.row_filter import NOTHING, Sift

Draw = Callable[[Moment], tuple[Sequence[Line], Line | None]]
"""Lines and summary as they read at a moment."""


Drawn = tuple[Line, str]
"""A line as it is to be drawn, and the style of the bars beside it; none without."""


class Pane(Widget):
    """Lines in a frame. One row high it is folded and shows its summary."""

    class Clicked(Message):
        """A line that can be selected was clicked."""

        def __init__(self, key: Choice) -> None:
            super().__init__()
            self.key = key

    ALLOW_SELECT = False

    def __init__(self, title: str = "", key: str = "", *, id: str, framed: bool = True) -> None:
        super().__init__(id=id)
        self.can_focus = framed
        self.title, self.key, self.framed = title, key, framed
        self.look = Look()
        self.foot = ""
        self.offset_y = 0
        self.lines: tuple[Line, ...] = ()
        self.rows: list[Line] = []
        """The lines that the filter lets through."""
        self.choice: Choice | None = None
        self._selects = False
        """Whether any of its lines can be selected."""
        self._standing = Standing()
        self._about: object = None
        self._presented: object = None
        self._summary = Line()
        self._filter = NOTHING
        self._lines: list[Drawn] = []
        self._strips: list[Strip] = []
        self._drawn_on: tuple[int, int, Look] | None = None

    @property
    def folded(self) -> bool:
        return self.framed and self.size.height < 3

    @property
    def room(self) -> int:
        """Lines that fit inside."""
        return max(0, self.size.height - (2 if self.framed else 0))

    def show(self, of: object, now: Moment, draw: Draw, match: Sift = NOTHING) -> None:
        """Present what `draw` makes of this moment, unless it would read as it does already.

        `of`: all that is drawn from, besides the moment.
        """
        if self._standing.holds((of, match), now):
            return
        asked = Ticking.at_the(now)
        self.present(*draw(asked), match)
        self._standing.drawn((of, match), asked)

    def still(self, about: object, now: Moment) -> bool:
        """Whether it is asked to show the very same again, and that still stands.

        As a rule: then not even what it would be drawn from need be made.
        """
        same, self._about = about == self._about, about
        return same and self._standing.lasts(now)

    def steady_s(self, now: Moment) -> float:
        """Seconds for which the ages in it read the same."""
        return self._standing.left_s(now)

    def present(
        self, lines: Sequence[Line], summary: Line | None = None, match: Sift = NOTHING
    ) -> None:
        """Show `lines`; only the cells that differ from what is there are repainted."""
        presented = (*lines,), summary, match, self.offset_y, self.foot, self.title
        if presented == self._presented:
            return
        self._presented = presented
        self.lines, self._filter = presented[0], match
        self._summary = summary or (lines[0] if lines else Line())
        self.rows = [one for one in self.lines if self._passes(one)]
        self._selects = any(one.key is not None for one in self.rows)
        self.redraw()

    def choose(self, choice: Choice | None) -> None:
        """Mark the line that is selected, if it is one of ours."""
        if choice != self.choice:
            self.choice = choice
            if self._selects:
                self.redraw()

    def move(self, by: int) -> Choice | None:
        """What is selected so many lines on, scrolled into view; None where lines only scroll."""
        keys = [one.key for one in self.rows if one.key is not None]
        if not keys:
            self.scroll_by(by)
            return None
        at = keys.index(self.choice) if self.choice in keys else -1 if by > 0 else len(keys)
        found = keys[max(0, min(at + by, len(keys) - 1))]
        index = next(y for y, one in enumerate(self.rows) if one.key == found)
        self.offset_y = max(min(self.offset_y, index), index - self.room + 1)
        return found

    def scroll_by(self, count: int) -> None:
        """Move the window on the lines."""
        self.offset_y += count
        self.redraw()

    def redraw(self) -> None:
        """Draw all lines anew and repaint where they differ."""
        if not self._fits:
            self._draw()
            self.refresh()
            return
        width, height = self.size
        self.offset_y = max(0, min(self.offset_y, len(self.rows) - self.room))
        for y, one in enumerate(self._drawn(width, height)):
            if one == self._lines[y]:
                continue
            after = self._strip(one)
            spans = changed(self._strips[y], after)
            self._lines[y], self._strips[y] = one, after
            if spans:
                self.refresh(*(Region(x, y, count, 1) for x, count in spans))

    @property
    def _fits(self) -> bool:
        """Whether what is drawn was drawn on this size and in this look."""
        return self._drawn_on == (*self.size, self.look)

    def _draw(self) -> None:
        width, height = self.size
        self._drawn_on = (width, height, self.look)
        self.offset_y = max(0, min(self.offset_y, len(self.rows) - self.room))
        self._lines = self._drawn(width, height)
        self._strips = [self._strip(one) for one in self._lines]

    def _strip(self, one: Drawn) -> Strip:
        row, edge = one
        width = self.size.width
        if edge:
            bar = ("│", edge)
            row = Line((bar, (" ", ""), *crop(row, width - 3), bar), row.base)
        return strip(row, width, self.look)

    def render_line(self, y: int) -> Strip:
        """One line of cells, as drawn before; Textual paints a new size before it tells of it."""
        if not self._fits:
            self._draw()
        if y < len(self._strips):
            return self._strips[y]
        return strip(Line(), self.size.width, self.look)

    def on_resize(self) -> None:
        self.redraw()

    def on_focus(self, event: events.Focus) -> None:
        self._edge(event, True)

    def on_blur(self, event: events.Blur) -> None:
        self._edge(event, False)

    def _edge(self, event: events.Event, focused: bool) -> None:
        """Only the border changes; Textual would paint the whole pane again."""
        event.prevent_default()
        self.has_focus = focused
        self.redraw()
        told = events.DescendantFocus(self) if focused else events.DescendantBlur(self)
        if self.parent is not None:
            self.parent.post_message(told)

    def on_click(self, event: events.Click) -> None:
        index = event.y - 1 + self.offset_y
        key = self.rows[index].key if 0 <= index < len(self.rows) and not self.folded else None
        if key is not None:
            self.post_message(self.Clicked(key))

    def _passes(self, one: Line) -> bool:
        return not one.item or self._filter.passes(one.text)

    def _drawn(self, width: int, height: int) -> list[Drawn]:
        if not self.framed:
            window = self.rows[self.offset_y : self.offset_y + height]
            return [(one, "") for one in window + [Line()] * (height - len(window))]
        if self.folded:
            return [(self._fold(), "")][:height]
        window = self.rows[self.offset_y : self.offset_y + self.room]
        edge = "focus" if self.has_focus else "border"
        body = [(self._marked(one), edge) for one in window + [Line()] * (self.room - len(window))]
        return [(self._top(width, edge), ""), *body, (self._bottom(width, edge), "")]

    def _marked(self, one: Line) -> Line:
        return chosen(one) if one.key is not None and one.key == self.choice else one

    def _fold(self) -> Line:
        style = "focus" if self.has_focus else "muted"
        label = fit(f" {self.key} {self.title}", 14)
        return line((label, style), *self._summary.spans, base=self._summary.base)

    def _top(self, width: int, edge: str) -> Line:
        label = f" {self.key} {self.title} " if self.key else f" {self.title} "
        count = ""
        if self._filter:
            total = sum(one.item for one in self.lines)
            count = f" {sum(one.item for one in self.rows)} of {total} " if total else ""
        dashes = "─" * max(0, width - 4 - len(label) - len(count))
        style = "key" if self.has_focus else "strong"
        return line(("╭─", edge), (label, style), (dashes, edge), (count, "warn"), ("─╮", edge))

    def _bottom(self, width: int, edge: str) -> Line:
        above, below = self.offset_y, max(0, len(self.rows) - self.offset_y - self.room)
        marks = f" ↑ {above} more " * bool(above) + f" ↓ {below} more " * bool(below)
        foot = f" {self.foot} " if self.foot and len(self.foot) + len(marks) + 6 <= width else ""
        dashes = "─" * max(0, width - 4 - len(marks) - len(foot))
        quiet = (marks, "muted")
        return line(("╰─", edge), (foot, "muted"), (dashes, edge), quiet, ("─╯", edge))


def put(widget: Widget, x: int, y: int, width: int, height: int) -> None:
    """Give a widget its rectangle."""
    widget.styles.offset = (x, y)
    widget.styles.width = width
    widget.styles.height = height
