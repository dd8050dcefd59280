"""A baseline's run as a fact and as a document: what stands of it while it lasts, and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from console.core.baseline.evaluation import BaselineTargets, baseline
from console.core.baseline.thresholds import Thresholds
from console.core.frozen import frozen, replace
from console.core.model import BaselineView, Event, MetricView, Moment, Sample
from console.core.text.formatting import utc
from console.core.text.json_values import as_list, count, number, table, text

# A run is a fact: {"started": [at, tick, boot], "hours": 6.0, "conditions": {...},
# "spoilt": [...]}; one that is over has its "result", too.


_POSITIVE = ("hours", "latency_s", "worker_every_s", "queue_every_s", "canary_every_s")


def began(run: object) -> Moment | None:
    """When a run was started; None when there is none."""
    try:
        at, tick, boot = table(run)["started"]
        return Moment(float(at), float(tick), str(boot))
    except (KeyError, TypeError, ValueError):
        return None


def targets(run: object, configured: BaselineTargets) -> BaselineTargets:
    """The targets of a run: those it began with, whatever is configured by now."""
    kept = table(table(run).get("conditions"))
    told = {key: number(kept.get(f"baseline.{key}")) for key in asdict(configured)}
    told["hours"] = number(table(run).get("hours"))
    wanted: dict[str, Any] = {
        key: value
        for key, value in told.items()
        if value is not None and (value > 0 or (value == 0 and key not in _POSITIVE))
    }
    return replace(configured, **wanted)


def shown(
    run: object,
    last: object,
    samples: Sequence[Sample],
    events: Sequence[Event],
    configured: BaselineTargets,
    now: Moment,
) -> BaselineView:
    """The run under way, or what the last one has shown, or nothing."""
    if started := began(run):
        spoilt = "; ".join(map(str, as_list(table(run).get("spoilt"))))
        return baseline(started, samples, events, targets(run, configured), now, spoilt)
    if started := began(last):
        length_s = targets(last, configured).length_s
        return restore(table(last).get("result"), started, length_s)
    return BaselineView()


def conclusion(view: BaselineView) -> str:
    """One word for a whole run: `pass`, `fail`, `undecided`, `invalid` or `off`."""
    if view.state in ("off", "invalid"):
        return view.state
    verdicts = {one.verdict for one in view.metrics}
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts == {"pass"} else "undecided"


# --- a result as a document, and back -------------------------------------------------------


def result(view: BaselineView, thresholds: Thresholds | None, ended: Moment) -> dict[str, Any]:
    """A finished run as plain values; what is not known is left out."""
    document: dict[str, Any] = {
        "schema": 1,
        "conclusion": conclusion(view),
        "state": view.state,
        "reason": view.reason,
        "started_at": utc(view.started),
        "ended_at": utc(ended),
        "checkpoint_at": utc(view.checkpoint),
        "progress": _rounded(view.progress),
        "coverage": _rounded(view.coverage),
        "metrics": [_known(asdict(one)) for one in view.metrics],
    }
    if thresholds is not None:
        document["thresholds"] = _known(asdict(thresholds))
    return _known(document)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _known(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def restore(document: object, started: Moment, length_s: float) -> BaselineView:
    """The view of a finished run from its document; foreign values become unknown."""
    told = table(document)
    if told.get("state") not in ("complete", "invalid"):
        return BaselineView()  # it was stopped before it could say anything
    return BaselineView(
        state=str(told["state"]),
        started=started,
        checkpoint=started.plus(length_s),
        progress=number(told.get("progress")),
        coverage=number(told.get("coverage")),
        metrics=tuple(_metric(table(one)) for one in as_list(told.get("metrics"))),
        reason=text(told.get("reason")) or "",
    )


def _metric(row: Mapping[str, Any]) -> MetricView:
    return MetricView(
        name=text(row.get("name"), 60) or "?",
        value=number(row.get("value")),
        unit=text(row.get("unit"), 10) or "",
        target=text(row.get("target"), 60) or "",
        verdict=text(row.get("verdict"), 20) or "undecided",
        n=count(row.get("n")) or 0,
        note=text(row.get("note"), 300) or "",
    )


# --- comparing ------------------------------------------------------------------------------


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the conditions of a run and those of now, in words."""
    keys = sorted(before.keys() | after.keys())
    return tuple(
        f"{key} changed"
        if key.endswith("command")
        else f"{key} was {before.get(key)}, is {after.get(key)}"
        for key in keys
        if before.get(key) != after.get(key)
    )


@frozen
class Difference:
    """One metric in two runs."""

    name: str
    unit: str
    before: float | None
    after: float | None
    word: str
    """`better`, `worse`, `same`, or `unknown`."""


def compare(before: object, after: object) -> tuple[Difference, ...]:
    """The metrics of two results side by side, in the order of the newer one."""
    old = {one.name: one for one in _metrics(before)}
    found = []
    for one in _metrics(after):
        past = old.get(one.name)
        value = past.value if past else None
        word = _word(value, one.value, one.target.startswith(">"))
        found.append(Difference(one.name, one.unit, value, one.value, word))
    return tuple(found)


def _metrics(document: object) -> tuple[MetricView, ...]:
    return tuple(_metric(table(one)) for one in as_list(table(document).get("metrics")))


def _word(before: float | None, after: float | None, more_is_better: bool) -> str:
    if before is None or after is None:
        return "unknown"
    if abs(after - before) <= 0.005 * max(abs(before), abs(after)):
        return "same"
    return "better" if (after > before) == more_is_better else "worse"
