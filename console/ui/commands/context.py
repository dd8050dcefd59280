"""The interface of the application for command handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from textual.screen import Screen

from console.core.model.commands import Command
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.ui.dialogs.confirm_text import Question
from console.ui.keymap import CommandSpec
from console.ui.main_screen import MainScreen
from console.ui.ports import ConsolePorts
from console.ui.render.styled_lines import LineStyles
from console.ui.render.theme import Theme
from console.ui.time_travel import TimeTravel


class CommandContext(Protocol):
    """The part of ConsoleApp that command handlers use."""

    main_screen: MainScreen
    command_specs: tuple[CommandSpec, ...]
    latest_snapshot: Snapshot | None
    theme_name: str
    themes: dict[str, Theme]
    time_travel: TimeTravel
    ports: ConsolePorts

    @property
    def line_styles(self) -> LineStyles:
        """Return the styles of the current theme."""

    def show_message(self, text: str, style: str = "text") -> None:
        """Show a message."""

    def refuse(self, reason: str) -> None:
        """Show the reason why a command was not submitted."""

    def confirm_and_submit(self, question: Question, command: Command, progress_text: str) -> None:
        """Submit a command after the operator has confirmed it."""

    def submit_in_background(self, command: Command, progress_text: str) -> None:
        """Submit a command in the background."""

    def push_screen(
        self, screen: Screen[Any], callback: Callable[[Any], None] | None = None
    ) -> object:
        """Open a dialog. The callback receives its result."""

    def call_later(self, callback: Callable[..., object], *args: object) -> bool:
        """Call a function after the pending messages have been handled."""

    def action_command(self, command_id: str) -> None:
        """Run a command of COMMAND_SPECS."""

    def toggle_freeze(self) -> None:
        """Freeze the shown snapshot, or return to the current one."""

    def move_in_time(
        self, direction: int, offset_s: float = 0.0, target: Moment | None = None
    ) -> None:
        """Show another moment."""

    def repaint(self) -> None:
        """Send the whole screen again."""

    def apply_theme(self, name: str) -> None:
        """Change the theme."""

    def exit_console(self) -> None:
        """End the console."""
