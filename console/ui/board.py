"""The main screen: header, panes, notice line, keys. It holds what the operator looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from console.core.model import Moment, Snapshot
from console.core.trends import DAY_S, Trends
from console.ui.ages import alike
from console.ui.commands import Entry
from console.ui.consequence import first
from console.ui.dialogs.sheet import Prompt
from console.ui.header import Freshness, footer, header
from console.ui.layout import Place, Wish, arrange, tops
from console.ui.paint import Choice, Frame, Line, Look, line
from console.ui.pane import Pane
from console.ui.panes import PaneModule, discover, drawn, name_of
from console.ui.sparing import SparingScreen


class Board(SparingScreen):
    """All panes over one snapshot."""

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
        self.top = Pane(id="header", framed=False)
        self.notice = Pane(id="notice", framed=False)
        self.keys = Pane(id="keys", framed=False)
        self.prompt = Prompt("filter: a word or a PID", id="filter")
        self.prompt.display = False
        self.entries, self.read_only, self.graphs = tuple(entries), read_only, graphs
        self.trends: Trends | None = None
        self.span_s = DAY_S
        self.choice: Choice | None = None
        self.word, self.zoomed = "", ""
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
        if self._told is None or not alike(snapshot, self._told):
            self._told = snapshot
        if self.choice is None:
            self.choice = first(snapshot)
        self._head(snapshot, fresh)
        needs = dict(self._needs)
        for name, module in self.modules.items():
            self._present(name, module, snapshot)
        self.notice.present([notice if notice.spans else self._idle()])
        self.keys.present([footer(self.entries, self.size.width)])
        if needs != self._needs and not self.zoomed:
            self.place()

    def steady_s(self, now: Moment) -> float:
        """Seconds for which all that is shown stays true, if nothing happens."""
        return min(pane.steady_s(now) for pane in (self.top, *self.panes.values()) if pane.display)

    def _head(self, snapshot: Snapshot, fresh: Freshness) -> None:
        """The lines above the panes."""
        size = self.size

        def draw(now: Moment) -> tuple[list[Line], None]:
            told = replace(snapshot, moment=now)
            lines = header(told, fresh, self.read_only, size.width, self.trends)
            return lines if size.height > 2 else lines[1:], None

        self.top.show((self._told, fresh.words, self.trends, size), snapshot.moment, draw)

    def _present(self, name: str, module: PaneModule, snapshot: Snapshot) -> None:
        pane = self.panes[name]
        if not pane.display:
            return
        choice = self.choice if pane.chosen_from else None
        frame = Frame(max(0, pane.size.width - 3), pane.room, choice, self.trends, self.span_s)

        def draw(now: Moment) -> tuple[list[Line], Line]:
            lines, summary = drawn(module, replace(snapshot, moment=now), frame)
            self._needs[name] = max(self._needs.get(name, 0), min(len(lines), module.ROWS[1]))
            return lines, summary

        pane.show((self._told, frame), snapshot.moment, draw, self.word)
        if pane.chosen_from and choice is not self.choice:
            self._present(name, module, snapshot)  # it has something to choose from since now

    def _idle(self) -> Line:
        """What the notice line says when there is no news: what is not on the screen."""
        if self.word:
            return line((f" filter: {self.word}", "warn"), ("  Esc clears it", "muted"))
        hidden = ", ".join(self.modules[name].TITLE for name in self._hidden)
        return line((f" … not shown: {hidden}", "muted")) if hidden else line()

    def again(self) -> None:
        """Show the same snapshot, after something about the view has changed."""
        if self._shown is not None:
            self.show(*self._shown)

    # --- layout -----------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.place()

    def on_descendant_focus(self) -> None:
        pane = self.focused
        if isinstance(pane, Pane) and self._shown and not self.zoomed and pane.folded:
            self.place()

    def place(self) -> None:
        """Give every widget its rectangle. Only a resize, zoom or focus comes here."""
        width, height = self.size
        top = tops(height, self.graphs)
        keys = 1 if height > 1 else 0
        notice = 1 if height > 3 else 0
        free = max(0, height - top - keys - notice)
        wishes = [
            Wish(name, one.SLOT, *sorted((one.ROWS[0], self._needs.get(name, one.ROWS[0]))))
            for name, one in self.modules.items()
        ]
        places = arrange(wishes, width, free, self.focus_name)
        if self.zoomed:
            places = {self.zoomed: Place(0, 0, width, free)}
        self._hidden = [] if self.zoomed else [name for name in self.panes if name not in places]
        for name, pane in self.panes.items():
            place = places.get(name)
            pane.display = place is not None and place.height > 0
            if place is not None:
                _put(pane, place.x, place.y + top, place.width, place.height)
        _put(self.top, 0, 0, width, top)
        _put(self.notice, 0, height - keys - notice, width, notice)
        _put(self.prompt, 0, height - keys - notice, width, notice)
        _put(self.keys, 0, height - keys, width, keys)
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
        if isinstance(pane, Pane) and (found := pane.move(self.choice, by)) is not None:
            self.choice = found
            self.again()

    def on_pane_clicked(self, message: Pane.Clicked) -> None:
        self.choice = message.key
        self.again()

    def zoom(self) -> None:
        """The focused pane takes the whole screen, or gives it back."""
        self.zoomed = "" if self.zoomed else self.focus_name
        self.place()

    def ask_filter(self) -> None:
        """Open the filter line."""
        self.prompt.display = True
        self.prompt.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.word = event.value
        self.again()

    def on_input_submitted(self) -> None:
        self._close_filter(self.word)

    def _close_filter(self, word: str) -> None:
        self.word = word
        with self.prompt.prevent(Input.Changed):
            self.prompt.value = word
        self.prompt.display = False
        next(pane for pane in self.panes.values() if pane.display).focus()
        self.again()

    def action_back(self) -> None:
        """Esc undoes one thing: the filter, then the zoom, then the freeze."""
        if self.prompt.display or self.word:
            self._close_filter("")
        elif self.zoomed:
            self.zoom()
        else:
            self.app.call_later(self.app.run_action, "thaw")


def _put(widget: Widget, x: int, y: int, width: int, height: int) -> None:
    widget.styles.offset = (x, y)
    widget.styles.width = width
    widget.styles.height = height
