"""Selects the shown snapshot: the current one, a frozen one, or one of the past."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import replace
from console.core.text.formatting import format_date_time, sanitize_text
from console.core.trends import SPANS_S, Trends
from console.ui.ports import ConsolePorts
from console.ui.render.header import PAST_LABEL, Freshness
from console.ui.render.styled_lines import StyledLine, styled_line

TRENDS_INTERVAL_S = 30.0
"""Interval at which the trends are loaded."""

ShowMessage = Callable[[str, str], None]


class TimeTravel:
    """The shown snapshot, and the trends of the day that ends with it."""

    def __init__(
        self,
        ports: ConsolePorts,
        show_message: ShowMessage,
        redraw: Callable[[], None],
        redraw_soon: Callable[[str], None],
    ) -> None:
        self.ports, self.show_message, self.redraw, self.redraw_soon = (
            ports,
            show_message,
            redraw,
            redraw_soon,
        )
        self.past_snapshot: Snapshot | None = None
        self.frozen_snapshot: Snapshot | None = None
        self.span_s = SPANS_S[0]
        self._frozen_at: Moment | None = None
        self._current_trends: Trends | None = None
        self._past_trends: Trends | None = None
        self._is_moving = False

    @property
    def past_moment(self) -> Moment | None:
        """Return the past moment that is shown, or None."""
        return self.past_snapshot.moment if self.past_snapshot else None

    @property
    def trends(self) -> Trends | None:
        """Return the trends of the day that ends with the shown snapshot."""
        return self._past_trends if self.past_snapshot else self._current_trends

    def current_view(
        self, latest: Snapshot | None, now: Moment
    ) -> tuple[Snapshot, Freshness] | None:
        """Return the snapshot to show and its freshness, or None if there is no snapshot."""
        if self.past_snapshot is not None:
            moment = self.past_snapshot.moment
            return self.past_snapshot, Freshness(
                0.0, past_moment=moment, past_age_s=now.since(moment)
            )
        shown = self.frozen_snapshot or latest
        if shown is None:
            return None
        freshness = Freshness(now.since(shown.moment))
        if self._frozen_at is not None:
            return shown, replace(freshness, frozen_for_s=now.since(self._frozen_at))
        return replace(shown, moment=now), freshness

    def banner(self) -> StyledLine | None:
        """Return the banner for the notice line while the past is shown, otherwise None."""
        if self.past_moment is None:
            return None
        return styled_line(
            (f" {PAST_LABEL} ", "chip-warn"),
            (f" what was known at {format_date_time(self.past_moment)}  ", "warn"),
            ("  , .  events   < >  10 min   g  a time   Esc  now", "muted"),
        )

    # --- graphs -----------------------------------------------------------------------------

    async def run_trends_refresh(self) -> None:
        """Load the current trends every TRENDS_INTERVAL_S."""
        while self.ports.load_trends is not None:
            await self.refresh_trends()
            await asyncio.sleep(TRENDS_INTERVAL_S)

    async def refresh_trends(self) -> None:
        """Load the current trends once and redraw; show a warning if that fails."""
        warning = ""
        try:
            self._current_trends = self.ports.load_trends and await self.ports.load_trends(None)
        except Exception as error:
            warning = f"graphs: {sanitize_text(str(error), 200)}"
        self.redraw_soon(warning)

    def change_span(self, steps: int) -> None:
        """Change the span of the graphs by a number of steps in SPANS_S."""
        index = SPANS_S.index(self.span_s) + steps
        self.span_s = SPANS_S[max(0, min(index, len(SPANS_S) - 1))]
        self.redraw()

    # --- freeze and travel ------------------------------------------------------------------

    def toggle_freeze(self, latest: Snapshot | None) -> None:
        """Freeze `latest`, or return to now; while the past is shown, show a message instead."""
        if self.past_snapshot is not None:
            self.show_message("✖ the past stands still already", "warn")
        elif self.frozen_snapshot is not None:
            self.return_to_now()
        else:
            self._frozen_at = self.ports.clock()
            self.frozen_snapshot = latest and replace(latest, moment=self._frozen_at)
            self.redraw()

    def return_to_now(self) -> None:
        """Show the current snapshot again."""
        self.past_snapshot = self.frozen_snapshot = self._frozen_at = self._past_trends = None
        self.redraw()

    async def move(
        self, direction: int, offset_s: float = 0.0, target: Moment | None = None
    ) -> None:
        """Show the snapshot at another moment.

        That is `target`; or the moment `offset_s` seconds from the shown one; or the event before
        (`direction` -1) or after (1) it. A call during another one does nothing.
        """
        if self.ports.load_past is None or self._is_moving:
            return
        self._is_moving = True
        try:
            moment = target or (self.past_moment or self.ports.clock()).plus(offset_s)
            snapshot = await self.ports.load_past(moment, 0 if offset_s or target else direction)
            trends = (
                await self.ports.load_trends(snapshot.moment)
                if snapshot and self.ports.load_trends
                else None
            )
            self._show_past(snapshot, trends, direction)
        except Exception as error:
            self.show_message(f"✖ the past cannot be read: {sanitize_text(str(error), 200)}", "bad")
        finally:
            self._is_moving = False

    def _show_past(self, snapshot: Snapshot | None, trends: Trends | None, direction: int) -> None:
        if snapshot is not None:
            self.past_snapshot, self._past_trends, self.frozen_snapshot, self._frozen_at = (
                snapshot,
                trends,
                None,
                None,
            )
            self.redraw()
        elif direction < 0:
            self.show_message("nothing is known of what was before", "warn")
        elif self.past_snapshot is not None:
            self.return_to_now()
            self.show_message("this is now", "text")
