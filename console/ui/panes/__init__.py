"""Finds and renders the panes. Each pane is one module of this package and defines:

TITLE = "Watchdog"      the title on its border
KEY = "4"               the key that focuses it; panes are ordered by key
SLOT = "right"          its place on a wide screen: `left`, `right`, or `bottom` under both
ROWS = (2, 2)           minimum and wished number of lines; if both are equal, as many lines as
                        it has
HELP = "..."            its text in the help dialog (`?`)

def view(snapshot, context) -> list[StyledLine]      the lines of the pane, without I/O
def summary(snapshot, context) -> StyledLine         one line, for the folded pane
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Protocol, cast

from console.core.model.snapshot import Snapshot
from console.ui.render.layout import PaneRequest
from console.ui.render.styled_lines import PaneContext, StyledLine, styled_line

SMALL_PANE_MAX_LINES = 2
"""A pane with at most this many lines requests only these lines."""


class PaneModule(Protocol):
    """Interface of a pane module."""

    __name__: str
    TITLE: str
    KEY: str
    SLOT: str
    ROWS: tuple[int, int]
    HELP: str

    def view(self, snapshot: Snapshot, context: PaneContext) -> list[StyledLine]: ...

    def summary(self, snapshot: Snapshot, context: PaneContext) -> StyledLine: ...


def pane_name(pane: PaneModule) -> str:
    """Return the pane's name, which is the name of its module."""
    return pane.__name__.rpartition(".")[2]


def layout_request(name: str, pane: PaneModule, line_count: int | None) -> PaneRequest:
    """Return the number of lines that a pane requests from the layout.

    `line_count`: the number of lines that the pane has; None if it was not drawn yet. A pane with
    at most SMALL_PANE_MAX_LINES lines requests only these and leaves the rest to other panes.
    """
    if line_count and line_count <= SMALL_PANE_MAX_LINES:
        return PaneRequest(name, pane.SLOT, line_count, line_count)
    least, grown = pane.ROWS
    if grown > least:
        return PaneRequest(name, pane.SLOT, least, grown)
    return PaneRequest(name, pane.SLOT, *sorted((least, line_count or least)))


@cache
def discover() -> tuple[PaneModule, ...]:
    """Import every pane module in this folder and return them, ordered by key."""
    files = [file for file in os.listdir(__path__[0]) if file.endswith(".py") and file[0] != "_"]
    modules = (
        cast(PaneModule, importlib.import_module(f"{__name__}.{name[:-3]}")) for name in files
    )
    return tuple(sorted(modules, key=lambda module: module.KEY))


def render_safely(
    module: PaneModule, snapshot: Snapshot, context: PaneContext
) -> tuple[list[StyledLine], StyledLine]:
    """Return the lines and the summary of a pane.

    If the pane raises, both are one line with the error, and the other panes are still drawn.
    """
    try:
        return module.view(snapshot, context), module.summary(snapshot, context)
    except Exception as error:
        error_line = styled_line(("cannot be drawn: ", "bad"), (repr(error), "muted"))
        return [error_line], error_line
