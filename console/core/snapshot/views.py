"""Builds the views of a snapshot from the newest samples. Unknown values are None."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from console.core.metrics.queue_metrics import QueueMetrics
from console.core.metrics.task_outcomes import decode_outcomes, errors_of_sample
from console.core.model.samples import Health, Sample
from console.core.model.time import Moment
from console.core.model.views import PipelineView, QueueView, WatchdogView
from console.core.text.json_values import as_count, as_list, as_number, as_object, as_text


def build_queue_view(
    url: str, queue_metrics: QueueMetrics, health: Health, now: Moment, idle_reason: str = ""
) -> QueueView:
    """Return the queue by its newest sample, with last hour's success rate and canary latency.

    If the newest sample has no answer, the view has no figures; `seen` is the time of the last
    figures. `idle_reason`: why no task is taken now; with it, waiting tasks have no estimate.
    """
    data = (
        queue_metrics.last_answered.data
        if queue_metrics.last_answered and queue_metrics.is_current
        else {}
    )
    return QueueView(
        url,
        health.state,
        health.reason,
        _clamp_to_now(queue_metrics.last_answered.moment, now)
        if queue_metrics.last_answered
        else None,
        size=as_count(data.get("size")),
        urgent=as_count(data.get("urgent")),
        normal=as_count(data.get("normal")),
        low=as_count(data.get("low")),
        inflight=as_count(data.get("inflight")),
        completed=as_count(data.get("completed")),
        failed=as_count(data.get("failed")),
        success_rate=queue_metrics.success_rate,
        latency_s=queue_metrics.latency_s,
        oldest_s=as_number(data.get("oldest_s")),
        lease_s=as_number(data.get("oldest_lease_s")),
        lease_task=as_text(data.get("lease_task"), 130) or "",
        last_finished=_clamp_to_now(queue_metrics.last_finished, now)
        if queue_metrics.last_finished
        else None,
        drain_s=None
        if idle_reason and data.get("size")
        else queue_metrics.drain_s
        if queue_metrics.is_current
        else None,
        idle_reason=idle_reason,
        failures=errors_of_sample(data),
        last_task_counts=_count_recent_tasks(data),
        results_error=as_text(data.get("results_note"), 200) or "",
        loss_message=queue_metrics.last_loss.message if queue_metrics.last_loss is not None else "",
        loss_at=queue_metrics.last_loss.moment if queue_metrics.last_loss is not None else None,
        lost_tasks=queue_metrics.last_loss.task_count if queue_metrics.last_loss is not None else 0,
    )


def _count_recent_tasks(data: Mapping[str, Any]) -> tuple[int, int]:
    """Return (number of the last tasks whose result is known, number of those that failed)."""
    outcomes = decode_outcomes(data.get("tail"))
    return (outcomes.n, outcomes.failed) if outcomes is not None else (0, 0)


def build_watchdog_view(samples: Sequence[Sample], health: Health, now: Moment) -> WatchdogView:
    """Return the watchdog by its newest sample without an error.

    If the status file was read half-written, the heartbeat comes from the sample before.
    """
    successful = [*islice(_successful_samples(samples, "watchdog"), 2)]
    if not successful:
        return WatchdogView(health.state, health.reason)
    last = successful[0]
    with_heartbeat = next(
        (sample for sample in successful if _read_moment(sample, "heartbeat_at", now)), last
    )
    return WatchdogView(
        health.state,
        health.reason,
        _clamp_to_now(last.moment, now),
        pid=as_count(last.data.get("pid")),
        started=_read_moment(last, "started_at", now),
        heartbeat=_read_moment(with_heartbeat, "heartbeat_at", now),
        anomalies=_parse_strings(with_heartbeat.data.get("anomalies")),
        recommendations=_parse_strings(with_heartbeat.data.get("recommendations")),
        path=as_text(last.data.get("path")) or "",
    )


def build_pipeline_view(samples: Sequence[Sample], health: Health, now: Moment) -> PipelineView:
    """Return the pipeline by its newest sample without an error."""
    last = next(_successful_samples(samples, "pipeline"), None)
    if last is None:
        return PipelineView(health.state, health.reason)
    data = last.data
    return PipelineView(
        health.state,
        health.reason,
        _clamp_to_now(last.moment, now),
        generated=_read_moment(last, "generated_at", now),
        mode=as_text(data.get("mode")) or "",
        anomalies=_parse_strings(data.get("anomalies")),
        channels=tuple(_parse_channel(row) for row in as_list(data.get("channels"))),
        next_runs={
            name: as_text(at) or "?" for name, at in as_object(data.get("next_runs")).items()
        },
        path=as_text(data.get("path")) or "",
        details=tuple(
            (as_text(label, 20) or "?", as_text(text, 200) or "?")
            for label, text in (
                (*as_list(detail), None, None)[:2] for detail in as_list(data.get("about"))
            )
        ),
        ran_once=health.kind == "once",
        has_no_other_writer=data.get("unseen") is True,
    )


def _successful_samples(samples: Sequence[Sample], monitor: str) -> Iterator[Sample]:
    """Yield the monitor's samples without an error, newest first."""
    return (
        sample for sample in reversed(samples) if sample.monitor == monitor and sample.error is None
    )


def _parse_channel(row: object) -> tuple[str, float | None, str]:
    name, value, word = (*as_list(row), None, None, None)[:3]
    return as_text(name) or "?", as_number(value), as_text(word) or "?"


def _parse_strings(value: object) -> tuple[str, ...]:
    return tuple(word for word in map(as_text, as_list(value)) if word)


def _clamp_to_now(moment: Moment, now: Moment) -> Moment:
    """Return `moment`, or `now` if it is of another boot and, by a clock change, in the future."""
    return now if moment.boot != now.boot and moment.at > now.at else moment


def _read_moment(sample: Sample, key: str, now: Moment) -> Moment | None:
    """Return a time in a sample, or None; on both clocks if the sample is of this boot."""
    at = as_number(sample.data.get(key))
    if at is None:
        return None
    sampled_at = sample.moment
    if sampled_at.boot and sampled_at.boot == now.boot:
        return sampled_at.plus(at - sampled_at.at)
    return Moment(at)
