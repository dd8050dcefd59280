"""The main screen: header, panes, notice line, keys. It holds what the operator looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import Reactive
from textual.widget import Widget

from console.core.model import Moment, Snapshot
from console.core.trends import DAY_S, Trends
from console.ui.dialogs.confirm_text import first
from console.ui.keymap import Entry, symbol
from console.ui.panes import PaneModule, discover, drawn, name_of, wish
from console.ui.panes.processes import ORDERS
from console.ui.redraw.render_cache import Noted, alike
from console.ui.render.header import Freshness, footer, header
from console.ui.render.layout import Place, arrange, tops
from console.ui.render.styled_lines import Choice, Frame, Line, Look, line
from console.ui.textual_ext.patches import SparingScreen
from console.ui.widgets.filter_input import FilterLine
from console.ui.widgets.line_view import Pane, put
from console.ui.widgets.row_filter import NOTHING

SETTLED_S = 2.0
"""By then all has found its place. The frames before have nothing to show, or not where it stays:
whoever looks is not to wait for the pause after each."""


class Board(SparingScreen):
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
        self.settled = False
        """Whether all has found its place: until then every snapshot is drawn as it comes."""
        self.zoomed, self.order = "", ORDERS[0]
        self._sifted: Pane | None = None
        self._hidden: list[str] = []
        self._needs: dict[str, int] = {}
        """The most lines that each pane had to show: it grows and does not shrink again."""
        self._shown: tuple[Snapshot, Freshness, Line] | None = None
        self._told: Snapshot | None = None
        """The first of the snapshots that told the same as the one that is shown."""
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
        self.hurry(SETTLED_S)
        self.set_timer(SETTLED_S, lambda: setattr(self, "settled", True))

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
        told = self._told
        if told is None or not alike(snapshot, told):
            told = self._told = snapshot
        if self.choice is None:
            self.choice = first(snapshot)
        self._head(told, snapshot.moment, fresh)
        needs, lost = dict(self._needs), _lost(self.choice, told)
        for name, module in self.modules.items():
            self._present(name, module, told, lost, snapshot.moment)
        self.notice.present([notice if notice.spans else self._idle()])
        self._foot()
        if needs != self._needs and not self.zoomed:
            self.place()

    def _foot(self) -> None:
        """The keys; they say nothing of any moment."""
        asks, shape = bool(self.prompt.display), (self.size.width, self._where)

        def draw(_: Moment) -> tuple[list[Line], None]:
            return [self.prompt.KEYS if asks else footer(self.entries, *shape)], None

        self.keys.show((asks, shape), Moment(0.0), draw)

    @property
    def _where(self) -> str:
        """For what the keys serve: the focused pane, or the past in any."""
        past = self._shown is not None and self._shown[1].past is not None
        return "past" if past else self.focus_name

    def steady_s(self, now: Moment) -> float:
        """Seconds for which all that is shown stays true, if nothing happens."""
        shown = [pane for pane in (self.top, *self.panes.values()) if pane.display]
        return min((pane.steady_s(now) for pane in shown), default=0.0)

    def _head(self, told: Snapshot, moment: Moment, fresh: Freshness) -> None:
        """The lines above the panes."""
        shape = self.size.width, self.top.size.height
        starts = next((symbol(one.key) for one in self.entries if one.id == "daemon"), "")
        seen = Noted(told)

        def draw(now: Moment) -> tuple[list[Line], None]:
            return header(seen.at(now), fresh, self.read_only, *shape, self.trends, starts), None

        self.top.show((seen, fresh.words, self.trends, shape), moment, draw)

    def _present(
        self, name: str, module: PaneModule, told: Snapshot, lost: Choice | None, moment: Moment
    ) -> None:
        pane = self.panes[name]
        if not pane.display:
            return
        pane.choose(self.choice)
        wide = max(0, pane.size.width - 3)
        match = self.prompt.sift if pane is self._sifted else NOTHING
        about = told, wide, pane.room, lost, self.trends, self.span_s, self.order, match
        if pane.still(about, moment):
            return
        seen = Noted(told)
        frame = Noted(Frame(wide, pane.room, lost, self.trends, self.span_s, self.order))

        def draw(now: Moment) -> tuple[list[Line], Line]:
            lines, summary = drawn(module, seen.at(now), frame.at(now))
            if not self.zoomed:  # it has all the room there is, and some panes use it
                self._needs[name] = max(self._needs.get(name, 0), len(lines))
            return lines, summary

        pane.show((seen, frame), moment, draw, match)

    def _idle(self) -> Line:
        """What the notice line says when there is no news: what is not on the screen."""
        if self.prompt.sift and self._sifted:
            typed = (f" filter in {self._sifted.title}: {self.prompt.sift.words}", "warn")
            return line(typed, ("  Esc clears it", "muted"))
        hidden = ", ".join(self.modules[name].TITLE for name in self._hidden)
        return line((f" … not shown: {hidden}", "muted")) if hidden else line()

    def again(self) -> None:
        """Show the same snapshot, after something about the view has changed."""
        if self._shown is not None:
            self.show(*self._shown)

    on_filter_line_sifted = again

    # --- layout -----------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.place()

    def on_descendant_focus(self) -> None:
        pane = self.focused
        if isinstance(pane, Pane) and self._shown:
            self._foot()
            if not self.zoomed and (pane.folded or pane.room < len(pane.rows)):
                self.place()

    def place(self) -> None:
        """Give every widget its rectangle. Only a resize, zoom or focus comes here."""
        width, height = self.size
        top = tops(height, self.graphs)
        keys, notice = int(height > 1), int(height > 3)
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
        if isinstance(pane, Pane) and (found := pane.move(by)) is not None:
            self.choice = found
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


def _lost(choice: Choice | None, snapshot: Snapshot) -> Choice | None:
    """The selected instance, if it is no more."""
    if choice is None or choice.identity is None:
        return None
    view = snapshot.role(choice.role)
    there = view is not None and any(i.identity == choice.identity for i in view.instances)
    return None if there else choice
