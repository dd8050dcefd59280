"""What the monitors' looks add up to, whatever the time is: kept as long as no look is new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from itertools import pairwise, takewhile

from console.core.frozen import frozen
from console.core.metrics.queue_loss import Loss, answers, newest_loss
from console.core.metrics.stall_detection import Signs, signs
from console.core.metrics.statistics import increase, increases
from console.core.model import Moment, Sample
from console.core.text.formatting import visible
from console.core.text.json_values import count, number, text

SUCCESS_S = 3600.0
"""The success rate is that of the last hour before the newest look."""
PACE_S = 600.0
"""How far back the pace of the work is measured."""
WATCHED = 3
"""So many tasks at most are watched until a worker has answered them."""
OUTPUT = 300
"""Characters of a wrong canary's output that are told."""
_PROOFS = (("watchdog", "heartbeat_at"), ("pipeline", "generated_at"))


@frozen
class Work:
    """How the work goes, by all looks of all monitors."""

    answered: Sample | None = None
    """The queue's newest look with figures."""
    current: bool = False
    """That one is the newest look of all at the queue."""
    success_rate: float | None = None
    """Percent of the tasks that ended in the last hour; None while none did."""
    latency_s: float | None = None
    """Of the newest canary; None when that one failed."""
    finished: Moment | None = None
    """When a worker was last seen to have finished a task; a ping that the server answers itself,
    and a counter that rises, do not say so."""
    drain_s: float | None = None
    """Seconds that what waits will take at the pace of the last minutes of work."""
    proofs: Mapping[str, Moment] = field(default_factory=dict)
    """Since when at the latest each role was last seen to do its work, rather than to exist.

    What was done between two looks may have been done right after the first, by who died since.
    """
    signs: Signs = Signs()
    """By which a worker that does none is known."""
    lost: Loss | None = None
    """What the queue server lost when it last began anew, within the last hour."""


def work(histories: Mapping[str, Sequence[Sample]]) -> Work:
    """Everything that only a new look can change. Histories are oldest first, by monitor."""
    queue, canary = histories.get("queue", ()), histories.get("canary", ())
    answered = next((one for one in reversed(queue) if answers(one)), None)
    good, ended = tasks_ended(one for one in recent(queue, SUCCESS_S) if one.error is None)
    since, finished = _finished(queue)
    passed = next((one for one in reversed(canary) if one.data.get("ok") is True), None)
    came_back = passed.moment if passed else None
    return Work(
        answered=answered,
        current=answered is not None and answered is queue[-1],
        success_rate=100.0 * good / ended if ended else None,
        latency_s=_latency(canary),
        finished=finished.latest(came_back) if finished else came_back,
        drain_s=_drain(queue, answered),
        proofs=_proofs(histories, answered, since),
        signs=signs(histories),
        lost=newest_loss(recent(queue, SUCCESS_S)),
    )


def said(canary: Sample) -> str:
    """The output of a canary that came back wrong: its beginning, harmless."""
    output = text(canary.data.get("output")) if canary.data.get("ok") is False else None
    return visible(output or "", OUTPUT)


def tasks_ended(queue: Iterable[Sample]) -> tuple[float, float]:
    """(succeeded, ended) over samples, oldest first, of counters that restart with the server.

    Pings, which the server answers itself, are left out as far as they were counted.
    """
    looks = [*queue]
    read = ((count(one.data.get("successful")), count(one.data.get("failed"))) for one in looks)
    told = [(good, bad) for good, bad in read if good is not None and bad is not None]
    good, bad = increases(told) if told else (0.0, 0.0)
    pings = [n for one in looks if (n := count(one.data.get("pings"))) is not None]
    good = max(0.0, good - increase(pings))
    return good, good + bad


def recent(samples: Sequence[Sample], within_s: float) -> list[Sample]:
    """The samples of the last seconds before the newest one, oldest first."""
    if not samples:
        return []
    newest = samples[-1].moment
    near = takewhile(lambda one: newest.since(one.moment) <= within_s, reversed(samples))
    return [*near][::-1]


def _latency(canary: Sequence[Sample]) -> float | None:
    ok = bool(canary) and canary[-1].data.get("ok") is True
    return number(canary[-1].data.get("latency_s")) if ok else None


def _finished(queue: Sequence[Sample]) -> tuple[Moment | None, Moment | None]:
    """Since when at the latest a worker was seen at work, and when its task was seen finished."""
    for one in reversed(queue):
        worked_s, answered_s = (number(one.data.get(k)) for k in ("worked_s", "answered_s"))
        if worked_s is not None:
            return one.moment.plus(-worked_s), one.moment.plus(-(answered_s or 0.0))
    return None, None


def _drain(queue: Sequence[Sample], answered: Sample | None) -> float | None:
    """What waits, at the pace of the time in which there was something to do.

    Few tasks are counted one by one, as a worker was seen to finish them; many by the counter,
    which pings raise as well. None while no worker was seen to finish any.
    """
    size = count(answered.data.get("size")) if answered else None
    if not size:
        return 0.0 if size == 0 else None
    looks = [one for one in recent(queue, PACE_S) if answers(one)]
    done, took, seen = 0, 0.0, 0
    for before, after in pairwise(looks):
        busy = count(before.data.get("size")) or count(before.data.get("inflight"))
        if not busy:
            continue
        took += after.moment.since(before.moment)
        one_by_one = _rise(before, after, "answered")
        counted = _rise(before, after, "completed")
        seen += one_by_one
        done += counted if counted > WATCHED else one_by_one
    return size * took / done if done and seen else None


def _rise(before: Sample, after: Sample, key: str) -> int:
    """How far a counter rose; one that fell began anew."""
    old, new = count(before.data.get(key)), count(after.data.get(key))
    if old is None or new is None:
        return 0
    return new - old if new >= old else new


def _sent(canary: Sequence[Sample]) -> Moment | None:
    """When the newest canary that came through was sent."""
    for one in reversed(canary):
        if one.data.get("ok") is True:
            return one.moment.plus(-(number(one.data.get("latency_s")) or 0.0))
    return None


def _proofs(
    histories: Mapping[str, Sequence[Sample]], answered: Sample | None, finished: Moment | None
) -> dict[str, Moment]:
    found, canary = {}, _sent(histories.get("canary", ()))
    if moments := [moment for moment in (canary, finished) if moment is not None]:
        first, last = moments[0], moments[-1]
        found["worker"] = first if first.later_than(last) else last
    if answered is not None:
        found["queue"] = answered.moment
    return found | told(histories)


def told(histories: Mapping[str, Sequence[Sample]]) -> dict[str, Moment]:
    """What the roles that write a file have said there of themselves."""
    found = {}
    for name, key in _PROOFS:
        read = (number(one.data.get(key)) for one in reversed(histories.get(name, ())))
        if (at := next((at for at in read if at is not None), None)) is not None:
            found[name] = Moment(float(at))
    return found
