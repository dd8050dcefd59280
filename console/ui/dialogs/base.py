"""A modal screen with one pane: the ground of every dialog."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from console.ui.render.styled_lines import Line, Look
from console.ui.textual_ext.patches import SparingCompositor
from console.ui.widgets.line_view import Pane
from console.ui.widgets.text_prompt import Prompt

Result = TypeVar("Result")


class Sheet(ModalScreen[Result], Generic[Result]):
    """A framed pane over the board."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "app.command('leave')", priority=True, show=False)
    ]
    WIDE = False
    """The whole screen; otherwise `BREADTH` cells and as high as the content."""
    BREADTH = 88
    ASKS = True
    """The prompt, where there is one, is open from the start."""

    def __init__(self, title: str, look: Look, prompt: str | None = None) -> None:
        super().__init__()
        self._compositor = SparingCompositor()
        self.pane = Pane(title, id="sheet")
        self.pane.look = look
        self.prompt = Prompt(prompt, id="prompt") if prompt is not None else None

    def compose(self) -> ComposeResult:
        with Vertical(id="sheet-box", classes="wide" if self.WIDE else ""):
            yield self.pane
            if self.prompt is not None:
                yield self.prompt

    def on_mount(self) -> None:
        if self.prompt is not None:
            self.prompt.display = self.ASKS
        (self.prompt if self.prompt is not None and self.ASKS else self.pane).focus()
        self.draw()

    def content(self) -> list[Line]:
        """The lines to show."""
        raise NotImplementedError

    @property
    def breadth(self) -> int:
        """Cells from border to border."""
        return self.size.width if self.WIDE else min(self.BREADTH, self.size.width)

    def draw(self) -> None:
        """Show the lines; a sheet that is not wide is as high as they need."""
        lines = self.content()
        height = self.size.height
        if not self.WIDE:
            height = min(height, len(lines) + 2 + (self.prompt is not None))
            self.pane.styles.height = height
        if self.prompt is not None:
            width = self.breadth
            self.prompt.styles.offset = (1, height - 2)
            self.prompt.styles.width = max(1, width - 2)
        self.pane.present(lines)

    def on_resize(self) -> None:
        self.draw()
