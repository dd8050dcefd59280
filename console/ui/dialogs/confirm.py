"""Asks before something ends. Cancel is what Enter does; `y` acts; the keys are printed.

It hears only what is typed after it could be read: what is older was no answer to its question.
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

from console.core.model import Outcome, Snapshot
from console.core.text.formatting import visible
from console.ui.dialogs.base import Sheet
from console.ui.dialogs.confirm_text import Question
from console.ui.render.styled_lines import Line, Look, Span, fit, line

NARROW = 60
"""Cells, under which the keys take a line each."""
READING_S = 0.25
"""From the question on the screen to the first key that can be an answer: nobody reads faster."""
WAYS_OUT = ("escape", "ctrl+c", "ctrl+q")


class Confirm(Sheet[bool]):
    """Dismissed with True only when the question was confirmed and still stood."""

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
        look: Look,
        rehearse: Callable[[], Awaitable[Outcome]] | None = None,
    ) -> None:
        """`rehearse`: looks afresh and says which processes an answer of yes would end."""
        word = question.word
        super().__init__(question.title, look, f"type {word}, then Enter" if word else None)
        self.question, self.snapshot, self.refusal = question, snapshot, ""
        self.first = 0
        """The first fact in view, where there are more than fit."""
        self._read_at = math.inf
        self._rehearse, self._rehearsed = rehearse, line()

    def on_mount(self) -> None:
        self.call_after_refresh(self.set_timer, READING_S, self._read)
        if self._rehearse is not None:
            self._rehearsed = line((fit("now", 10), "muted"), ("looking…", "muted"))
            self.run_worker(self._look_afresh(self._rehearse), exit_on_error=False)

    async def _look_afresh(self, rehearse: Callable[[], Awaitable[Outcome]]) -> None:
        """Show what the command would do to the processes that are there now."""
        outcome = await rehearse()
        if not outcome.done:
            self.refusal = self.refusal or outcome.message
        self._rehearsed = line((fit("now", 10), "muted"), (outcome.message, ""))
        self.draw()

    def _read(self) -> None:
        self._read_at = time.monotonic()
        self.draw()

    @property
    def ready(self) -> bool:
        """Whether it could be read by now; its keys are printed then."""
        return self._read_at < math.inf

    def hears(self, typed: events.Key | events.Paste) -> bool:
        """Whether that can be an answer: any way out can, whenever it was typed."""
        out = isinstance(typed, events.Key) and typed.key in WAYS_OUT
        return out or typed.time >= self._read_at

    def content(self) -> list[Line]:
        """What would happen, and the keys; on a small screen the keys come first."""
        foot = self._foot()
        if not self.ready:
            foot = [line()] * len(foot)
        room = self.size.height - 2 - len(foot) - (self.prompt is not None)
        width = max(10, self.breadth - 3)
        told = [*self.question.lines, *([self._rehearsed] if self._rehearse else [])]
        facts = [part for one in told for part in _wrapped(one, width)]
        if len(facts) > room > 0:
            facts = self._window(facts, max(1, room - 1))
        return [*facts, *foot]

    def _window(self, facts: list[Line], room: int) -> list[Line]:
        """As many facts as fit, and how many are above and below."""
        self.first = max(0, min(self.first, len(facts) - room))
        below = len(facts) - self.first - room
        marks = f"more than fits: ↑ {self.first} more, ↓ {below} more"
        return [*facts[self.first : self.first + room], line((marks, "muted"))]

    def action_scroll(self, by: int) -> None:
        """Move through the facts."""
        self.first = max(0, self.first + by)
        self.draw()

    def _foot(self) -> list[Line]:
        cancel = (("▸ Cancel ", "select"), ("  Enter, Esc", "muted"))
        narrow = self.breadth < NARROW
        if self.refusal:
            return [line(("✖ refused: ", "bad"), (self.refusal, "bad")), line(*cancel)]
        verb, word = self.question.verb, self.question.word
        if not word:
            return [line(), line(*cancel, "    ", ("y", "key"), f"  {verb}")]
        act: tuple[Span, ...] = ((word, "strong"), (" Enter", "key"), (f"  {verb}", ""))
        if narrow:
            return [line(*cancel), line(*act)]
        why = f"it is healthy: type {word} below to {verb} it"
        return [line(), line(*cancel, "    ", *act), line((why, "muted"))]

    def recheck(self, snapshot: Snapshot) -> None:
        """News: the question may no longer stand."""
        self.snapshot = snapshot
        refusal = self.question.still(snapshot)
        if refusal != self.refusal and (refusal or not self.refusal):
            self.refusal = refusal
            self.draw()

    def action_cancel(self) -> None:
        self.dismiss(False)

    def action_confirm(self) -> None:
        """Act, unless a word has to be typed or the target has changed."""
        if not self.question.word:
            self._act()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The typed word decides."""
        if event.value == self.question.word:
            self._act()
        elif event.value == "" or self.refusal:
            self.dismiss(False)

    def _act(self) -> None:
        self.recheck(self.snapshot)
        if not self.refusal:
            self.dismiss(True)


def _wrapped(one: Line, width: int) -> list[Line]:
    """A fact, name and text, on as many lines as it takes; any other line as it is."""
    if len(one.spans) != 2:
        return [one]
    (name, style), (text, told) = one.spans
    parts = textwrap.wrap(visible(text, 2000), max(10, width - len(name))) or [""]
    heads = [name] + [fit("", len(name))] * (len(parts) - 1)
    return [line((head, style), (part, told)) for head, part in zip(heads, parts, strict=True)]
