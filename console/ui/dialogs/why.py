"""Dialog that explains a role's problem, last death or last restart as a chain of timed steps.

The chain is updated while the dialog is open.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.core.explain.death_chain import ExplanationStep
from console.core.explain.explain import explain_role
from console.core.model.roles import Role
from console.core.model.snapshot import Snapshot
from console.core.text.formatting import format_clock, sanitize_text
from console.ui.dialogs.base import Dialog
from console.ui.render.styled_lines import LineStyles, StyledLine, pad_text, styled_line

REDRAW_INTERVAL_S = 1.0
_PART_STYLES = {"symptom": "bad", "action": "accent", "outcome": "strong"}


class WhyDialog(Dialog[None]):
    """The chain from top to bottom, each step with the numbers of its events."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,w,enter", "dismiss(None)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    def __init__(
        self, role: Role, get_snapshot: Callable[[], Snapshot], line_styles: LineStyles
    ) -> None:
        super().__init__(f"Why · {role.name}  (Esc closes)", line_styles)
        self.role, self.get_snapshot = role, get_snapshot

    def on_mount(self) -> None:
        self.set_interval(REDRAW_INTERVAL_S, self.redraw)

    def build_lines(self) -> list[StyledLine]:
        """Return a block of lines for each step."""
        snapshot = self.get_snapshot()
        chain = explain_role(self.role, snapshot.events, snapshot.moment)
        width = max(16, min(self.WIDTH_CELLS, self.size.width) - 26)
        lines: list[StyledLine] = []
        for index, step in enumerate(chain):
            last = index == len(chain) - 1
            lines += _step_lines(step, width, last)
        return lines

    def action_scroll(self, by: int) -> None:
        self.line_view.scroll_by(by)


LABEL_CELLS, MIN_TEXT_CELLS = 20, 30
"""Cells of a step's part and time, and minimum cells of the text beside them; on a narrower screen
the part and time are above the text."""


def _step_lines(step: ExplanationStep, width: int, is_last: bool) -> list[StyledLine]:
    """Return the lines of a step: part and time beside the text, or above it on a narrow screen."""
    beside = width >= MIN_TEXT_CELLS
    indent = LABEL_CELLS if beside else 4
    texts = textwrap.wrap(sanitize_text(step.text, 1000), width + LABEL_CELLS - indent) or [""]
    style = _PART_STYLES.get(step.part, "")
    time = format_clock(step.moment) if step.moment else ""
    label = (pad_text(step.part, 10), "muted"), (pad_text(time, 10), "muted")
    lines = [styled_line(*label, (texts.pop(0), style)) if beside else styled_line(*label)]
    mark = "" if is_last else "  │"
    lines += [styled_line((pad_text(mark, indent), "muted"), (text, style)) for text in texts]
    events = ", ".join(f"#{number}" for number in step.event_ids)
    if events:
        lines.append(styled_line((pad_text(mark, indent), "muted"), (f"ledger {events}", "muted")))
    return lines if is_last else [*lines, styled_line(("  ↓", "muted"))]
