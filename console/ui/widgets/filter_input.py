"""The line in which the filter is typed: rows follow each letter, a wrong pattern changes none."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message
from textual.widgets import Input

from console.ui.render.styled_lines import line
from console.ui.widgets.row_filter import NOTHING, SiftError, sift
from console.ui.widgets.text_prompt import Prompt


class FilterLine(Prompt):
    """Hidden until it is opened."""

    KEYS = line(
        (" Enter", "key"), (" keep ", "muted"), (" Esc", "key"), (" clear ", "muted"), base="panel"
    )
    """What takes the place of the board's keys: these are letters now."""

    class Sifted(Message):
        """Other rows are to be shown, or other keys."""

    class Closed(Message):
        """Typing is over."""

    def __init__(self) -> None:
        super().__init__("filter: a word, a PID, a|b, !not", id="filter")
        self.display = False
        self.sift = self._before = NOTHING
        self._wrong = ""
        self._refuse: Callable[[str], None] = lambda reason: None

    def open(self, refuse: Callable[[str], None]) -> None:
        """Ask; what was set stands there to be changed. What is no pattern is refused."""
        self._before, self._wrong, self._refuse = self.sift, "", refuse
        with self.prevent(Input.Changed):
            self.value = self.sift.text
        self.display = True
        self.focus()
        self.post_message(self.Sifted())

    def clear(self) -> None:
        """Show every row again."""
        self.sift, self._wrong = NOTHING, ""
        self._close()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        try:
            self.sift, self._wrong = sift(event.value), ""
        except SiftError as error:
            self._wrong = str(error)
        self.post_message(self.Sifted())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._wrong:
            self.sift = self._before
            self._refuse(f"no such filter: {self._wrong}; it is as it was before")
        self._close()

    def _close(self) -> None:
        self.display = False
        self.post_message(self.Closed())
