"""Whether the wall clock can be trusted to say how old something is.

Whatever is deleted for its age is lost. A wall clock may start wrong, jump, and be set right again;
the tick clock within a boot cannot. So nothing is deleted from the moment the two disagree by more
than a day until they have agreed for a day.
"""

from __future__ import annotations

from console.core.frozen import frozen
from console.core.model import Moment
from console.core.text.formatting import duration
from console.core.text.json_values import as_list, number, table

PROVEN_S = 86_400.0
"""The clocks must have agreed for so long."""
LEAP_S = 86_400.0
"""By more than this the wall clock has been set, or has started wrong."""
BACK_S = 3600.0
"""A wall clock may be so far behind the last time it was read before a reboot."""


@frozen
class Steady:
    """How long the two clocks have agreed."""

    moment: Moment
    agreed_s: float = PROVEN_S
    leap_s: float = 0.0
    """How far the wall clock is from what the ticks explain, if that is why it is not trusted."""

    @property
    def proven(self) -> bool:
        return self.agreed_s >= PROVEN_S

    def fact(self) -> dict[str, object]:
        """The values to be kept until the next look."""
        moment = self.moment
        return {"moment": [moment.at, moment.tick, moment.boot], "agreed_s": self.agreed_s}

    def __str__(self) -> str:
        way = "ahead of" if self.leap_s > 0 else "behind"
        return (
            f"the clock is {duration(abs(self.leap_s))} {way} what was last seen of it;"
            f" nothing is deleted until it has run steadily for {duration(PROVEN_S)}"
        )


def steady(known: object, newest: Moment | None, now: Moment) -> Steady:
    """The state of the clocks now, from the fact kept by the last look.

    Without one, the store's newest sample tells what the clock was; without that, all is new.
    """
    before = _kept(known)
    if before is None:
        if newest is None:
            return Steady(now)
        before = Steady(newest)
    if leap_s := _leap(before.moment, now):
        return Steady(now, 0.0, leap_s)
    ran_s = now.since(before.moment) if now.boot == before.moment.boot else 0.0
    return Steady(now, min(PROVEN_S, before.agreed_s + ran_s))


def _kept(known: object) -> Steady | None:
    at, tick, boot, *_ = (*as_list(table(known).get("moment")), None, None, None)
    when, ticks, agreed_s = number(at), number(tick), number(table(known).get("agreed_s"))
    if when is None or ticks is None or agreed_s is None or not isinstance(boot, str):
        return None
    return Steady(Moment(when, ticks, boot), max(0.0, agreed_s))


def _leap(then: Moment, now: Moment) -> float:
    """Seconds that the wall clock went beside the ticks; 0 when that is within reason.

    Across a reboot nothing tells how long the machine was off: up to a day is taken for that.
    """
    passed = now.at - then.at
    if now.boot and now.boot == then.boot:
        off = passed - (now.tick - then.tick)
        return off if abs(off) > LEAP_S else 0.0
    if passed < -BACK_S:
        return passed
    off = passed - (now.tick if now.boot else 0.0)
    return off if off > LEAP_S else 0.0
