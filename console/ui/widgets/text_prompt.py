"""A line of typed text."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from console.core.text.formatting import visible


class Prompt(Input):
    """One line of typed text, in which pasted control characters cannot hide."""

    def __init__(self, placeholder: str = "", *, id: str) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, max_length=200)
        self.cursor_blink = False

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert_text_at_cursor(visible((event.text.splitlines() or [""])[0], 200))
