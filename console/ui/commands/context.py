"""The part of the application that the handlers of keys use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from textual.screen import Screen

from console.core.model import Command, Moment, Snapshot
from console.ui.dialogs.confirm_text import Question
from console.ui.keymap import Entry
from console.ui.main_screen import Board
from console.ui.ports import Wiring
from console.ui.render.styled_lines import Look
from console.ui.render.theme import Theme
from console.ui.time_travel import Travel


class CommandContext(Protocol):
    """Asks, submits, opens dialogs and shows messages."""

    board: Board
    entries: tuple[Entry, ...]
    latest: Snapshot | None
    theme_name: str
    themes: dict[str, Theme]
    travel: Travel
    wiring: Wiring

    @property
    def look(self) -> Look:
        """The styles of the current theme."""

    def say(self, text: str, style: str = "text") -> None:
        """Show a message."""

    def refuse(self, reason: str) -> None:
        """Show why a command was not sent."""

    def ask(self, question: Question, command: Command, doing: str) -> None:
        """Submit a command after the operator has confirmed it."""

    def order(self, command: Command, doing: str) -> None:
        """Submit a command in the background."""

    def push_screen(
        self, screen: Screen[Any], callback: Callable[[Any], None] | None = None
    ) -> object:
        """Open a dialog. The callback gets its result."""

    def call_later(self, callback: Callable[..., object], *args: object) -> bool:
        """Call a function when the messages before it have been handled."""

    def action_command(self, id: str) -> None:
        """Carry out a command of the key table."""

    def freeze(self) -> None:
        """Hold the screen still, or let it go on."""

    def go(self, way: int, seconds: float = 0.0, to: Moment | None = None) -> None:
        """Show another moment."""

    def repaint(self) -> None:
        """Send the whole screen again."""

    def wear(self, name: str) -> None:
        """Change the theme."""

    def leave(self) -> None:
        """End the console."""
