"""The newest part of some monitors' pasts, in memory: only what is new is read again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from console.core.metrics.time_series import Series
from console.core.model import Moment
from console.system.store.store import Store

MOST = 100_000
"""Looks kept of each monitor at most."""
BATCH = 10_000


class Recent:
    """A sliding window for each monitor that is asked for, with some figures of each look."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._generation = store.generation
        self._last = 0
        self._windows: dict[str, Series] = {}
        self._keys: dict[str, tuple[float, Sequence[str]]] = {}
        """How long each window is, and the figures that it holds."""
        self._guard = threading.Lock()

    def window(self, monitor: str, keys: Sequence[str], now: Moment, length_s: float) -> Series:
        """The looks of the last `length_s` seconds, oldest first. Raises StoreError."""
        with self._guard:
            self._read_on()
            if self._store.generation != self._generation:  # another file: ids begin anew
                self._generation, self._last = self._store.generation, 0
                self._windows.clear()
                self._read_on()
            if self._keys.get(monitor) != (length_s, keys) or monitor not in self._windows:
                self._keys[monitor] = length_s, keys
                past = self._store.past(monitor, now.plus(-length_s))
                known = (one for one in past if one.id <= self._last)
                self._windows[monitor] = Series(keys, known)
            window = self._windows[monitor]
            window.forget(now, length_s, MOST)
            return window.copy()

    def _read_on(self) -> None:
        if not self._windows:
            self._last = self._store.newest_sample_id()
        while True:
            found = self._store.samples_after(self._last, BATCH)
            for sample in found:
                self._last = sample.id
                if sample.monitor in self._windows:
                    self._windows[sample.monitor].append(sample)
            if len(found) < BATCH:
                return
