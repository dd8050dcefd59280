"""Asks for a moment to look at: a clock time, how long ago, or a date."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.model import Moment
from console.core.text.formatting import day_clock, visible
from console.core.text.time_parsing import parse
from console.ui.dialogs.base import Sheet
from console.ui.render.styled_lines import Line, Look, line


class Goto(Sheet[Moment | None]):
    """Dismissed with the moment that was typed, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, clock: Callable[[], Moment], look: Look) -> None:
        super().__init__("Go to", look, "02:14, 3h, 2025-11-03T02:14")
        self.clock = clock

    def _read(self) -> Moment | str:
        """The moment, or why what was typed is none."""
        try:
            return parse(self.prompt.value if self.prompt else "", self.clock())
        except (ValueError, OverflowError, OSError) as error:
            return visible(str(error), 200)

    def content(self) -> list[Line]:
        """What the typed text means, and the keys."""
        typed, found = self.prompt.value.strip() if self.prompt else "", self._read()
        if not typed:
            told = line(("a clock time of the last day, how long ago, or a date", "muted"))
        elif isinstance(found, str):
            told = line((found, "warn"))
        else:
            told = line(("what was known at ", "muted"), (day_clock(found), "strong"))
        return [told, line(("Enter", "key"), "  go   ", ("Esc", "key"), "  stay")]

    def on_input_changed(self) -> None:
        self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """A moment is gone to; what is none stays to be changed."""
        found = self._read()
        if not event.value.strip():
            self.dismiss(None)
        elif not isinstance(found, str):
            self.dismiss(found)
