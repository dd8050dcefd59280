"""Dialog that asks for a moment to show: a clock time, an age, or a date."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.model.time import Moment
from console.core.text.formatting import format_date_time, sanitize_text
from console.core.text.time_parsing import parse_time
from console.ui.dialogs.base import Dialog
from console.ui.render.styled_lines import LineStyles, StyledLine, styled_line


class GotoTimeDialog(Dialog[Moment | None]):
    """A prompt for a moment; the result is that moment, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, clock: Callable[[], Moment], line_styles: LineStyles) -> None:
        super().__init__("Go to", line_styles, "02:14, 3h, 2025-11-03T02:14")
        self.clock = clock

    def _parse_input(self) -> Moment | str:
        """Return the moment that the typed text means, or an error message."""
        try:
            return parse_time(self.prompt.value if self.prompt else "", self.clock())
        except (ValueError, OverflowError, OSError) as error:
            return sanitize_text(str(error), 200)

    def build_lines(self) -> list[StyledLine]:
        """Return the meaning of the typed text, and the keys."""
        typed, parsed = self.prompt.value.strip() if self.prompt else "", self._parse_input()
        if not typed:
            meaning = styled_line(
                ("a clock time of the last day, how long ago, or a date", "muted")
            )
        elif isinstance(parsed, str):
            meaning = styled_line((parsed, "warn"))
        else:
            meaning = styled_line(
                ("what was known at ", "muted"), (format_date_time(parsed), "strong")
            )
        return [meaning, styled_line(("Enter", "key"), "  go   ", ("Esc", "key"), "  stay")]

    def on_input_changed(self) -> None:
        self.redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close the dialog with the typed moment; invalid text stays in the prompt."""
        parsed = self._parse_input()
        if not event.value.strip():
            self.dismiss(None)
        elif not isinstance(parsed, str):
            self.dismiss(parsed)
