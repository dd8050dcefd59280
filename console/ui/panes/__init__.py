"""The panes, one file each. Adding a pane is adding a file with this shape:

TITLE = "Watchdog"      what stands on its border
KEY = "4"               the key that focuses it; the order of the panes
SLOT = "right"          where on a wide screen: `left`, `right`, or `bottom` under both
ROWS = (2, 2)           the least number of lines, and how many a graph would like (a list: all)
HELP = "..."            what `?` says about it

def view(snapshot, frame) -> list[Line]      draws, asks nobody
def summary(snapshot, frame) -> Line         the same in one line, when folded
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Protocol, cast

from console.core.model import Snapshot
from console.ui.render.layout import Wish
from console.ui.render.styled_lines import Frame, Line, line

LITTLE = 2
"""Lines."""


class PaneModule(Protocol):
    """The shape of a pane's file."""

    __name__: str
    TITLE: str
    KEY: str
    SLOT: str
    ROWS: tuple[int, int]
    HELP: str

    def view(self, snapshot: Snapshot, frame: Frame) -> list[Line]: ...

    def summary(self, snapshot: Snapshot, frame: Frame) -> Line: ...


def name_of(pane: PaneModule) -> str:
    """The pane's name: that of its file."""
    return pane.__name__.rpartition(".")[2]


def wish(name: str, pane: PaneModule, needed: int | None) -> Wish:
    """What a pane would like: one that has next to nothing to show leaves its room to others."""
    if needed and needed <= LITTLE:
        return Wish(name, pane.SLOT, needed, needed)
    least, grown = pane.ROWS
    if grown > least:
        return Wish(name, pane.SLOT, least, grown)
    return Wish(name, pane.SLOT, *sorted((least, needed or least)))


@cache
def discover() -> tuple[PaneModule, ...]:
    """Every pane in this folder, in the order of their keys."""
    files = [file for file in os.listdir(__path__[0]) if file.endswith(".py") and file[0] != "_"]
    modules = (cast(PaneModule, importlib.import_module(f"{__name__}.{one[:-3]}")) for one in files)
    return tuple(sorted(modules, key=lambda module: module.KEY))


def drawn(module: PaneModule, snapshot: Snapshot, frame: Frame) -> tuple[list[Line], Line]:
    """Lines and summary of a pane; one pane's fault must not take the others' sight."""
    try:
        return module.view(snapshot, frame), module.summary(snapshot, frame)
    except Exception as error:
        told = line(("cannot be drawn: ", "bad"), (repr(error), "muted"))
        return [told], told
