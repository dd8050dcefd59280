"""Measures the CPU and memory usage of an instance, over its whole process tree."""

from __future__ import annotations

from console.core.model.processes import Identity, Instance
from console.core.records import Component, field
from console.system import clock
from console.system.processes import process_table

MAX_INSTANCES = 5_000


class UsageMeter(Component):
    """The last reading of each instance, from which the next reading computes a CPU rate."""

    _last_readings: dict[Identity, tuple[float, float]] = field(default_factory=dict)

    def measure(self, instance: Instance) -> tuple[float | None, int]:
        """Return (percent of one core used since the last reading, resident bytes).

        The percentage is None without a reading that is at least 0.5 s old.
        """
        now = clock.tick()
        seconds, resident = process_table.read_usage(instance.pids)
        previous = self._last_readings.get(instance.identity)
        self._last_readings.pop(instance.identity, None)
        self._last_readings[instance.identity] = (now, seconds)
        # The oldest readings come first: those are of instances that have died.
        while len(self._last_readings) > MAX_INSTANCES:
            del self._last_readings[next(iter(self._last_readings))]
        if previous is None or now - previous[0] < 0.5:
            return None, resident
        return round(max(0.0, 100.0 * (seconds - previous[1]) / (now - previous[0])), 1), resident
