"""Queues keys, so that a key is dispatched after the key before it has been processed.

Textual sends each key to the widget that has the focus when the key is read; the action runs after
the key has bubbled from there to the application. In a burst (pasted text, a slow link, a busy
machine) all keys are sent before the first one has moved the focus: `/trick` would open the themes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, runtime_checkable

from textual import events

from console.ui.textual_ext.patches import MinimalRedrawApp, MinimalScreen

KEY_TIMEOUT_S = 5.0
"""Maximum time that a key waits for the key before it."""
IMMEDIATE_PAINT_S = 0.1
"""Changes within this time after a key are painted at once."""


@runtime_checkable
class KeyFilter(Protocol):
    """Interface of a screen that may drop keys that were typed before it was drawn."""

    def accepts_key(self, event: events.Key | events.Paste) -> bool:
        """Return False if the event is to be dropped."""


class KeyQueueApp(MinimalRedrawApp):
    """An application that dispatches a key after the key before it has been processed."""

    def __init__(self, **textual: Any) -> None:
        super().__init__(**textual)
        self._key_queue: asyncio.Queue[events.Key | events.Paste] = asyncio.Queue()

    def on_mount(self) -> None:
        self.run_worker(self._process_keys(), name="keys", group="keys")

    async def on_event(self, event: events.Event) -> None:
        """Queue keys and pastes; dispatch every other event at once."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._key_queue.put_nowait(event)
        else:
            await super().on_event(event)

    async def _process_keys(self) -> None:
        while True:
            event = await self._key_queue.get()
            try:
                async with asyncio.timeout(KEY_TIMEOUT_S):
                    await self._wait_until_idle()
            except TimeoutError:
                pass
            if isinstance(self.screen, MinimalScreen):
                self.screen.paint_immediately(IMMEDIATE_PAINT_S)
            if not isinstance(self.screen, KeyFilter) or self.screen.accepts_key(event):
                await super().on_event(event)
            self._key_queue.task_done()

    async def wait_for_keys(self) -> None:
        """Wait until every key that was typed so far has been processed."""
        await self._key_queue.join()
        await self._wait_until_idle()

    async def _wait_until_idle(self) -> None:
        """Wait until the focus no longer moves and its widget and ancestors have empty queues."""
        idle = False
        while not idle:
            pumps = (self.focused or self.screen).ancestors_with_self
            for pump in pumps:
                processed = asyncio.Event()
                if pump.call_later(processed.set):
                    await processed.wait()
            same_focus = pumps[0] is (self.focused or self.screen)
            idle = same_focus and not any(pump.message_queue_size for pump in pumps)
