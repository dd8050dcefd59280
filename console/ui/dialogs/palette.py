"""Find by name: every command, and every theme with a preview."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.frozen import frozen
from console.ui.dialogs.base import Sheet
from console.ui.render.styled_lines import Line, Look, fit, line

LABEL = 14
"""Cells of a command's name; a theme's is longer, and has little beside it."""


@frozen
class Offer:
    """One thing to choose."""

    id: str
    label: str
    help: str
    key: str = ""


class Palette(Sheet[str | None]):
    """Dismissed with the chosen offer's id, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]
    ROWS = 14

    def __init__(
        self,
        offers: Sequence[Offer],
        look: Look,
        lit: Callable[[str], None],
        title: str = "Palette",
    ) -> None:
        super().__init__(title, look, "type a part of a name")
        self.offers, self.index, self.lit = tuple(offers), 0, lit

    @property
    def found(self) -> list[Offer]:
        """The offers that contain every typed word, those that begin so first."""
        typed = (self.prompt.value if self.prompt else "").casefold().strip()
        found = [
            offer
            for offer in self.offers
            if all(word in f"{offer.label} {offer.help}".casefold() for word in typed.split())
        ]
        return sorted(found, key=lambda offer: not offer.label.startswith(typed))

    def content(self) -> list[Line]:
        """The window on the offers around the lit one."""
        found, rows = self.found, max(1, min(self.ROWS, len(self.offers), self.size.height - 4))
        first = max(0, min(self.index - rows + 1, len(found) - rows))
        lines = [
            line(
                (fit(offer.key, 4), "key"),
                (fit(offer.label, max(LABEL, len(offer.label) + 2)), "strong"),
                (offer.help, "muted"),
                base="select" if first + at == self.index else "text",
            )
            for at, offer in enumerate(found[first : first + rows])
        ]
        lines = lines or [line(("no such command", "muted"))]
        keys = line(("Enter", "key"), "  choose   ", ("Esc", "key"), "  close", base="text")
        return [*lines, *[line()] * (rows - len(lines)), keys]

    def action_move(self, by: int) -> None:
        self.index = max(0, min(self.index + by, len(self.found) - 1))
        self._show_lit()

    def on_input_changed(self) -> None:
        self.index = 0
        self._show_lit()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        found = self.found
        if found:
            self.dismiss(found[self.index].id)

    def _show_lit(self) -> None:
        found = self.found
        self.lit(found[self.index].id if found else "")
        self.draw()
