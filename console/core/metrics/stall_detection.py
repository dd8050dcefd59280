"""Evidence that a living worker does no work: what it was given, and did not take or finish."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from console.core.frozen import frozen
from console.core.metrics.statistics import percentile
from console.core.model import Moment, Sample
from console.core.text.formatting import duration, visible
from console.core.text.json_values import count, number, text

IDLE_S = 30.0
"""Nobody is called stalled for less, even while no task is in work."""
WORKING_S, UNUSUAL_S = 120.0, 300.0
"""The least while one is: it may be a long one; the second where no habit is known yet."""
TIMES, USUAL, ENOUGH = 3.0, 95.0, 3
"""Longer than so many times what is usual: this percentile of what was seen, if so often."""
STEP_S = 60.0
"""The time between two looks counts for no more: what nobody watched proves nothing."""
FEW, MOST = 3, 1_000
"""A still queue must be seen in so many looks; habits are learnt from no more than these."""


@frozen
class Look:
    """One look at the queue; None is what it did not tell."""

    moment: Moment
    watched: float
    """Seconds of watching since the first look."""
    size: int | None
    inflight: int | None
    finished: int | None
    """How many tasks workers were seen to answer; a ping is none of them."""
    lease_s: float | None

    @property
    def busy(self) -> bool:
        """There was something to do."""
        return bool(self.size or self.inflight)


@frozen
class Signs:
    """What the looks say of the work, whatever the time is."""

    canary: Sample | None = None
    """The newest one."""
    newest: Look | None = None
    still: tuple[Look, ...] = ()
    """The newest looks, newest first, in which something waited and nothing was finished."""
    gap_s: float | None = None
    """What is usual from one finished task to the next, where there was something to do."""
    held_s: float | None = None
    """For how long a task is usually in work, as far as looks can tell."""


def signs(histories: Mapping[str, Sequence[Sample]]) -> Signs:
    """Everything that only a new look can change. Histories are oldest first, by monitor."""
    canary, looks = histories.get("canary", ()), _looks(histories.get("queue", ())[-MOST:])
    still: list[Look] = []
    for look in reversed(looks):
        if not look.size or look.finished is None or look.finished != looks[-1].finished:
            break
        still.append(look)
    ended = [
        before.lease_s
        for before, after in pairwise(looks)
        if before.lease_s is not None and (after.lease_s or 0.0) < before.lease_s
    ]
    return Signs(
        canary[-1] if canary else None,
        looks[-1] if looks else None,
        tuple(still),
        _usual(_gaps(looks)),
        _usual(ended),
    )


def evidence(
    seen: Signs, fresh: Collection[str], worked: Moment | None, started: Moment, now: Moment
) -> str | None:
    """Why the workers, of which the youngest has `started`, must be called stalled; else None.

    `fresh`: the monitors whose newest look still counts; `worked`: when work was last seen.
    """
    own = now.since(started)
    if "canary" in fresh and (reason := _not_taken(seen, worked, own, now)):
        return reason
    if "queue" not in fresh or seen.newest is None:
        return None
    return _not_shrinking(seen, own, now) or _held(seen, seen.newest, own, now)


def _not_taken(seen: Signs, worked: Moment | None, own: float, now: Moment) -> str | None:
    """The newest canary was accepted and not taken, though nothing else was in work."""
    last = seen.canary
    if last is None or last.error is not None or last.data.get("failed_at") != "taken":
        return None
    if last.data.get("busy_s") is not None:  # it waits behind a task that is in work
        return None
    age = now.since(last.moment)
    busy = seen.newest is not None and bool(seen.newest.inflight)
    if busy or own < age + IDLE_S or (worked is not None and now.since(worked) < age):
        return None
    return visible(f"canary not taken: {text(last.data.get('detail')) or '?'}", 200)


def _not_shrinking(seen: Signs, own: float, now: Moment) -> str | None:
    """Something waits, and nothing has been finished for longer than is usual here."""
    run = [look for look in seen.still if now.since(look.moment) <= own]
    if len(run) < FEW:
        return None
    for_s = run[0].watched - run[-1].watched
    limit, measure = _limit(seen.gap_s, any(look.inflight != 0 for look in run))
    if for_s < limit:
        return None
    return f"{run[0].size} waiting, nothing finished for {duration(for_s)} ({measure})"


def _held(seen: Signs, newest: Look, own: float, now: Moment) -> str | None:
    """A task is in work for longer than is usual, and it was taken by one of these workers."""
    held = newest.lease_s
    if held is None or now.since(newest.moment) + held > own:
        return None
    limit, measure = _limit(seen.held_s, working=True)
    return f"a task in work for {duration(held)} ({measure})" if held >= limit else None


def _limit(usual: float | None, working: bool) -> tuple[float, str]:
    """From when on it is too long, and what that is measured by."""
    if usual is None:
        limit = UNUSUAL_S if working else IDLE_S
        return limit, f"limit {duration(limit)}, no habit known"
    limit = max(WORKING_S if working else IDLE_S, TIMES * usual)
    return limit, f"limit {duration(limit)}, usual {duration(usual)}"


# --- what the looks say -----------------------------------------------------------------------


def _looks(queue: Sequence[Sample]) -> list[Look]:
    looks: list[Look] = []
    for sample in queue:
        data = sample.data if sample.error is None and sample.data.get("problem") is None else {}
        step = min(sample.moment.since(looks[-1].moment), STEP_S) if looks else 0.0
        looks.append(
            Look(
                sample.moment,
                looks[-1].watched + step if looks else 0.0,
                count(data.get("size")),
                count(data.get("inflight")),
                count(data.get("answered")),
                number(data.get("oldest_lease_s")),
            )
        )
    return looks


def _gaps(looks: Sequence[Look]) -> list[float]:
    gaps: list[float] = []
    began: float | None = None
    for before, after in pairwise(looks):
        if before.finished is None or after.finished is None or after.finished < before.finished:
            began = None
            continue
        if began is None and before.busy:
            began = before.watched
        if after.finished > before.finished and began is not None:
            gaps.append(after.watched - began)
            began = after.watched
        if not after.busy:
            began = None
    return gaps


def _usual(seen: Sequence[float]) -> float | None:
    return percentile(seen, USUAL) if len(seen) >= ENOUGH else None
