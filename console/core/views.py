"""From the newest samples to the views that a snapshot carries. What is not known is None."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from console.core.baseline import tasks_ended
from console.core.foreign import as_list, count, number, table, text
from console.core.model import (
    Health,
    Moment,
    PipelineView,
    QueueView,
    Sample,
    WatchdogView,
)
from console.core.stats import increase

PACE_S, PACE_LOOKS = 600.0, 600
"""How far back the pace of the work is measured."""


def queue_view(url: str, samples: Sequence[Sample], health: Health, now: Moment) -> QueueView:
    """The queue by its newest look; success rate over all samples given, latency by the canary.

    A newest look without an answer shows no figures: `seen` says when there last were some.
    """
    looks = [one for one in samples if one.monitor == "queue" and one.error is None]
    answered = [one for one in looks if one.data.get("problem") is None]
    failed_now = bool(samples) and _newest_look_failed(samples, answered)
    data = answered[-1].data if answered and not failed_now else {}
    good, ended = tasks_ended(looks)
    return QueueView(
        url,
        health.state,
        health.reason,
        _not_after(answered[-1].moment, now) if answered else None,
        size=count(data.get("size")),
        urgent=count(data.get("urgent")),
        normal=count(data.get("normal")),
        low=count(data.get("low")),
        inflight=count(data.get("inflight")),
        completed=count(data.get("completed")),
        failed=count(data.get("failed")),
        success_rate=100.0 * good / ended if ended else None,
        latency_s=_latency(samples),
        oldest_s=number(data.get("oldest_s")),
        lease_s=number(data.get("oldest_lease_s")),
        finished=_finished(answered, now),
        drain_s=_drain(answered, count(data.get("size"))),
    )


def _finished(looks: Sequence[Sample], now: Moment) -> Moment | None:
    """The newest look at which more tasks had been finished than at the one before."""
    for newer, older in pairwise(reversed(looks)):
        new, old = count(newer.data.get("completed")), count(older.data.get("completed"))
        if new is not None and old is not None and new > old:
            return _not_after(newer.moment, now)
    return None


def _drain(looks: Sequence[Sample], size: int | None) -> float | None:
    """Seconds that what waits will take at the pace of the last minutes."""
    recent = [one for one in looks[-PACE_LOOKS:] if looks[-1].moment.since(one.moment) <= PACE_S]
    told = [(count(one.data.get("completed")), one) for one in recent]
    known = [(float(done), one) for done, one in told if done is not None]
    if not size or len(known) < 2:
        return 0.0 if size == 0 else None
    done, took = increase([n for n, _ in known]), known[-1][1].moment.since(known[0][1].moment)
    return size * took / done if done else None


def _newest_look_failed(samples: Sequence[Sample], answered: Sequence[Sample]) -> bool:
    newest = next((one for one in reversed(samples) if one.monitor == "queue"), None)
    return newest is not None and not (answered and answered[-1] is newest)


def _latency(samples: Sequence[Sample]) -> float | None:
    """Seconds of the newest canary; None when that one failed."""
    newest = next((one for one in reversed(samples) if one.monitor == "canary"), None)
    if newest is None or newest.data.get("ok") is not True:
        return None
    return number(newest.data.get("latency_s"))


def watchdog_view(samples: Sequence[Sample], health: Health, now: Moment) -> WatchdogView:
    """The watchdog by its newest look that could look; a heartbeat met half written is kept."""
    looks = [one for one in samples if one.monitor == "watchdog" and one.error is None]
    if not looks:
        return WatchdogView(health.state, health.reason)
    last = looks[-1]
    told = next((one for one in reversed(looks[-2:]) if _at(one, "heartbeat_at", now)), last)
    return WatchdogView(
        health.state,
        health.reason,
        _not_after(last.moment, now),
        pid=count(last.data.get("pid")),
        started=_at(last, "started_at", now),
        heartbeat=_at(told, "heartbeat_at", now),
        anomalies=_words(told.data.get("anomalies")),
        path=text(last.data.get("path")) or "",
    )


def pipeline_view(samples: Sequence[Sample], health: Health, now: Moment) -> PipelineView:
    """The pipeline by its newest look that could look."""
    looks = [one for one in samples if one.monitor == "pipeline" and one.error is None]
    if not looks:
        return PipelineView(health.state, health.reason)
    data = looks[-1].data
    return PipelineView(
        health.state,
        health.reason,
        _not_after(looks[-1].moment, now),
        generated=_at(looks[-1], "generated_at", now),
        mode=text(data.get("mode")) or "",
        anomalies=_words(data.get("anomalies")),
        channels=tuple(_channel(row) for row in as_list(data.get("channels"))),
        next_runs={name: text(at) or "?" for name, at in table(data.get("next_runs")).items()},
        path=text(data.get("path")) or "",
    )


def _channel(row: object) -> tuple[str, float | None, str]:
    name, value, word = (*as_list(row), None, None, None)[:3]
    return text(name) or "?", number(value), text(word) or "?"


def _words(value: object) -> tuple[str, ...]:
    return tuple(word for word in map(text, as_list(value)) if word)


def _not_after(moment: Moment, now: Moment) -> Moment:
    """`moment`, or now when a clock that was set has put it into the future."""
    return now if moment.boot != now.boot and moment.at > now.at else moment


def _at(sample: Sample, key: str, now: Moment) -> Moment | None:
    """A time in a sample, on both clocks where the look was in this boot."""
    at = number(sample.data.get(key))
    if at is None:
        return None
    seen = sample.moment
    if seen.boot and seen.boot == now.boot:
        return seen.plus(at - seen.at)
    return Moment(at)
