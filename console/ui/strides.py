"""What the keys of time do: step through the ledger, stretch the graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.model import Moment, Snapshot

if TYPE_CHECKING:
    from console.ui.app import ConsoleApp

STRIDE_S = 600.0
"""How far `<` and `>` go."""


def earlier(app: ConsoleApp, now: Snapshot) -> None:
    """To the event before what is shown."""
    app.go(-1)


def later(app: ConsoleApp, now: Snapshot) -> None:
    """To the event after what is shown, or to now."""
    app.go(1)


def back(app: ConsoleApp, now: Snapshot) -> None:
    """Ten minutes before what is shown."""
    app.go(-1, -STRIDE_S)


def on(app: ConsoleApp, now: Snapshot) -> None:
    """Ten minutes after what is shown, or to now."""
    app.go(1, STRIDE_S)


def goto(app: ConsoleApp, now: Snapshot) -> None:
    """To a moment that is asked for."""
    from console.ui.dialogs.goto import Goto

    def answered(to: Moment | None) -> None:
        if to is not None:
            app.go(-1, to=to)

    app.push_screen(Goto(app.wiring.clock, app.look), answered)


def shorter(app: ConsoleApp, now: Snapshot) -> None:
    """Graphs over less time."""
    app.travel.stretch(-1)


def longer(app: ConsoleApp, now: Snapshot) -> None:
    """Graphs over more time."""
    app.travel.stretch(1)
