"""The widget that shows styled lines, with or without a border, and repaints changed cells only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from console.core.model.time import Moment
from console.ui.redraw.render_cache import AgeTracker, RenderState
from console.ui.render.styled_lines import (
    LineStyles,
    Selection,
    StyledLine,
    diff_strips,
    highlight_line,
    pad_text,
    render_strip,
    styled_line,
    truncate_line,
)
from console.ui.widgets.row_filter import NO_FILTER, RowFilter

DrawLines = Callable[[Moment], tuple[Sequence[StyledLine], StyledLine | None]]
"""A function that returns the lines and the summary for a moment."""


RenderedLine = tuple[StyledLine, str]
"""A line, and the style of the vertical border beside it; "": no border."""


class LineView(Widget):
    """A view of styled lines; with a frame and fewer than three rows it shows its summary only."""

    class Clicked(Message):
        """Posted when a selectable line was clicked."""

        def __init__(self, row_key: Selection) -> None:
            super().__init__()
            self.focus_key = row_key

    ALLOW_SELECT = False

    def __init__(
        self, title: str = "", focus_key: str = "", *, id: str, is_framed: bool = True
    ) -> None:
        super().__init__(id=id)
        self.can_focus = is_framed
        self.title, self.key, self.is_framed = title, focus_key, is_framed
        self.line_styles = LineStyles()
        self.footer = ""
        self.offset_y = 0
        self.lines: tuple[StyledLine, ...] = ()
        self.rows: list[StyledLine] = []
        """The lines that pass the filter."""
        self.selection: Selection | None = None
        self._has_selectable_rows = False
        """True if any of `rows` can be selected."""
        self._render_state = RenderState()
        self._last_inputs: object = None
        self._last_presented: object = None
        self._summary = StyledLine()
        self._row_filter = NO_FILTER
        self._rendered_lines: list[RenderedLine] = []
        self._strips: list[Strip] = []
        self._drawn_for: tuple[int, int, LineStyles] | None = None

    @property
    def is_folded(self) -> bool:
        return self.is_framed and self.size.height < 3

    @property
    def visible_row_count(self) -> int:
        """Return the number of lines that fit inside the frame."""
        return max(0, self.size.height - (2 if self.is_framed else 0))

    def draw_if_changed(
        self, source: object, now: Moment, draw: DrawLines, row_filter: RowFilter = NO_FILTER
    ) -> None:
        """Show the lines that `draw` returns for `now`, unless they would be the same as before.

        `source`: everything besides the moment that the lines depend on.
        """
        if self._render_state.is_current((source, row_filter), now):
            return
        tracker = AgeTracker.from_moment(now)
        self.set_lines(*draw(tracker), row_filter)
        self._render_state.mark_drawn((source, row_filter), tracker)

    def is_current(self, inputs: object, now: Moment) -> bool:
        """Return True if `inputs` equals that of the last call and the shown ages are still valid.

        This is the usual case, in which the caller need not build the source of a drawing.
        """
        same, self._last_inputs = inputs == self._last_inputs, inputs
        return same and self._render_state.has_current_ages(now)

    def valid_for_s(self, now: Moment) -> float:
        """Return the seconds for which the text of all shown ages stays the same."""
        return self._render_state.remaining_s(now)

    def set_lines(
        self,
        lines: Sequence[StyledLine],
        summary: StyledLine | None = None,
        row_filter: RowFilter = NO_FILTER,
    ) -> None:
        """Show `lines`; repaint only the cells that change."""
        presented = (*lines,), summary, row_filter, self.offset_y, self.footer, self.title
        if presented == self._last_presented:
            return
        self._last_presented = presented
        self.lines, self._row_filter = presented[0], row_filter
        self._summary = summary or (lines[0] if lines else StyledLine())
        self.rows = [row for row in self.lines if self._matches_filter(row)]
        self._has_selectable_rows = any(row.row_key is not None for row in self.rows)
        self.repaint_changes()

    def set_selection(self, selection: Selection | None) -> None:
        """Set the selection, and highlight its line if this view contains it."""
        if selection != self.selection:
            self.selection = selection
            if self._has_selectable_rows:
                self.repaint_changes()

    def move_selection(self, by: int) -> Selection | None:
        """Return the selection `by` selectable rows further, and scroll its row into view.

        If no row can be selected, scroll by `by` lines and return None.
        """
        keys = [row.row_key for row in self.rows if row.row_key is not None]
        if not keys:
            self.scroll_by(by)
            return None
        index = (
            keys.index(self.selection) if self.selection in keys else -1 if by > 0 else len(keys)
        )
        selection = keys[max(0, min(index + by, len(keys) - 1))]
        row_index = next(y for y, row in enumerate(self.rows) if row.row_key == selection)
        self.offset_y = max(min(self.offset_y, row_index), row_index - self.visible_row_count + 1)
        return selection

    def scroll_by(self, count: int) -> None:
        """Scroll by `count` lines."""
        self.offset_y += count
        self.repaint_changes()

    def repaint_changes(self) -> None:
        """Render all lines again, and repaint the cells that differ."""
        if not self._is_drawn_for_size:
            self._draw_all()
            self.refresh()
            return
        width, height = self.size
        self.offset_y = max(0, min(self.offset_y, len(self.rows) - self.visible_row_count))
        for y, line in enumerate(self._frame_lines(width, height)):
            if line == self._rendered_lines[y]:
                continue
            strip = self._to_strip(line)
            spans = diff_strips(self._strips[y], strip)
            self._rendered_lines[y], self._strips[y] = line, strip
            if spans:
                self.refresh(*(Region(x, y, count, 1) for x, count in spans))

    @property
    def _is_drawn_for_size(self) -> bool:
        """Return True if the last drawing was for the current size and styles."""
        return self._drawn_for == (*self.size, self.line_styles)

    def _draw_all(self) -> None:
        width, height = self.size
        self._drawn_for = (width, height, self.line_styles)
        self.offset_y = max(0, min(self.offset_y, len(self.rows) - self.visible_row_count))
        self._rendered_lines = self._frame_lines(width, height)
        self._strips = [self._to_strip(line) for line in self._rendered_lines]

    def _to_strip(self, rendered: RenderedLine) -> Strip:
        row, edge = rendered
        width = self.size.width
        if edge:
            bar = ("│", edge)
            row = StyledLine((bar, (" ", ""), *truncate_line(row, width - 3), bar), row.base_style)
        return render_strip(row, width, self.line_styles)

    def render_line(self, y: int) -> Strip:
        """Return the cells of one line as they were drawn before.

        Textual paints with a new size before it sends the resize event, so that the lines may have
        to be drawn here.
        """
        if not self._is_drawn_for_size:
            self._draw_all()
        if y < len(self._strips):
            return self._strips[y]
        return render_strip(StyledLine(), self.size.width, self.line_styles)

    def on_resize(self) -> None:
        self.repaint_changes()

    def on_focus(self, event: events.Focus) -> None:
        self._set_focus_border(event, True)

    def on_blur(self, event: events.Blur) -> None:
        self._set_focus_border(event, False)

    def _set_focus_border(self, event: events.Event, focused: bool) -> None:
        """Repaint the border only; Textual would repaint the whole pane."""
        event.prevent_default()
        self.has_focus = focused
        self.repaint_changes()
        message = events.DescendantFocus(self) if focused else events.DescendantBlur(self)
        if self.parent is not None:
            self.parent.post_message(message)

    def on_click(self, event: events.Click) -> None:
        index = event.y - 1 + self.offset_y
        key = (
            self.rows[index].row_key if 0 <= index < len(self.rows) and not self.is_folded else None
        )
        if key is not None:
            self.post_message(self.Clicked(key))

    def _matches_filter(self, row: StyledLine) -> bool:
        return not row.is_item or self._row_filter.matches(row.text)

    def _frame_lines(self, width: int, height: int) -> list[RenderedLine]:
        if not self.is_framed:
            window = self.rows[self.offset_y : self.offset_y + height]
            return [(row, "") for row in window + [StyledLine()] * (height - len(window))]
        if self.is_folded:
            return [(self._summary_line(), "")][:height]
        window = self.rows[self.offset_y : self.offset_y + self.visible_row_count]
        edge = "focus" if self.has_focus else "border"
        body = [
            (self._highlight_selected(row), edge)
            for row in window + [StyledLine()] * (self.visible_row_count - len(window))
        ]
        return [(self._top_border(width, edge), ""), *body, (self._bottom_border(width, edge), "")]

    def _highlight_selected(self, row: StyledLine) -> StyledLine:
        return (
            highlight_line(row)
            if row.row_key is not None and row.row_key == self.selection
            else row
        )

    def _summary_line(self) -> StyledLine:
        style = "focus" if self.has_focus else "muted"
        label = pad_text(f" {self.key} {self.title}", 14)
        return styled_line(
            (label, style), *self._summary.spans, base_style=self._summary.base_style
        )

    def _top_border(self, width: int, edge: str) -> StyledLine:
        label = f" {self.key} {self.title} " if self.key else f" {self.title} "
        count = ""
        if self._row_filter:
            total = sum(row.is_item for row in self.lines)
            count = f" {sum(row.is_item for row in self.rows)} of {total} " if total else ""
        dashes = "─" * max(0, width - 4 - len(label) - len(count))
        style = "key" if self.has_focus else "strong"
        return styled_line(
            ("╭─", edge), (label, style), (dashes, edge), (count, "warn"), ("─╮", edge)
        )

    def _bottom_border(self, width: int, edge: str) -> StyledLine:
        above, below = (
            self.offset_y,
            max(0, len(self.rows) - self.offset_y - self.visible_row_count),
        )
        marks = f" ↑ {above} more " * bool(above) + f" ↓ {below} more " * bool(below)
        footer = (
            f" {self.footer} " if self.footer and len(self.footer) + len(marks) + 6 <= width else ""
        )
        dashes = "─" * max(0, width - 4 - len(marks) - len(footer))
        marks_span = (marks, "muted")
        return styled_line(
            ("╰─", edge), (footer, "muted"), (dashes, edge), marks_span, ("─╯", edge)
        )


def place_widget(widget: Widget, x: int, y: int, width: int, height: int) -> None:
    """Set the position and the size of a widget, in cells."""
    widget.styles.offset = (x, y)
    widget.styles.width = width
    widget.styles.height = height
