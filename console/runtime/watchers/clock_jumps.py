"""Time that passed behind our back: the machine has slept, or somebody has set its clock."""

from __future__ import annotations

from console.core.frozen import frozen, slotted
from console.core.model import Moment
from console.core.text.formatting import duration
from console.system import clock

LEAP_S = 5.0
"""Less than this is a clock that is kept right."""
APART_S = 0.5
"""Clocks that were read further apart than this tell nothing: somebody has stopped us between."""


@frozen
class Leap:
    """What happened to the clocks between two looks at them, in seconds."""

    slept_s: float
    set_s: float
    """How far the clock on the wall was set, forward when positive."""

    def __str__(self) -> str:
        words = []
        if self.slept_s:
            words.append(f"the machine slept for {duration(self.slept_s)}")
        if self.set_s:
            way = "back" if self.set_s < 0 else "forward"
            words.append(f"the clock was set {way} by {abs(self.set_s):.0f} s")
        return ", and ".join(words)


@slotted
class Clocks:
    """The machine's clocks, compared from one look to the next."""

    _before: tuple[Moment, float] | None = None

    def look(self) -> Leap | None:
        """What has happened since the last look; None as a rule."""
        awake, now = clock.awake(), clock.now()
        if clock.awake() - awake > APART_S:
            return None
        before, self._before = self._before, (now, awake)
        if before is None:
            return None
        passed = now.tick - before[0].tick
        slept_s = passed - (awake - before[1])
        set_s = now.at - before[0].at - passed
        leap = Leap(*(one if abs(one) >= LEAP_S else 0.0 for one in (slept_s, set_s)))
        return leap if leap.slept_s or leap.set_s else None
