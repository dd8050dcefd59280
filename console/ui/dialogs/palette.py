"""Dialog that finds commands and themes by name, with a preview of the highlighted theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.records import Record
from console.ui.dialogs.base import Dialog
from console.ui.render.styled_lines import LineStyles, StyledLine, pad_text, styled_line

LABEL_CELLS = 14
"""Cells of a command's name; a theme's name may be longer, because little is beside it."""


class PaletteItem(Record, frozen=True):
    """A command or theme that can be chosen."""

    id: str
    label: str
    help: str
    key: str = ""


class PaletteDialog(Dialog[str | None]):
    """A list of items with a filter prompt; the result is the id of the chosen item, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]
    MAX_ROWS = 14

    def __init__(
        self,
        items: Sequence[PaletteItem],
        line_styles: LineStyles,
        highlight_callback: Callable[[str], None],
        title: str = "Palette",
    ) -> None:
        super().__init__(title, line_styles, "type a part of a name")
        self.items, self.index, self.highlight_callback = tuple(items), 0, highlight_callback

    @property
    def matching_items(self) -> list[PaletteItem]:
        """Return the items that contain every typed word.

        Items whose label begins with the typed text come first.
        """
        typed = (self.prompt.value if self.prompt else "").casefold().strip()
        matches = [
            item
            for item in self.items
            if all(word in f"{item.label} {item.help}".casefold() for word in typed.split())
        ]
        return sorted(matches, key=lambda item: not item.label.startswith(typed))

    def build_lines(self) -> list[StyledLine]:
        """Return the rows around the highlighted item, and the keys."""
        items, row_count = (
            self.matching_items,
            max(1, min(self.MAX_ROWS, len(self.items), self.size.height - 4)),
        )
        first = max(0, min(self.index - row_count + 1, len(items) - row_count))
        lines = [
            styled_line(
                (pad_text(item.key, 4), "key"),
                (pad_text(item.label, max(LABEL_CELLS, len(item.label) + 2)), "strong"),
                (item.help, "muted"),
                base_style="select" if first + index == self.index else "text",
            )
            for index, item in enumerate(items[first : first + row_count])
        ]
        lines = lines or [styled_line(("no such command", "muted"))]
        keys = styled_line(
            ("Enter", "key"), "  choose   ", ("Esc", "key"), "  close", base_style="text"
        )
        return [*lines, *[styled_line()] * (row_count - len(lines)), keys]

    def action_move(self, by: int) -> None:
        self.index = max(0, min(self.index + by, len(self.matching_items) - 1))
        self._show_highlighted()

    def on_input_changed(self) -> None:
        self.index = 0
        self._show_highlighted()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        items = self.matching_items
        if items:
            self.dismiss(items[self.index].id)

    def _show_highlighted(self) -> None:
        items = self.matching_items
        self.highlight_callback(items[self.index].id if items else "")
        self.redraw()
