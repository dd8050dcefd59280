"""Handlers of the commands that change the shown moment and the span of the graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment

if TYPE_CHECKING:
    from console.ui.commands.context import CommandContext

TIME_STEP_S = 600.0
"""Time step of `<` and `>`."""


def earlier(app: CommandContext, snapshot: Snapshot) -> None:
    """Show the moment of the event before the shown moment."""
    app.move_in_time(-1)


def later(app: CommandContext, snapshot: Snapshot) -> None:
    """Show the moment of the event after the shown moment, or now if there is none."""
    app.move_in_time(1)


def back(app: CommandContext, snapshot: Snapshot) -> None:
    """Show the moment ten minutes before the shown moment."""
    app.move_in_time(-1, -TIME_STEP_S)


def on(app: CommandContext, snapshot: Snapshot) -> None:
    """Show the moment ten minutes after the shown moment, or now if that is in the future."""
    app.move_in_time(1, TIME_STEP_S)


def goto(app: CommandContext, snapshot: Snapshot) -> None:
    """Ask for a moment and show it."""
    from console.ui.dialogs.goto_time import GotoTimeDialog

    def answered(to: Moment | None) -> None:
        if to is not None:
            app.move_in_time(-1, target=to)

    app.push_screen(GotoTimeDialog(app.ports.clock, app.line_styles), answered)


def shorter(app: CommandContext, snapshot: Snapshot) -> None:
    """Shorten the span of the graphs."""
    app.time_travel.change_span(-1)


def longer(app: CommandContext, snapshot: Snapshot) -> None:
    """Lengthen the span of the graphs."""
    app.time_travel.change_span(1)
