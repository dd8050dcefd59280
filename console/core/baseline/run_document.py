"""Reads the stored fact of a baseline run, and converts its result to a document and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.core.baseline.evaluation import BaselineTargets, evaluate_baseline
from console.core.baseline.thresholds import Thresholds
from console.core.model.events import Event
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MetricView
from console.core.records import Record, asdict, replace
from console.core.text.formatting import format_utc
from console.core.text.json_values import as_count, as_list, as_number, as_object, as_text

# A run is stored as a fact: {"started": [at, tick, boot], "hours": 6.0, "conditions": {...},
# "spoilt": [...]}. A finished run also has a "result".


_POSITIVE_KEYS = ("hours", "latency_s", "worker_every_s", "queue_every_s", "canary_every_s")


def run_started_at(run: object) -> Moment | None:
    """Return when a run was started; None if there is no run."""
    try:
        at, tick, boot = as_object(run)["started"]
        return Moment(float(at), float(tick), str(boot))
    except (KeyError, TypeError, ValueError):
        return None


def run_targets(run: object, configured: BaselineTargets) -> BaselineTargets:
    """Return the targets with which a run began, independent of the current configuration.

    `configured` supplies the targets that the run does not have.
    """
    conditions = as_object(as_object(run).get("conditions"))
    targets = {key: as_number(conditions.get(f"baseline.{key}")) for key in asdict(configured)}
    targets["hours"] = as_number(as_object(run).get("hours"))
    valid_targets: dict[str, Any] = {
        key: value
        for key, value in targets.items()
        if value is not None and (value > 0 or (value == 0 and key not in _POSITIVE_KEYS))
    }
    return replace(configured, **valid_targets)


def current_view(
    run: object,
    last_run: object,
    samples: Sequence[Sample],
    events: Sequence[Event],
    configured: BaselineTargets,
    now: Moment,
) -> BaselineView:
    """Return the view of the run in progress, of the last one, or an empty view."""
    if started := run_started_at(run):
        invalid_reason = "; ".join(map(str, as_list(as_object(run).get("spoilt"))))
        return evaluate_baseline(
            started, samples, events, run_targets(run, configured), now, invalid_reason
        )
    if started := run_started_at(last_run):
        length_s = run_targets(last_run, configured).length_s
        return view_from_document(as_object(last_run).get("result"), started, length_s)
    return BaselineView()


def conclusion(view: BaselineView) -> str:
    """Return the conclusion of a run: `pass`, `fail`, `undecided`, `invalid` or `off`."""
    if view.state in ("off", "invalid"):
        return view.state
    verdicts = {metric.verdict for metric in view.metrics}
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts == {"pass"} else "undecided"


# --- a result as a document, and back -------------------------------------------------------


def result_document(
    view: BaselineView, thresholds: Thresholds | None, ended: Moment
) -> dict[str, Any]:
    """Return a finished run as plain values, without those that are unknown."""
    document: dict[str, Any] = {
        "schema": 1,
        "conclusion": conclusion(view),
        "state": view.state,
        "reason": view.reason,
        "started_at": format_utc(view.started),
        "ended_at": format_utc(ended),
        "checkpoint_at": format_utc(view.checkpoint),
        "progress": _round_value(view.progress),
        "coverage": _round_value(view.coverage),
        "metrics": [_without_none(asdict(metric)) for metric in view.metrics],
    }
    if thresholds is not None:
        document["thresholds"] = _without_none(asdict(thresholds))
    return _without_none(document)


def _round_value(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _without_none(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


def view_from_document(document: object, started: Moment, length_s: float) -> BaselineView:
    """Return the view of a finished run from its document; values of a wrong type are unknown."""
    fields = as_object(document)
    if fields.get("state") not in ("complete", "invalid"):
        return BaselineView()  # it was stopped before it had a result
    return BaselineView(
        state=str(fields["state"]),
        started=started,
        checkpoint=started.plus(length_s),
        progress=as_number(fields.get("progress")),
        coverage=as_number(fields.get("coverage")),
        metrics=tuple(_decode_metric(as_object(row)) for row in as_list(fields.get("metrics"))),
        reason=as_text(fields.get("reason")) or "",
    )


def _decode_metric(row: Mapping[str, Any]) -> MetricView:
    return MetricView(
        name=as_text(row.get("name"), 60) or "?",
        value=as_number(row.get("value")),
        unit=as_text(row.get("unit"), 10) or "",
        target=as_text(row.get("target"), 60) or "",
        verdict=as_text(row.get("verdict"), 20) or "undecided",
        n=as_count(row.get("n")) or 0,
        note=as_text(row.get("note"), 300) or "",
    )


# --- comparison -----------------------------------------------------------------------------


def describe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a text for each difference between a run's conditions and the current ones."""
    keys = sorted(before.keys() | after.keys())
    return tuple(
        f"{key} changed"
        if key.endswith("command")
        else f"{key} was {before.get(key)}, is {after.get(key)}"
        for key in keys
        if before.get(key) != after.get(key)
    )


class MetricChange(Record, frozen=True):
    """One metric in two runs."""

    name: str
    unit: str
    before: float | None
    after: float | None
    word: str
    """`better`, `worse`, `same`, or `unknown`."""


def compare_results(before: object, after: object) -> tuple[MetricChange, ...]:
    """Return the metrics of two results side by side, in the order of the newer one."""
    old = {metric.name: metric for metric in _decode_metrics(before)}
    changes = []
    for metric in _decode_metrics(after):
        previous = old.get(metric.name)
        value = previous.value if previous else None
        word = _compare_values(value, metric.value, metric.target.startswith(">"))
        changes.append(MetricChange(metric.name, metric.unit, value, metric.value, word))
    return tuple(changes)


def _decode_metrics(document: object) -> tuple[MetricView, ...]:
    return tuple(
        _decode_metric(as_object(row)) for row in as_list(as_object(document).get("metrics"))
    )


def _compare_values(before: float | None, after: float | None, more_is_better: bool) -> str:
    if before is None or after is None:
        return "unknown"
    if abs(after - before) <= 0.005 * max(abs(before), abs(after)):
        return "same"
    return "better" if (after > before) == more_is_better else "worse"
