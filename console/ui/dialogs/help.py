"""What the panes and the keys mean."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.ui.dialogs.base import Sheet
from console.ui.keymap import Entry, symbol
from console.ui.panes import PaneModule
from console.ui.render.styled_lines import Line, Look, fit, line

_MOVING = (
    ("Tab 1-8", "focus a pane; a folded one unfolds"),
    ("↑ ↓", "select in processes, scroll elsewhere; also Home End PgUp PgDn"),
    ("Esc", "close, clear the filter, leave zoom, unfreeze, come back from the past"),
    ("…", "marks what was cut (~ in ASCII); z shows more of a pane"),
)


LOG = (
    ("Tab", "the other stream: standard error or output"),
    ("End", "follow the end"),
    ("Home", "the beginning of the file; also ↑ ↓ PgUp PgDn"),
    ("/ n N", "search the whole file; the next older, the next newer line"),
    ("w", "long lines on several rows, or cut"),
    ("Esc", "end the search, then close"),
)


class Keys(Sheet[None]):
    """What the keys of a dialog do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss(None)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
    ]

    def __init__(self, title: str, keys: Sequence[tuple[str, str]], look: Look) -> None:
        super().__init__(f"{title} · keys  (Esc closes)", look)
        self.keys = keys

    def content(self) -> list[Line]:
        width = max(20, self.breadth - 6)
        return [one for keys, text in self.keys for one in _key(keys, text, width)]

    def action_scroll(self, by: int) -> None:
        self.pane.scroll_by(by)


class Help(Sheet[None]):
    """The focused pane first, then the keys, then the other panes."""

    WIDE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss(None)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
        Binding("home", "scroll(-10000)", show=False),
        Binding("end", "scroll(10000)", show=False),
    ]

    def __init__(
        self, entries: Sequence[Entry], panes: Sequence[PaneModule], focused: str, look: Look
    ) -> None:
        super().__init__("Help  (Esc closes)", look)
        self.entries = tuple(entries)
        self.panes = sorted(panes, key=lambda pane: focused != pane.TITLE)

    def content(self) -> list[Line]:
        """Everything, wrapped to the width."""
        width = max(20, self.pane.size.width - 6)
        lines = self._about(self.panes[0], width) if self.panes else []
        lines += [line(), line(("Keys", "strong"))]
        for entry in self.entries:
            keys = " ".join(symbol(key) for key in (entry.key, *entry.other_keys))
            asks = " (asks first)" if entry.destructive else ""
            lines += _key(keys, entry.help + asks, width)
        for keys, text in _MOVING:
            lines += _key(keys, text, width)
        lines += [line(), line(("In the log (l)", "strong"))]
        for keys, text in LOG:
            lines += _key(keys, text, width)
        for pane in self.panes[1:]:
            lines += [line(), *self._about(pane, width)]
        return lines

    def _about(self, pane: PaneModule, width: int) -> list[Line]:
        head = line((f"{pane.KEY} {pane.TITLE}", "strong"))
        return [head, *(line((text, "")) for text in textwrap.wrap(pane.HELP, width))]

    def action_scroll(self, by: int) -> None:
        self.pane.scroll_by(by)


def _key(keys: str, text: str, width: int) -> list[Line]:
    parts = textwrap.wrap(text, max(10, width - 10))
    heads = [keys] + [""] * (len(parts) - 1)
    return [line((fit(one, 10), "key"), part) for one, part in zip(heads, parts, strict=True)]
