"""What is wrong with a role, or why it last died or restarted: one chain, each link with its time.

It goes on with the box: what was due is told as done when it is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.core.explain.death_chain import Step
from console.core.explain.explain import explain
from console.core.model import Role, Snapshot
from console.core.text.formatting import clock, visible
from console.ui.dialogs.base import Sheet
from console.ui.render.styled_lines import Line, Look, fit, line

EVERY_S = 1.0
_STYLES = {"symptom": "bad", "action": "accent", "outcome": "strong"}


class Why(Sheet[None]):
    """The chain, top to bottom; what it says is in the ledger under the numbers beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,w,enter", "dismiss(None)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    def __init__(self, role: Role, shown: Callable[[], Snapshot], look: Look) -> None:
        super().__init__(f"Why · {role.name}  (Esc closes)", look)
        self.role, self.shown = role, shown

    def on_mount(self) -> None:
        self.set_interval(EVERY_S, self.draw)

    def content(self) -> list[Line]:
        """A block for each link."""
        known = self.shown()
        chain = explain(self.role, known.events, known.moment)
        width = max(16, min(self.BREADTH, self.size.width) - 26)
        lines: list[Line] = []
        for index, step in enumerate(chain):
            last = index == len(chain) - 1
            lines += _link(step, width, last)
        return lines

    def action_scroll(self, by: int) -> None:
        self.pane.scroll_by(by)


LABELS, NARROW = 20, 30
"""Cells of a link's part and time; cells of words below which these stand above them."""


def _link(step: Step, width: int, last: bool) -> list[Line]:
    """Its part and time beside its words; above them on a screen too narrow for that."""
    beside = width >= NARROW
    indent = LABELS if beside else 4
    texts = textwrap.wrap(visible(step.text, 1000), width + LABELS - indent) or [""]
    style = _STYLES.get(step.part, "")
    when = clock(step.moment) if step.moment else ""
    label = (fit(step.part, 10), "muted"), (fit(when, 10), "muted")
    lines = [line(*label, (texts.pop(0), style)) if beside else line(*label)]
    mark = "" if last else "  │"
    lines += [line((fit(mark, indent), "muted"), (text, style)) for text in texts]
    told = ", ".join(f"#{number}" for number in step.events)
    if told:
        lines.append(line((fit(mark, indent), "muted"), (f"ledger {told}", "muted")))
    return lines if last else [*lines, line(("  ↓", "muted"))]
