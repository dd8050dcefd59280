"""The main screen: header, panes, notice line and keys, with the state of the operator's view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import Reactive
from textual.widget import Widget

from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.trends import DAY_S, Trends
from console.ui.dialogs.confirm_text import default_selection
from console.ui.keymap import CommandSpec, format_key
from console.ui.panes import PaneModule, discover, layout_request, pane_name, render_safely
from console.ui.panes.processes import SORT_ORDERS
from console.ui.redraw.render_cache import AccessRecorder, is_same_content
from console.ui.render.header import Freshness, render_footer, render_header
from console.ui.render.layout import PaneRegion, arrange_panes, header_height
from console.ui.render.styled_lines import (
    LineStyles,
    PaneContext,
    Selection,
    StyledLine,
    styled_line,
)
from console.ui.textual_ext.patches import MinimalScreen
from console.ui.widgets.filter_input import FilterInput
from console.ui.widgets.line_view import LineView, place_widget
from console.ui.widgets.row_filter import NO_FILTER

STARTUP_PERIOD_S = 2.0
"""After this time the layout is final. The frames before are empty or have another layout, so
the minimum interval between frames does not apply to them."""


class MainScreen(MinimalScreen):
    """The screen with all panes, which show one snapshot."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)  # only borders change

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
        self,
        line_styles: LineStyles,
        command_specs: Sequence[CommandSpec],
        read_only: bool,
        has_graphs: bool = False,
    ) -> None:
        super().__init__()
        self.pane_modules: dict[str, PaneModule] = {
            pane_name(module): module for module in discover()
        }
        self.panes = {
            name: LineView(module.TITLE, module.KEY, id=f"pane-{name}")
            for name, module in self.pane_modules.items()
        }
        unframed = (LineView(id=id, is_framed=False) for id in ("header", "notice", "keys"))
        self.header_view, self.notice_view, self.keys_view = unframed
        self.filter_input = FilterInput()
        self.command_specs, self.read_only, self.has_graphs = (
            tuple(command_specs),
            read_only,
            has_graphs,
        )
        self.trends: Trends | None = None
        self.span_s = DAY_S
        self.selection: Selection | None = None
        self.settled = False
        """True when STARTUP_PERIOD_S is over; until then every snapshot is drawn at once."""
        self.zoomed_pane, self.instance_order = "", SORT_ORDERS[0]
        self._filtered_pane: LineView | None = None
        self._hidden_panes: list[str] = []
        self._max_line_counts: dict[str, int] = {}
        """Pane name -> the greatest number of lines it had so far; a pane never shrinks."""
        self._last_shown: tuple[Snapshot, Freshness, StyledLine] | None = None
        self._content_snapshot: Snapshot | None = None
        """The first of the consecutive snapshots with the same content as the shown one."""
        self.apply_styles(line_styles)

    def compose(self) -> ComposeResult:
        yield self.header_view
        yield from self.panes.values()
        yield self.notice_view
        yield self.filter_input
        yield self.keys_view

    def on_mount(self) -> None:
        for module in self.pane_modules.values():
            self._bindings.bind(module.KEY, f"pane('{pane_name(module)}')", show=False)
        self.panes[next(iter(self.panes))].focus()
        self.paint_immediately(STARTUP_PERIOD_S)
        self.set_timer(STARTUP_PERIOD_S, lambda: setattr(self, "settled", True))

    def apply_styles(self, line_styles: LineStyles) -> None:
        """Apply the styles of a theme to all views."""
        for pane in (self.header_view, self.notice_view, self.keys_view, *self.panes.values()):
            pane.line_styles = line_styles
            pane.repaint_changes()

    @property
    def focused_pane_name(self) -> str:
        """Return the name of the focused pane, or "" if no pane has the focus."""
        return next((name for name, pane in self.panes.items() if pane is self.focused), "")

    # --- showing ----------------------------------------------------------------------------

    def show_snapshot(self, snapshot: Snapshot, freshness: Freshness, notice: StyledLine) -> None:
        """Show a snapshot; redraw only the views whose content changes."""
        self._last_shown = snapshot, freshness, notice
        content = self._content_snapshot
        if content is None or not is_same_content(snapshot, content):
            content = self._content_snapshot = snapshot
        if self.selection is None:
            self.selection = default_selection(snapshot)
        self._draw_header(content, snapshot.moment, freshness)
        line_counts, lost = (
            dict(self._max_line_counts),
            _find_lost_selection(self.selection, content),
        )
        for name, module in self.pane_modules.items():
            self._draw_pane(name, module, content, lost, snapshot.moment)
        self.notice_view.set_lines([notice if notice.spans else self._idle_notice()])
        self._draw_keys()
        if line_counts != self._max_line_counts and not self.zoomed_pane:
            self.place_widgets()

    def _draw_keys(self) -> None:
        """Draw the line of keys, which does not depend on the moment."""
        filtering, shape = bool(self.filter_input.display), (self.size.width, self._key_context)

        def draw(_: Moment) -> tuple[list[StyledLine], None]:
            return [
                self.filter_input.KEY_HINTS
                if filtering
                else render_footer(self.command_specs, *shape)
            ], None

        self.keys_view.draw_if_changed((filtering, shape), Moment(0.0), draw)

    @property
    def _key_context(self) -> str:
        """Return the key of PANE_COMMANDS: "past" if the past is shown, or the focused pane."""
        past = self._last_shown is not None and self._last_shown[1].past_moment is not None
        return "past" if past else self.focused_pane_name

    def valid_for_s(self, now: Moment) -> float:
        """Return the seconds for which all that is shown stays valid without a new snapshot."""
        displayed = [pane for pane in (self.header_view, *self.panes.values()) if pane.display]
        return min((pane.valid_for_s(now) for pane in displayed), default=0.0)

    def _draw_header(self, snapshot: Snapshot, moment: Moment, freshness: Freshness) -> None:
        """Draw the lines above the panes."""
        shape = self.size.width, self.header_view.size.height
        daemon_key = next(
            (format_key(entry.key) for entry in self.command_specs if entry.id == "daemon"), ""
        )
        recorder = AccessRecorder(snapshot)

        def draw(now: Moment) -> tuple[list[StyledLine], None]:
            return render_header(
                recorder.with_moment(now),
                freshness,
                self.read_only,
                *shape,
                self.trends,
                daemon_key,
            ), None

        self.header_view.draw_if_changed(
            (recorder, freshness.cache_key, self.trends, shape), moment, draw
        )

    def _draw_pane(
        self,
        name: str,
        module: PaneModule,
        snapshot: Snapshot,
        lost_selection: Selection | None,
        moment: Moment,
    ) -> None:
        pane = self.panes[name]
        if not pane.display:
            return
        pane.set_selection(self.selection)
        width = max(0, pane.size.width - 3)
        row_filter = self.filter_input.row_filter if pane is self._filtered_pane else NO_FILTER
        inputs = (
            snapshot,
            width,
            pane.visible_row_count,
            lost_selection,
            self.trends,
            self.span_s,
            self.instance_order,
            row_filter,
        )
        if pane.is_current(inputs, moment):
            return
        recorder = AccessRecorder(snapshot)
        context = AccessRecorder(
            PaneContext(
                width,
                pane.visible_row_count,
                lost_selection,
                self.trends,
                self.span_s,
                self.instance_order,
            )
        )

        def draw(now: Moment) -> tuple[list[StyledLine], StyledLine]:
            lines, summary = render_safely(
                module, recorder.with_moment(now), context.with_moment(now)
            )
            if not self.zoomed_pane:  # a zoomed pane may have more lines because it has more room
                self._max_line_counts[name] = max(self._max_line_counts.get(name, 0), len(lines))
            return lines, summary

        pane.draw_if_changed((recorder, context), moment, draw, row_filter)

    def _idle_notice(self) -> StyledLine:
        """Return the notice line for when there is no notice: the filter, or the hidden panes."""
        if self.filter_input.row_filter and self._filtered_pane:
            description = (
                f" filter in {self._filtered_pane.title}: "
                f"{self.filter_input.row_filter.description}",
                "warn",
            )
            return styled_line(description, ("  Esc clears it", "muted"))
        hidden = ", ".join(self.pane_modules[name].TITLE for name in self._hidden_panes)
        return styled_line((f" … not shown: {hidden}", "muted")) if hidden else styled_line()

    def show_again(self) -> None:
        """Show the same snapshot again after a change of the view."""
        if self._last_shown is not None:
            self.show_snapshot(*self._last_shown)

    on_filter_input_filter_changed = show_again

    # --- layout -----------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.place_widgets()

    def on_descendant_focus(self) -> None:
        pane = self.focused
        if isinstance(pane, LineView) and self._last_shown:
            self._draw_keys()
            if not self.zoomed_pane and (pane.is_folded or pane.visible_row_count < len(pane.rows)):
                self.place_widgets()

    def place_widgets(self) -> None:
        """Place every widget, after a change of size, zoom, focus or a pane's number of lines."""
        width, height = self.size
        top = header_height(height, self.has_graphs)
        keys, notice = int(height > 1), int(height > 3)
        panes_height = max(0, height - top - keys - notice)
        requests = [
            layout_request(name, module, self._max_line_counts.get(name))
            for name, module in self.pane_modules.items()
        ]
        regions = arrange_panes(requests, width, panes_height, self.focused_pane_name)
        if self.zoomed_pane:
            regions = {self.zoomed_pane: PaneRegion(0, 0, width, panes_height)}
        self._hidden_panes = (
            [] if self.zoomed_pane else [name for name in self.panes if name not in regions]
        )
        for name, pane in self.panes.items():
            region = regions.get(name)
            pane.display = region is not None and region.height > 0
            if region is not None:
                place_widget(pane, region.x, region.y + top, region.width, region.height)
        place_widget(self.header_view, 0, 0, width, top)
        place_widget(self.notice_view, 0, height - keys - notice, width, notice)
        place_widget(self.filter_input, 0, height - keys - notice, width, notice)
        place_widget(self.keys_view, 0, height - keys, width, keys)
        self.call_after_refresh(self.show_again)

    # --- moving, filtering, zooming -----------------------------------------------------------

    def action_pane(self, name: str) -> None:
        """Focus a pane by its key, and display it if it was hidden."""
        if self.zoomed_pane:
            self.zoomed_pane = name
            self.place_widgets()
        self.panes[name].display = True
        self.panes[name].focus()

    def action_move(self, by: int) -> None:
        """Move the selection in a pane with selectable rows; scroll any other pane."""
        pane = self.focused
        if isinstance(pane, LineView) and (selection := pane.move_selection(by)) is not None:
            self.selection = selection
            self.show_again()

    def on_line_view_clicked(self, message: LineView.Clicked) -> None:
        self.selection = message.focus_key
        self.show_again()

    def toggle_zoom(self) -> None:
        """Zoom the focused pane to the whole screen, or end the zoom."""
        self.zoomed_pane = "" if self.zoomed_pane else self.focused_pane_name
        self.place_widgets()

    def cycle_sort_order(self) -> str:
        """Sort the instances in the next order of SORT_ORDERS, and return it."""
        self.instance_order = SORT_ORDERS[
            (SORT_ORDERS.index(self.instance_order) + 1) % len(SORT_ORDERS)
        ]
        self.show_again()
        return self.instance_order

    def open_filter(self, show_error: Callable[[str], None]) -> None:
        """Open the filter line for the focused pane."""
        if isinstance(self.focused, LineView) and self.focused is not self._filtered_pane:
            self._filtered_pane, self.filter_input.row_filter = self.focused, NO_FILTER
        self.filter_input.open(show_error)

    def on_filter_input_closed(self) -> None:
        if self._filtered_pane is not None:
            self._filtered_pane.focus()
        self.show_again()

    def action_back(self) -> None:
        """Undo the first of these that is active: filter, zoom, freeze or past (key: Esc)."""
        if self.filter_input.display or self.filter_input.row_filter:
            self.filter_input.clear()
        elif self.zoomed_pane:
            self.toggle_zoom()
        else:
            self.app.call_later(self.app.run_action, "thaw")


def _find_lost_selection(selection: Selection | None, snapshot: Snapshot) -> Selection | None:
    """Return the selection if its instance has ended, otherwise None."""
    if selection is None or selection.identity is None:
        return None
    view = snapshot.role(selection.role)
    exists = view is not None and any(
        instance.identity == selection.identity for instance in view.instances
    )
    return None if exists else selection
