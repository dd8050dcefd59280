"""The input line of the row filter. The filter changes with each character that is typed; while the
pattern is invalid, the last valid filter stays.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message
from textual.widgets import Input

from console.ui.render.styled_lines import styled_line
from console.ui.widgets.row_filter import NO_FILTER, FilterError, parse_filter
from console.ui.widgets.text_prompt import TextPrompt


class FilterInput(TextPrompt):
    """The input line of the filter; it is hidden until it is opened."""

    KEY_HINTS = styled_line(
        (" Enter", "key"),
        (" keep ", "muted"),
        (" Esc", "key"),
        (" clear ", "muted"),
        base_style="panel",
    )
    """Shown in place of the main screen's keys, which are typed as text while the line is open."""

    class FilterChanged(Message):
        """Posted when the filter or the shown keys have changed."""

    class Closed(Message):
        """Posted when the line is closed."""

    def __init__(self) -> None:
        super().__init__("filter: a word, a PID, a|b, !not", id="filter")
        self.display = False
        self.row_filter = self._previous_filter = NO_FILTER
        self._filter_error = ""
        self._show_error: Callable[[str], None] = lambda reason: None

    def open(self, show_error: Callable[[str], None]) -> None:
        """Open the line with the current filter as its text.

        `show_error` is called with a message if an invalid pattern is submitted; the filter from
        before is then restored.
        """
        self._previous_filter, self._filter_error, self._show_error = (
            self.row_filter,
            "",
            show_error,
        )
        with self.prevent(Input.Changed):
            self.value = self.row_filter.text
        self.display = True
        self.focus()
        self.post_message(self.FilterChanged())

    def clear(self) -> None:
        """Remove the filter and close the line."""
        self.row_filter, self._filter_error = NO_FILTER, ""
        self._close()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        try:
            self.row_filter, self._filter_error = parse_filter(event.value), ""
        except FilterError as error:
            self._filter_error = str(error)
        self.post_message(self.FilterChanged())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._filter_error:
            self.row_filter = self._previous_filter
            self._show_error(f"no such filter: {self._filter_error}; it is as it was before")
        self._close()

    def _close(self) -> None:
        self.display = False
        self.post_message(self.Closed())
