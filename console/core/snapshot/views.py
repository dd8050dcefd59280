"""From the newest samples to the views that a snapshot carries. What is not known is None."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from console.core.metrics.queue_metrics import Work
from console.core.metrics.task_outcomes import decode, decode_errors
from console.core.model import (
    Health,
    Moment,
    PipelineView,
    QueueView,
    Sample,
    WatchdogView,
)
from console.core.text.json_values import as_list, count, number, table, text


def queue_view(url: str, work: Work, health: Health, now: Moment, idle: str = "") -> QueueView:
    """The queue by its newest look; success rate over the last hour, latency by the canary.

    A newest look without an answer shows no figures: `seen` says when there last were some.
    `idle`: why nothing is being done, so that what waits has no estimate.
    """
    data = work.answered.data if work.answered and work.current else {}
    return QueueView(
        url,
        health.state,
        health.reason,
        _not_after(work.answered.moment, now) if work.answered else None,
        size=count(data.get("size")),
        urgent=count(data.get("urgent")),
        normal=count(data.get("normal")),
        low=count(data.get("low")),
        inflight=count(data.get("inflight")),
        completed=count(data.get("completed")),
        failed=count(data.get("failed")),
        success_rate=work.success_rate,
        latency_s=work.latency_s,
        oldest_s=number(data.get("oldest_s")),
        lease_s=number(data.get("oldest_lease_s")),
        lease_task=text(data.get("lease_task"), 130) or "",
        finished=_not_after(work.finished, now) if work.finished else None,
        drain_s=None if idle and data.get("size") else work.drain_s if work.current else None,
        idle=idle,
        failures=decode_errors(data),
        last=_last_tasks(data),
        note=text(data.get("results_note"), 200) or "",
        anew=work.lost.words if work.lost is not None else "",
        anew_at=work.lost.moment if work.lost is not None else None,
        lost=work.lost.tasks if work.lost is not None else 0,
    )


def _last_tasks(data: Mapping[str, Any]) -> tuple[int, int]:
    """How many of the last tasks are known by their results, and how many of those failed."""
    known = decode(data.get("tail"))
    return (known.n, known.failed) if known is not None else (0, 0)


def watchdog_view(samples: Sequence[Sample], health: Health, now: Moment) -> WatchdogView:
    """The watchdog by its newest look that could look; a heartbeat met half written is kept."""
    looks = [*islice(_looks(samples, "watchdog"), 2)]
    if not looks:
        return WatchdogView(health.state, health.reason)
    last = looks[0]
    told = next((one for one in looks if _at(one, "heartbeat_at", now)), last)
    return WatchdogView(
        health.state,
        health.reason,
        _not_after(last.moment, now),
        pid=count(last.data.get("pid")),
        started=_at(last, "started_at", now),
        heartbeat=_at(told, "heartbeat_at", now),
        anomalies=_words(told.data.get("anomalies")),
        recommendations=_words(told.data.get("recommendations")),
        path=text(last.data.get("path")) or "",
    )


def pipeline_view(samples: Sequence[Sample], health: Health, now: Moment) -> PipelineView:
    """The pipeline by its newest look that could look."""
    last = next(_looks(samples, "pipeline"), None)
    if last is None:
        return PipelineView(health.state, health.reason)
    data = last.data
    return PipelineView(
        health.state,
        health.reason,
        _not_after(last.moment, now),
        generated=_at(last, "generated_at", now),
        mode=text(data.get("mode")) or "",
        anomalies=_words(data.get("anomalies")),
        channels=tuple(_channel(row) for row in as_list(data.get("channels"))),
        next_runs={name: text(at) or "?" for name, at in table(data.get("next_runs")).items()},
        path=text(data.get("path")) or "",
        about=tuple(
            (text(what, 20) or "?", text(words, 200) or "?")
            for what, words in (
                (*as_list(one), None, None)[:2] for one in as_list(data.get("about"))
            )
        ),
        once=health.kind == "once",
        unseen=data.get("unseen") is True,
    )


def _looks(samples: Sequence[Sample], monitor: str) -> Iterator[Sample]:
    """A monitor's looks that could look, newest first."""
    return (one for one in reversed(samples) if one.monitor == monitor and one.error is None)


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
