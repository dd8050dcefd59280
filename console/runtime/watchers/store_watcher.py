"""Waits for the store to change: by inotify if available, otherwise by polling."""

from __future__ import annotations

import asyncio

from console.runtime.snapshots.store_view import StoreView
from console.runtime.timers import WakeupEvent
from console.system.host.inotify import InotifyWatch
from console.system.store.store import StoreError

POLL_INTERVAL_S = 0.2
"""Interval between checks without inotify."""
RECHECK_DELAYS_S = (0.02, 0.03, 0.06, 0.1)
"""Delays of the checks after a write to a file: the data counts only once it is on the disk.
inotify is not read meanwhile, so that a burst of writes causes no more wake-ups."""
FINAL_RECHECK_DELAY_S = RECHECK_DELAYS_S[-1]
"""Delay of one more check after the data was read: two processes may have written."""


class StoreWatcher:
    """Watcher that keeps a view up to date, and sleeps while the store does not change."""

    def __init__(self, view: StoreView) -> None:
        self._view, self._store = view, view.box.store
        self._wakeup = WakeupEvent()
        self._recheck_delays: list[float] = []
        self._counter_at_inotify = -1
        """The view's change counter when inotify reported a write."""
        self._inotify: InotifyWatch | None = None
        try:
            path = self._store.path
            self._inotify = InotifyWatch(path.parent) if path is not None else None
        except OSError:
            pass  # falls back to polling

    @property
    def has_unread_changes(self) -> bool:
        """True if the store was written since the last refresh; too cheap to need a thread."""
        try:
            return self._store.change_counter() != self._view.read_change_counter
        except StoreError as error:
            self._view.read_error = f"the store cannot be read: {error}"
            return False

    def refresh_view(self) -> None:
        """Read what is new in the store. An error is stored in the `read_error` of the view."""
        if not self.has_unread_changes:
            return
        try:
            self._view.refresh()
        except StoreError as error:
            self._view.read_error = f"the store cannot be read: {error}"

    def wake(self) -> None:
        """End the wait at once, as this process has data that is not in the store."""
        self._wakeup.trigger()

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when the store may have changed, after at most `timeout_s` seconds."""
        delay_s = POLL_INTERVAL_S if self._inotify is None else timeout_s
        if self._recheck_delays and self._view.read_change_counter != self._counter_at_inotify:
            self._recheck_delays, self._counter_at_inotify = (
                [FINAL_RECHECK_DELAY_S],
                self._view.read_change_counter,
            )
        if self._recheck_delays:
            delay_s = self._recheck_delays.pop(0)
        elif self._inotify is not None:
            asyncio.get_running_loop().add_reader(
                self._inotify.fileno(), self._on_inotify, self._inotify
            )
        await self._wakeup.wait(min(delay_s, timeout_s))
        self._wakeup.clear()

    def _on_inotify(self, inotify: InotifyWatch) -> None:
        asyncio.get_running_loop().remove_reader(inotify.fileno())
        inotify.drain()
        self._counter_at_inotify = self._view.read_change_counter
        self._recheck_delays = [*RECHECK_DELAYS_S]
        self._wakeup.shorten_wait(self._recheck_delays.pop(0))
