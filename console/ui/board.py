"""The main screen: header, panes, notice line, keys. It holds what the operator looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from console.core.model import Snapshot
from console.core.trends import DAY_S, Trends
from console.ui.commands import Entry
from console.ui.consequence import first
from console.ui.filter_line import FilterLine
from console.ui.graph import strip_line
from console.ui.header import Freshness, footer, header
from console.ui.layout import Place, arrange, tops
from console.ui.paint import Choice, Frame, Line, Look, line
from console.ui.pane import Pane, put
from console.ui.panes import PaneModule, discover, name_of, wish
from console.ui.panes.processes import ORDERS
from console.ui.sifting import NOTHING
from console.ui.sparing import SparingCompositor


class Board(Screen[None]):
    """All panes over one snapshot."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)  # a border is all that changes

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
        Binding("escape", "back", show=False),
        Binding("tab", "app.focus_next", show=False),
        Binding("shift+tab", "app.focus_previous", show=False),
    ]

    def __init__(
        self, look: Look, entries: Sequence[Entry], read_only: bool, graphs: bool = False
    ) -> None:
        super().__init__()
        self._compositor = SparingCompositor()
        self.modules: dict[str, PaneModule] = {name_of(module): module for module in discover()}
        self.panes = {
            name: Pane(module.TITLE, module.KEY, id=f"pane-{name}")
            for name, module in self.modules.items()
        }
        bare = (Pane(id=id, framed=False) for id in ("header", "notice", "keys"))
        self.top, self.notice, self.keys = bare
        self.prompt = FilterLine()
        self.entries, self.read_only, self.graphs = tuple(entries), read_only, graphs
        self.trends: Trends | None = None
        self.span_s = DAY_S
        self.choice: Choice | None = None
        self.zoomed, self.order = "", ORDERS[0]
        self._sifted: Pane | None = None
        self._hidden: list[str] = []
        self._needs: dict[str, int] = {}
        """The most lines that each pane had to show: it grows and does not shrink again."""
        self._shown: tuple[Snapshot, Freshness, Line] | None = None
        self.dress(look)

    def compose(self) -> ComposeResult:
        yield self.top
        yield from self.panes.values()
        yield self.notice
        yield self.prompt
        yield self.keys

    def on_mount(self) -> None:
        for module in self.modules.values():
            self._bindings.bind(module.KEY, f"pane('{name_of(module)}')", show=False)
        self.panes[next(iter(self.panes))].focus()

    def dress(self, look: Look) -> None:
        """Put on a theme."""
        for pane in (self.top, self.notice, self.keys, *self.panes.values()):
            pane.look = look
            pane.redraw()

    @property
    def focus_name(self) -> str:
        """The name of the focused pane."""
        return next((name for name, pane in self.panes.items() if pane is self.focused), "")

    # --- showing ----------------------------------------------------------------------------

    def show(self, snapshot: Snapshot, fresh: Freshness, notice: Line) -> None:
        """Show a snapshot; what has not changed is not touched."""
        self._shown = snapshot, fresh, notice
        if self.choice is None:
            self.choice = first(snapshot)
        width = self.size.width
        lines = header(snapshot, fresh, self.read_only, width, self.top.size.height)
        if self.trends is not None:
            lines.append(Line((*strip_line(self.trends, width),), "panel"))
        self.top.present(lines)
        needs = dict(self._needs)
        for name, module in self.modules.items():
            self._present(name, module, snapshot)
        self.notice.present([notice if notice.spans else self._idle()])
        self._foot()
        if needs != self._needs and not self.zoomed:
            self.place()

    def _foot(self) -> None:
        self.keys.present([footer(self.entries, self.size.width, self.focus_name)])

    def _present(self, name: str, module: PaneModule, snapshot: Snapshot) -> None:
        pane = self.panes[name]
        if not pane.display:
            return
        wide = max(0, pane.size.width - 3)
        frame = Frame(wide, pane.room, self.choice, self.trends, self.span_s, self.order)
        try:
            lines, summary = module.view(snapshot, frame), module.summary(snapshot, frame)
        except Exception as error:  # One pane's fault must not take the others' sight.
            lines = [line(("cannot be drawn: ", "bad"), (repr(error), "muted"))]
            summary = lines[0]
        self._needs[name] = max(self._needs.get(name, 0), min(len(lines), module.ROWS[1]))
        pane.present(lines, summary, self.prompt.sift if pane is self._sifted else NOTHING)

    def _idle(self) -> Line:
        """What the notice line says when there is no news: what is not on the screen."""
        if self.prompt.sift and self._sifted:
            typed = (f" filter in {self._sifted.title}: {self.prompt.sift.text}", "warn")
            return line(typed, ("  Esc clears it", "muted"))
        hidden = ", ".join(self.modules[name].TITLE for name in self._hidden)
        return line((f" … not shown: {hidden}", "muted")) if hidden else line()

    def again(self) -> None:
        """Show the same snapshot, after something about the view has changed."""
        if self._shown is not None:
            self.show(*self._shown)

    on_filter_line_sifted = again

    def _compositor_refresh(self) -> None:
        """Under a dialog, hand on what changed once; Textual would repaint it at every frame."""
        if self is self.app.screen:
            super()._compositor_refresh()
            return
        regions = tuple(self._compositor._dirty_regions)
        self._compositor._dirty_regions.clear()
        self._dirty_widgets.clear()
        if regions:
            self.app.screen.refresh(*regions)

    # --- layout -----------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.place()

    def on_descendant_focus(self) -> None:
        pane = self.focused
        if isinstance(pane, Pane) and self._shown:
            self._foot()
            if not self.zoomed and pane.folded:
                self.place()

    def place(self) -> None:
        """Give every widget its rectangle. Only a resize, zoom or focus comes here."""
        width, height = self.size
        top = tops(height, self.graphs)
        keys = 1 if height > 1 else 0
        notice = 1 if height > 3 else 0
        free = max(0, height - top - keys - notice)
        wishes = [wish(name, one, self._needs.get(name)) for name, one in self.modules.items()]
        places = arrange(wishes, width, free, self.focus_name)
        if self.zoomed:
            places = {self.zoomed: Place(0, 0, width, free)}
        self._hidden = [] if self.zoomed else [name for name in self.panes if name not in places]
        for name, pane in self.panes.items():
            place = places.get(name)
            pane.display = place is not None and place.height > 0
            if place is not None:
                put(pane, place.x, place.y + top, place.width, place.height)
        put(self.top, 0, 0, width, top)
        put(self.notice, 0, height - keys - notice, width, notice)
        put(self.prompt, 0, height - keys - notice, width, notice)
        put(self.keys, 0, height - keys, width, keys)
        self.call_after_refresh(self.again)

    # --- moving, filtering, zooming -----------------------------------------------------------

    def action_pane(self, name: str) -> None:
        """Focus a pane by its key; one that found no room gets some."""
        if self.zoomed:
            self.zoomed = name
            self.place()
        self.panes[name].display = True
        self.panes[name].focus()

    def action_move(self, by: int) -> None:
        """Move the selection in a pane that has one; scroll any other."""
        pane = self.focused
        if not isinstance(pane, Pane):
            return
        keys = [one.key for one in pane.rows if one.key is not None]
        if not keys:
            pane.scroll_by(by)
            return
        at = keys.index(self.choice) if self.choice in keys else -1 if by > 0 else len(keys)
        self.choice = keys[max(0, min(at + by, len(keys) - 1))]
        pane.reveal(self.choice)
        self.again()

    def on_pane_clicked(self, message: Pane.Clicked) -> None:
        self.choice = message.key
        self.again()

    def zoom(self) -> None:
        """The focused pane takes the whole screen, or gives it back."""
        self.zoomed = "" if self.zoomed else self.focus_name
        self.place()

    def sort(self) -> str:
        """Sort the instances by the next thing there is, which is returned."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.again()
        return self.order

    def ask_filter(self, refuse: Callable[[str], None]) -> None:
        """Open the filter line."""
        if isinstance(self.focused, Pane) and self.focused is not self._sifted:
            self._sifted, self.prompt.sift = self.focused, NOTHING
        self.prompt.open(refuse)

    def on_filter_line_closed(self) -> None:
        if self._sifted is not None:
            self._sifted.focus()
        self.again()

    def action_back(self) -> None:
        """Esc undoes one thing: the filter, then the zoom, then the freeze."""
        if self.prompt.display or self.prompt.sift:
            self.prompt.clear()
        elif self.zoomed:
            self.zoom()
        else:
            self.app.call_later(self.app.run_action, "thaw")
