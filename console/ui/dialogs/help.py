"""Dialogs with the help on panes and keys."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.ui.dialogs.base import Dialog
from console.ui.keymap import CommandSpec, format_key
from console.ui.panes import PaneModule
from console.ui.render.styled_lines import LineStyles, StyledLine, pad_text, styled_line

_NAVIGATION_KEYS = (
    ("Tab 1-8", "focus a pane; a folded one unfolds"),
    ("↑ ↓", "select in processes, scroll elsewhere; also Home End PgUp PgDn"),
    ("Esc", "close, clear the filter, leave zoom, unfreeze, come back from the past"),
    ("…", "marks what was cut (~ in ASCII); z shows more of a pane"),
)


LOG_KEYS = (
    ("Tab", "the other stream: standard error or output"),
    ("End", "follow the end"),
    ("Home", "the beginning of the file; also ↑ ↓ PgUp PgDn"),
    ("/ n N", "search the whole file; the next older, the next newer line"),
    ("w", "long lines on several rows, or cut"),
    ("Esc", "end the search, then close"),
)


class KeyHelpDialog(Dialog[None]):
    """The list of a dialog's keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss(None)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
    ]

    def __init__(
        self, title: str, keys: Sequence[tuple[str, str]], line_styles: LineStyles
    ) -> None:
        super().__init__(f"{title} · keys  (Esc closes)", line_styles)
        self.keys = keys

    def build_lines(self) -> list[StyledLine]:
        width = max(20, self.width_cells - 6)
        return [row for keys, text in self.keys for row in _key_rows(keys, text, width)]

    def action_scroll(self, by: int) -> None:
        self.line_view.scroll_by(by)


class HelpDialog(Dialog[None]):
    """The help text of the focused pane, then the keys, then the other panes."""

    FULL_SCREEN = True
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
        self,
        command_specs: Sequence[CommandSpec],
        panes: Sequence[PaneModule],
        focused: str,
        line_styles: LineStyles,
    ) -> None:
        super().__init__("Help  (Esc closes)", line_styles)
        self.command_specs = tuple(command_specs)
        self.panes = sorted(panes, key=lambda pane: focused != pane.TITLE)

    def build_lines(self) -> list[StyledLine]:
        """Return the whole help, wrapped to the width."""
        width = max(20, self.line_view.size.width - 6)
        lines = self._pane_help(self.panes[0], width) if self.panes else []
        lines += [styled_line(), styled_line(("Keys", "strong"))]
        for entry in self.command_specs:
            keys = " ".join(format_key(key) for key in (entry.key, *entry.other_keys))
            asks = " (asks first)" if entry.is_destructive else ""
            lines += _key_rows(keys, entry.help + asks, width)
        for keys, text in _NAVIGATION_KEYS:
            lines += _key_rows(keys, text, width)
        lines += [styled_line(), styled_line(("In the log (l)", "strong"))]
        for keys, text in LOG_KEYS:
            lines += _key_rows(keys, text, width)
        for pane in self.panes[1:]:
            lines += [styled_line(), *self._pane_help(pane, width)]
        return lines

    def _pane_help(self, pane: PaneModule, width: int) -> list[StyledLine]:
        heading = styled_line((f"{pane.KEY} {pane.TITLE}", "strong"))
        return [heading, *(styled_line((text, "")) for text in textwrap.wrap(pane.HELP, width))]

    def action_scroll(self, by: int) -> None:
        self.line_view.scroll_by(by)


def _key_rows(keys: str, text: str, width: int) -> list[StyledLine]:
    parts = textwrap.wrap(text, max(10, width - 10))
    labels = [keys] + [""] * (len(parts) - 1)
    return [
        styled_line((pad_text(label, 10), "key"), part)
        for label, part in zip(labels, parts, strict=True)
    ]
