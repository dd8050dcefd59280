"""Keys that are typed faster than they are carried out: one after the other, none too early.

Textual gives each key to whoever has the focus when it is read, and carries it out when it has
come up from there to the application. Of a burst (text pasted, a slow link, a busy machine) all
keys have gone that way before the first one has opened anything: `/trick` would open the themes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, runtime_checkable

from textual import events

from console.ui.textual_ext.patches import SparingApp, SparingScreen

LONGEST_S = 5.0
"""A key is not held longer, whatever the one before is about."""
ANSWERED_S = 0.1
"""What a key changes is painted at once: by then it has changed it."""


@runtime_checkable
class KeyFilter(Protocol):
    """A screen that may refuse what was typed before it was drawn."""

    def hears(self, event: events.Key | events.Paste) -> bool:
        """Return False if the event is to be dropped."""


class TypeaheadApp(SparingApp):
    """An application that looks at a key when the one before has been carried out."""

    def __init__(self, **textual: Any) -> None:
        super().__init__(**textual)
        self._typed: asyncio.Queue[events.Key | events.Paste] = asyncio.Queue()

    def on_mount(self) -> None:
        self.run_worker(self._carry_out_typed(), name="keys", group="keys")

    async def on_event(self, event: events.Event) -> None:
        """What is typed waits for its turn; the rest goes its way."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._typed.put_nowait(event)
        else:
            await super().on_event(event)

    async def _carry_out_typed(self) -> None:
        while True:
            event = await self._typed.get()
            try:
                async with asyncio.timeout(LONGEST_S):
                    await self._settled()
            except TimeoutError:
                pass
            if isinstance(self.screen, SparingScreen):
                self.screen.hurry(ANSWERED_S)
            if not isinstance(self.screen, KeyFilter) or self.screen.hears(event):
                await super().on_event(event)
            self._typed.task_done()

    async def carried_out(self) -> None:
        """Wait until every key that was typed so far has been carried out."""
        await self._typed.join()
        await self._settled()

    async def _settled(self) -> None:
        """Until the focus is where the last key has put it and no message is on the way there."""
        settled = False
        while not settled:
            way = (self.focused or self.screen).ancestors_with_self
            for pump in way:
                dealt = asyncio.Event()
                if pump.call_later(dealt.set):
                    await dealt.wait()
            same = way[0] is (self.focused or self.screen)
            settled = same and not any(pump.message_queue_size for pump in way)
