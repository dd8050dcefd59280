"""Where in time the operator looks: now, at a frozen picture, or at a moment that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.core.frozen import replace
from console.core.model import Moment, Snapshot
from console.core.text.formatting import day_clock, visible
from console.core.trends import SPANS, Trends
from console.ui.ports import Wiring
from console.ui.render.header import PAST, Freshness
from console.ui.render.styled_lines import Line, line

EVERY_S = 30.0
"""From one reading of the graphs' data to the next."""

Say = Callable[[str, str], None]


class Travel:
    """The moment that is shown, and the day that leads to it."""

    def __init__(
        self, wiring: Wiring, say: Say, redraw: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self.wiring, self.say, self.redraw, self.tell = wiring, say, redraw, tell
        self.past: Snapshot | None = None
        self.frozen: Snapshot | None = None
        self.span = SPANS[0]
        self._frozen_at: Moment | None = None
        self._now: Trends | None = None
        self._then: Trends | None = None
        self._under_way = False

    @property
    def away(self) -> Moment | None:
        """The past moment that is shown, or None."""
        return self.past.moment if self.past else None

    @property
    def trends(self) -> Trends | None:
        """The day that leads to what is shown."""
        return self._then if self.past else self._now

    def scene(self, latest: Snapshot | None, now: Moment) -> tuple[Snapshot, Freshness] | None:
        """What to show now, and how fresh it is."""
        if self.past is not None:
            moment = self.past.moment
            return self.past, Freshness(0.0, past=moment, ago=now.since(moment))
        shown = self.frozen or latest
        if shown is None:
            return None
        fresh = Freshness(now.since(shown.moment))
        if self._frozen_at is not None:
            return shown, replace(fresh, frozen_for=now.since(self._frozen_at))
        return replace(shown, moment=now), fresh

    def banner(self) -> Line | None:
        """What the notice line says while the past is shown."""
        if self.away is None:
            return None
        return line(
            (f" {PAST} ", "chip-warn"),
            (f" what was known at {day_clock(self.away)}  ", "warn"),
            ("  , .  events   < >  10 min   g  a time   Esc  now", "muted"),
        )

    # --- graphs -----------------------------------------------------------------------------

    async def keep_trends(self) -> None:
        """Read the graphs' data again and again."""
        while self.wiring.trends is not None:
            await self.refresh()
            await asyncio.sleep(EVERY_S)

    async def refresh(self) -> None:
        """Read the graphs' data once."""
        words = ""
        try:
            self._now = self.wiring.trends and await self.wiring.trends(None)
        except Exception as error:
            words = f"graphs: {visible(str(error), 200)}"
        self.tell(words)

    def stretch(self, by: int) -> None:
        """A longer or shorter span."""
        at = SPANS.index(self.span) + by
        self.span = SPANS[max(0, min(at, len(SPANS) - 1))]
        self.redraw()

    # --- freeze and travel ------------------------------------------------------------------

    def freeze(self, latest: Snapshot | None) -> None:
        """Hold the picture still, or let it go on."""
        if self.past is not None:
            self.say("✖ the past stands still already", "warn")
        elif self.frozen is not None:
            self.home()
        else:
            self._frozen_at = self.wiring.clock()
            self.frozen = latest and replace(latest, moment=self._frozen_at)
            self.redraw()

    def home(self) -> None:
        """Back to now."""
        self.past = self.frozen = self._frozen_at = self._then = None
        self.redraw()

    async def go(self, way: int, seconds: float = 0.0, to: Moment | None = None) -> None:
        """To the event before (-1) or after (1) what is shown, so many seconds away, or there."""
        if self.wiring.past is None or self._under_way:
            return
        self._under_way = True
        try:
            around = to or (self.away or self.wiring.clock()).plus(seconds)
            found = await self.wiring.past(around, 0 if seconds or to else way)
            day = await self.wiring.trends(found.moment) if found and self.wiring.trends else None
            self._arrive(found, day, way)
        except Exception as error:
            self.say(f"✖ the past cannot be read: {visible(str(error), 200)}", "bad")
        finally:
            self._under_way = False

    def _arrive(self, found: Snapshot | None, day: Trends | None, way: int) -> None:
        if found is not None:
            self.past, self._then, self.frozen, self._frozen_at = found, day, None, None
            self.redraw()
        elif way < 0:
            self.say("nothing is known of what was before", "warn")
        elif self.past is not None:
            self.home()
            self.say("this is now", "text")
