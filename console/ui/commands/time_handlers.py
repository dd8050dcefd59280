"""What the keys of time do: step through the ledger, stretch the graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.model import Moment, Snapshot

if TYPE_CHECKING:
    from console.ui.commands.context import CommandContext

STRIDE_S = 600.0
"""How far `<` and `>` go."""


def earlier(app: CommandContext, now: Snapshot) -> None:
    """To the event before what is shown."""
    app.go(-1)


def later(app: CommandContext, now: Snapshot) -> None:
    """To the event after what is shown, or to now."""
    app.go(1)


def back(app: CommandContext, now: Snapshot) -> None:
    """Ten minutes before what is shown."""
    app.go(-1, -STRIDE_S)


def on(app: CommandContext, now: Snapshot) -> None:
    """Ten minutes after what is shown, or to now."""
    app.go(1, STRIDE_S)


def goto(app: CommandContext, now: Snapshot) -> None:
    """To a moment that is asked for."""
    from console.ui.dialogs.goto_time import Goto

    def answered(to: Moment | None) -> None:
        if to is not None:
            app.go(-1, to=to)

    app.push_screen(Goto(app.wiring.clock, app.look), answered)


def shorter(app: CommandContext, now: Snapshot) -> None:
    """Graphs over less time."""
    app.travel.stretch(-1)


def longer(app: CommandContext, now: Snapshot) -> None:
    """Graphs over more time."""
    app.travel.stretch(1)
