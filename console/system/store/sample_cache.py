"""In-memory cache of the newest samples of some monitors; only new samples are read again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from console.core.metrics.time_series import TimeSeries
from console.core.model.time import Moment
from console.system.store.store import Store

MAX_SAMPLES = 100_000
"""Maximum number of samples per monitor."""
READ_BATCH_ROWS = 10_000


class SampleCache:
    """A sliding window for each requested monitor, with selected fields of each sample."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._generation = store.generation
        self._last_id = 0
        self._windows: dict[str, TimeSeries] = {}
        self._window_specs: dict[str, tuple[float, Sequence[str]]] = {}
        """Monitor -> the window's length in seconds, and its fields."""
        self._lock = threading.Lock()

    def window(self, monitor: str, keys: Sequence[str], now: Moment, length_s: float) -> TimeSeries:
        """Return the samples of the last `length_s` seconds, oldest first. Raises StoreError."""
        with self._lock:
            self._read_new_samples()
            if self._store.generation != self._generation:  # another file: ids restart
                self._generation, self._last_id = self._store.generation, 0
                self._windows.clear()
                self._read_new_samples()
            if self._window_specs.get(monitor) != (length_s, keys) or monitor not in self._windows:
                self._window_specs[monitor] = length_s, keys
                past = self._store.iter_samples(monitor, now.plus(-length_s))
                read = (sample for sample in past if sample.id <= self._last_id)
                self._windows[monitor] = TimeSeries(keys, read)
            window = self._windows[monitor]
            window.drop_old(now, length_s, MAX_SAMPLES)
            return window.copy()

    def _read_new_samples(self) -> None:
        if not self._windows:
            self._last_id = self._store.last_sample_id()
        while True:
            batch = self._store.samples_after(self._last_id, READ_BATCH_ROWS)
            for sample in batch:
                self._last_id = sample.id
                if sample.monitor in self._windows:
                    self._windows[sample.monitor].append(sample)
            if len(batch) < READ_BATCH_ROWS:
                return
