"""Waits for the store to change: told by the kernel where it can tell, else by looking often."""

from __future__ import annotations

import asyncio

from console.runtime.snapshots.store_view import View
from console.runtime.timers import Bell
from console.system.host.inotify import Stirring
from console.system.store.store import StoreError

LOOK_S = 0.2
"""How often somebody who is told nothing looks."""
AGAIN_S = (0.02, 0.03, 0.06, 0.1)
"""After a file was written: what was written counts once it is on the disk, which takes its time.
Meanwhile nobody listens, so that a flood of lines wakes nobody more often."""
LAST_S = AGAIN_S[-1]
"""After it was read, one more look: what was heard may have been two who wrote."""


class Following:
    """Keeps a view up to date, and sleeps while nobody writes into the store's directory."""

    def __init__(self, view: View) -> None:
        self._view, self._store = view, view.box.store
        self._stirred = Bell()
        self._again: list[float] = []
        self._read_until = -1
        """How far the view had been read when something was heard."""
        self._heard: Stirring | None = None
        try:
            path = self._store.path
            self._heard = Stirring(path.parent) if path is not None else None
        except OSError:
            pass  # then we look

    @property
    def behind(self) -> bool:
        """Whether the store has been written: asked for so little that no thread is worth it."""
        try:
            return self._store.changes() != self._view.read_until
        except StoreError as error:
            self._view.unread = f"the store cannot be read: {error}"
            return False

    def catch_up(self) -> None:
        """Read what is new in the store."""
        if not self.behind:
            return
        try:
            self._view.refresh()
        except StoreError as error:
            self._view.unread = f"the store cannot be read: {error}"

    def stir(self) -> None:
        """Look at once: this process has learnt something that is not in the store."""
        self._stirred.ring()

    async def change(self, longest_s: float) -> None:
        """Return when something may be new, after `longest_s` at the latest."""
        pause = LOOK_S if self._heard is None else longest_s
        if self._again and self._view.read_until != self._read_until:
            self._again, self._read_until = [LAST_S], self._view.read_until
        if self._again:
            pause = self._again.pop(0)
        elif self._heard is not None:
            asyncio.get_running_loop().add_reader(self._heard.fileno(), self._hear, self._heard)
        await self._stirred.wait(min(pause, longest_s))
        self._stirred.heard()

    def _hear(self, heard: Stirring) -> None:
        asyncio.get_running_loop().remove_reader(heard.fileno())
        heard.drain()
        self._read_until = self._view.read_until
        self._again = [*AGAIN_S]
        self._stirred.hasten(self._again.pop(0))
