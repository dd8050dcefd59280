"""An input line that sanitizes pasted text."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from console.core.text.formatting import sanitize_text


class TextPrompt(Input):
    """A one-line input of at most 200 characters; control characters in pasted text are escaped."""

    def __init__(self, placeholder: str = "", *, id: str) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, max_length=200)
        self.cursor_blink = False

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert_text_at_cursor(sanitize_text((event.text.splitlines() or [""])[0], 200))
