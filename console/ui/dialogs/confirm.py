"""Dialog that asks for confirmation before a process is ended. Enter cancels, `y` confirms.

Keys that were typed before the dialog could be read are dropped, because they are no answer to it.
"""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Input

from console.core.model.commands import Outcome
from console.core.model.snapshot import Snapshot
from console.core.text.formatting import sanitize_text
from console.ui.dialogs.base import Dialog
from console.ui.dialogs.confirm_text import Question
from console.ui.render.styled_lines import LineStyles, Span, StyledLine, pad_text, styled_line

NARROW_MAX_CELLS = 60
"""In a narrower dialog each key has a line of its own."""
MIN_READING_TIME_S = 0.25
"""Minimum time from the display of the question to the first key that is accepted as an answer."""
CANCEL_KEYS = ("escape", "ctrl+c", "ctrl+q")


class ConfirmDialog(Dialog[bool]):
    """A question; the result is True only if it was confirmed while it was still valid."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "cancel", show=False),
        Binding("enter", "cancel", show=False),
        Binding("y", "confirm", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
        Binding("home", "scroll(-10000)", show=False),
        Binding("end", "scroll(10000)", show=False),
    ]

    def __init__(
        self,
        question: Question,
        snapshot: Snapshot,
        line_styles: LineStyles,
        dry_run: Callable[[], Awaitable[Outcome]] | None = None,
    ) -> None:
        """`dry_run`: observes the processes again and reports which ones the command would end."""
        word = question.required_word
        super().__init__(question.title, line_styles, f"type {word}, then Enter" if word else None)
        self.question, self.snapshot, self.refusal = question, snapshot, ""
        self.first_visible = 0
        """Index of the first visible fact, if not all fit."""
        self._readable_since = math.inf
        self._dry_run, self._dry_run_line = dry_run, styled_line()

    def on_mount(self) -> None:
        self.call_after_refresh(self.set_timer, MIN_READING_TIME_S, self._mark_readable)
        if self._dry_run is not None:
            self._dry_run_line = styled_line((pad_text("now", 10), "muted"), ("looking…", "muted"))
            self.run_worker(self._run_dry_run(self._dry_run), exit_on_error=False)

    async def _run_dry_run(self, dry_run: Callable[[], Awaitable[Outcome]]) -> None:
        """Show what the command would do to the processes that exist now."""
        outcome = await dry_run()
        if not outcome.done:
            self.refusal = self.refusal or outcome.message
        self._dry_run_line = styled_line((pad_text("now", 10), "muted"), (outcome.message, ""))
        self.redraw()

    def _mark_readable(self) -> None:
        self._readable_since = time.monotonic()
        self.redraw()

    @property
    def is_readable(self) -> bool:
        """Return True if MIN_READING_TIME_S is over; the keys are printed from then on."""
        return self._readable_since < math.inf

    def accepts_key(self, event: events.Key | events.Paste) -> bool:
        """Return False for an answer that was typed before the question could be read.

        Keys that cancel are accepted at any time, and so are control keys, such as the one that
        redraws the screen: they are no answer.
        """
        is_no_answer = isinstance(event, events.Key) and (
            event.key in CANCEL_KEYS or event.key.startswith("ctrl+")
        )
        return is_no_answer or event.time >= self._readable_since

    def build_lines(self) -> list[StyledLine]:
        """Return the facts about the command, and the keys.

        On a small screen the keys are always visible and the facts scroll.
        """
        key_lines = self._key_lines()
        if not self.is_readable:
            key_lines = [styled_line()] * len(key_lines)
        room = self.size.height - 2 - len(key_lines) - (self.prompt is not None)
        width = max(10, self.width_cells - 3)
        unwrapped = [*self.question.lines, *([self._dry_run_line] if self._dry_run else [])]
        facts = [line for fact in unwrapped for line in _wrap_fact(fact, width)]
        if len(facts) > room > 0:
            facts = self._scroll_facts(facts, max(1, room - 1))
        return [*facts, *key_lines]

    def _scroll_facts(self, facts: list[StyledLine], max_lines: int) -> list[StyledLine]:
        """Return the facts that fit, and a line with the number of those above and below."""
        self.first_visible = max(0, min(self.first_visible, len(facts) - max_lines))
        below = len(facts) - self.first_visible - max_lines
        marks = f"more than fits: ↑ {self.first_visible} more, ↓ {below} more"
        return [
            *facts[self.first_visible : self.first_visible + max_lines],
            styled_line((marks, "muted")),
        ]

    def action_scroll(self, by: int) -> None:
        """Scroll the facts."""
        self.first_visible = max(0, self.first_visible + by)
        self.redraw()

    def _key_lines(self) -> list[StyledLine]:
        cancel = (("▸ Cancel ", "select"), ("  Enter, Esc", "muted"))
        narrow = self.width_cells < NARROW_MAX_CELLS
        if self.refusal:
            return [
                styled_line(("✖ refused: ", "bad"), (self.refusal, "bad")),
                styled_line(*cancel),
            ]
        verb, word = self.question.verb, self.question.required_word
        if not word:
            return [styled_line(), styled_line(*cancel, "    ", ("y", "key"), f"  {verb}")]
        act: tuple[Span, ...] = ((word, "strong"), (" Enter", "key"), (f"  {verb}", ""))
        if narrow:
            return [styled_line(*cancel), styled_line(*act)]
        why = f"it is healthy: type {word} below to {verb} it"
        return [styled_line(), styled_line(*cancel, "    ", *act), styled_line((why, "muted"))]

    def recheck(self, snapshot: Snapshot) -> None:
        """Check with a new snapshot whether the question is still valid; if not, show why."""
        self.snapshot = snapshot
        refusal = self.question.invalid_reason(snapshot)
        if refusal != self.refusal and (refusal or not self.refusal):
            self.refusal = refusal
            self.redraw()

    def action_cancel(self) -> None:
        self.dismiss(False)

    def action_confirm(self) -> None:
        """Confirm, unless a word has to be typed or the question is no longer valid."""
        if not self.question.required_word:
            self._confirm()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Confirm if the required word was typed; cancel if nothing was typed."""
        if event.value == self.question.required_word:
            self._confirm()
        elif event.value == "" or self.refusal:
            self.dismiss(False)

    def _confirm(self) -> None:
        self.recheck(self.snapshot)
        if not self.refusal:
            self.dismiss(True)


def _wrap_fact(fact: StyledLine, width: int) -> list[StyledLine]:
    """Return a fact (name and text) wrapped to the width; any other line unchanged."""
    if len(fact.spans) != 2:
        return [fact]
    (name, name_style), (text, text_style) = fact.spans
    parts = textwrap.wrap(sanitize_text(text, 2000), max(10, width - len(name))) or [""]
    names = [name] + [pad_text("", len(name))] * (len(parts) - 1)
    return [
        styled_line((label, name_style), (part, text_style))
        for label, part in zip(names, parts, strict=True)
    ]
