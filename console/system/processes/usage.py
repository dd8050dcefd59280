"""What an instance costs: CPU between two looks, memory now, over its whole tree."""

from __future__ import annotations

from dataclasses import field

from console.core.frozen import slotted
from console.core.model import Identity, Instance
from console.system import clock
from console.system.processes import process_table

MOST = 5_000


@slotted
class Meter:
    """Remembers the last reading of each instance, so that the next one has a rate."""

    _last: dict[Identity, tuple[float, float]] = field(default_factory=dict)

    def read(self, instance: Instance) -> tuple[float | None, int]:
        """(CPU percent of one core since the last reading, resident bytes)."""
        now = clock.tick()
        seconds, resident = process_table.usage(instance.pids)
        before = self._last.get(instance.identity)
        self._last.pop(instance.identity, None)
        self._last[instance.identity] = (now, seconds)
        while len(self._last) > MOST:  # those that died are the ones not read for longest
            del self._last[next(iter(self._last))]
        if before is None or now - before[0] < 0.5:
            return None, resident
        return round(max(0.0, 100.0 * (seconds - before[1]) / (now - before[0])), 1), resident
