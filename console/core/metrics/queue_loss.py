"""What a queue server lost when it began anew: it keeps tasks and results in memory."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.frozen import frozen
from console.core.model import Moment, Sample
from console.core.text.json_values import count

COUNTERS = ("completed", "successful", "failed")


@frozen
class Loss:
    """A new beginning of the queue server, and what was there at the look before and is gone."""

    moment: Moment
    """The first look at the new server."""
    waiting: int = 0
    inflight: int = 0
    results: int = 0

    @property
    def tasks(self) -> int:
        return self.waiting + self.inflight

    @property
    def words(self) -> str:
        told = f"{self.waiting} waiting, {self.inflight} in work, {self.results} results"
        if not self.tasks and not self.results:
            return "queue server began anew: nothing that the look before saw is gone"
        return f"queue server began anew: {told} of the look before are gone"


def answers(look: Sample) -> bool:
    """Whether the server told its figures."""
    return look.error is None and look.data.get("problem") is None


def loss(before: Sample, after: Sample) -> Loss | None:
    """What was lost between two looks that had an answer; None where the server did not begin anew.

    Counters that fell say so. Where they stood at 0, a task that was waiting or in work and is now
    neither, nor answered, says so.
    """
    old, new = before.data, after.data
    told = [(count(old.get(key)), count(new.get(key))) for key in COUNTERS]
    fell = any(a is not None and b is not None and b < a for a, b in told)
    if not fell and not (new.get("vanished") is True and not count(new.get("completed"))):
        return None
    waiting, inflight = (count(old.get(key)) or 0 for key in ("size", "inflight"))
    kept = count(new.get("size")) or 0  # a server that writes its tasks down has them again
    gone = max(0, waiting - kept)
    requeued = max(0, kept - waiting)
    left = (count(new.get("inflight")) or 0) + requeued
    results = (told[0][0] or 0) if fell else 0
    return Loss(after.moment, gone, max(0, inflight - left), results)


def newest_loss(looks: Sequence[Sample]) -> Loss | None:
    """The newest new beginning among looks, oldest first."""
    after: Sample | None = None
    for one in reversed(looks):
        if not answers(one):
            continue
        if after is not None and (found := loss(one, after)) is not None:
            return found
        after = one
    return None
