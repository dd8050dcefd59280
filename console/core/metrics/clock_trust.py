"""Decides whether the wall clock is reliable enough to compute the age of stored data.

Deletion by age cannot be undone. A wall clock may start wrong, jump, and be set right again; the
tick clock within a boot cannot. Therefore deletion stops when the two clocks disagree by more than
a day, and resumes when they have agreed for a day.
"""

from __future__ import annotations

from console.core.model.time import Moment
from console.core.records import Record
from console.core.text.formatting import format_duration
from console.core.text.json_values import as_list, as_number, as_object

REQUIRED_AGREEMENT_S = 86_400.0
"""Seconds that the clocks must have agreed before the wall clock is trusted."""
JUMP_THRESHOLD_S = 86_400.0
"""A larger disagreement means that the wall clock was set or started wrong."""
MAX_REBOOT_BACKSTEP_S = 3600.0
"""The wall clock may be this far behind its last reading before a reboot."""


class ClockTrust(Record, frozen=True):
    """The duration for which the wall clock and the tick clock have agreed."""

    moment: Moment
    agreed_s: float = REQUIRED_AGREEMENT_S
    jump_s: float = 0.0
    """Difference between the wall clock and the ticks that caused the distrust; 0 if none did."""

    @property
    def is_trusted(self) -> bool:
        return self.agreed_s >= REQUIRED_AGREEMENT_S

    def to_fact(self) -> dict[str, object]:
        """Return the values to store for the next call of `update_clock_trust`."""
        moment = self.moment
        return {"moment": [moment.at, moment.tick, moment.boot], "agreed_s": self.agreed_s}

    def __str__(self) -> str:
        way = "ahead of" if self.jump_s > 0 else "behind"
        return (
            f"the clock is {format_duration(abs(self.jump_s))} {way} what was last seen of it;"
            " nothing is deleted until it has run steadily for"
            f" {format_duration(REQUIRED_AGREEMENT_S)}"
        )


def update_clock_trust(
    stored_fact: object, last_sample_at: Moment | None, now: Moment
) -> ClockTrust:
    """Return the state of the clocks at `now`, from the stored fact of the last call.

    Without a fact, the store's newest sample supplies the last clock reading. Without a sample, the
    wall clock is trusted.
    """
    before = _decode_fact(stored_fact)
    if before is None:
        if last_sample_at is None:
            return ClockTrust(now)
        before = ClockTrust(last_sample_at)
    if jump_s := _clock_jump_s(before.moment, now):
        return ClockTrust(now, 0.0, jump_s)
    elapsed_s = now.since(before.moment) if now.boot == before.moment.boot else 0.0
    return ClockTrust(now, min(REQUIRED_AGREEMENT_S, before.agreed_s + elapsed_s))


def _decode_fact(stored_fact: object) -> ClockTrust | None:
    at, tick, boot, *_ = (*as_list(as_object(stored_fact).get("moment")), None, None, None)
    when, ticks, agreed_s = (
        as_number(at),
        as_number(tick),
        as_number(as_object(stored_fact).get("agreed_s")),
    )
    if when is None or ticks is None or agreed_s is None or not isinstance(boot, str):
        return None
    return ClockTrust(Moment(when, ticks, boot), max(0.0, agreed_s))


def _clock_jump_s(earlier: Moment, now: Moment) -> float:
    """Return the seconds by which the wall clock differs from the ticks; 0 within the tolerance.

    Across a reboot, the time that the machine was off is unknown: up to a day is attributed to it.
    """
    elapsed_s = now.at - earlier.at
    if now.boot and now.boot == earlier.boot:
        difference_s = elapsed_s - (now.tick - earlier.tick)
        return difference_s if abs(difference_s) > JUMP_THRESHOLD_S else 0.0
    if elapsed_s < -MAX_REBOOT_BACKSTEP_S:
        return elapsed_s
    difference_s = elapsed_s - (now.tick if now.boot else 0.0)
    return difference_s if difference_s > JUMP_THRESHOLD_S else 0.0
