"""The base class of all dialogs: a modal screen with one framed view."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from console.ui.render.styled_lines import LineStyles, StyledLine
from console.ui.textual_ext.patches import MinimalCompositor
from console.ui.widgets.line_view import LineView
from console.ui.widgets.text_prompt import TextPrompt

Result = TypeVar("Result")


class Dialog(ModalScreen[Result], Generic[Result]):
    """A modal screen with one framed view and, optionally, a prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "app.command('leave')", priority=True, show=False)
    ]
    FULL_SCREEN = False
    """True: the dialog takes the whole screen. False: it is WIDTH_CELLS wide and as high as its
    content."""
    WIDTH_CELLS = 88
    PROMPT_OPEN = True
    """The prompt, if there is one, is open from the start."""

    def __init__(self, title: str, line_styles: LineStyles, prompt: str | None = None) -> None:
        super().__init__()
        self._compositor = MinimalCompositor()
        self.line_view = LineView(title, id="sheet")
        self.line_view.line_styles = line_styles
        self.prompt = TextPrompt(prompt, id="prompt") if prompt is not None else None

    def compose(self) -> ComposeResult:
        with Vertical(id="sheet-box", classes="wide" if self.FULL_SCREEN else ""):
            yield self.line_view
            if self.prompt is not None:
                yield self.prompt

    def on_mount(self) -> None:
        if self.prompt is not None:
            self.prompt.display = self.PROMPT_OPEN
        (self.prompt if self.prompt is not None and self.PROMPT_OPEN else self.line_view).focus()
        self.redraw()

    def build_lines(self) -> list[StyledLine]:
        """Return the lines to show."""
        raise NotImplementedError

    @property
    def width_cells(self) -> int:
        """Return the width of the dialog, including its border."""
        return self.size.width if self.FULL_SCREEN else min(self.WIDTH_CELLS, self.size.width)

    def redraw(self) -> None:
        """Show the lines; unless FULL_SCREEN is set, adapt the height to their number."""
        lines = self.build_lines()
        height = self.size.height
        if not self.FULL_SCREEN:
            height = min(height, len(lines) + 2 + (self.prompt is not None))
            self.line_view.styles.height = height
        if self.prompt is not None:
            width = self.width_cells
            self.prompt.styles.offset = (1, height - 2)
            self.prompt.styles.width = max(1, width - 2)
        self.line_view.set_lines(lines)

    def on_resize(self) -> None:
        self.redraw()
