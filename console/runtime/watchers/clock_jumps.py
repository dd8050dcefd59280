"""Detects that the machine was suspended, or that its clock was set."""

from __future__ import annotations

from console.core.model.time import Moment
from console.core.records import Component, Record
from console.core.text.formatting import format_duration
from console.system import clock

MIN_JUMP_S = 5.0
"""A smaller change is the normal correction of a clock."""
MAX_READ_GAP_S = 0.5
"""Clocks read further apart than this are not compared: the process was stopped in between."""


class ClockJump(Record, frozen=True):
    """Change of the clocks between two checks, in seconds."""

    slept_s: float
    set_s: float
    """How far the wall clock was set; positive if forward."""

    def __str__(self) -> str:
        words = []
        if self.slept_s:
            words.append(f"the machine slept for {format_duration(self.slept_s)}")
        if self.set_s:
            way = "back" if self.set_s < 0 else "forward"
            words.append(f"the clock was set {way} by {abs(self.set_s):.0f} s")
        return ", and ".join(words)


class ClockJumpDetector(Component):
    """Detector that compares the machine's clocks from one check to the next."""

    _previous: tuple[Moment, float] | None = None

    def check(self) -> ClockJump | None:
        """Return the jump since the last check; usually None."""
        awake, now = clock.monotonic(), clock.now()
        if clock.monotonic() - awake > MAX_READ_GAP_S:
            return None
        previous, self._previous = self._previous, (now, awake)
        if previous is None:
            return None
        elapsed_s = now.tick - previous[0].tick
        slept_s = elapsed_s - (awake - previous[1])
        set_s = now.at - previous[0].at - elapsed_s
        jump = ClockJump(
            *(seconds if abs(seconds) >= MIN_JUMP_S else 0.0 for seconds in (slept_s, set_s))
        )
        return jump if jump.slept_s or jump.set_s else None
