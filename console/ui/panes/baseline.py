"""The baseline: how far, how complete, and five metrics against their targets."""

from __future__ import annotations

from console.core.model import BaselineView, MetricView, Snapshot
from console.core.text import clock
from console.ui.graph import meter
from console.ui.paint import Frame, Line, Span, fit, line
from console.ui.words import BASELINE, METRICS, OFF, UNKNOWN, since, until

TITLE = "Baseline"
KEY = "6"
SLOT = "right"
ROWS = (8, 8)
HELP = (
    "Hours of observation under normal work. Each metric has a target (┃ on its meter) and a "
    "verdict: pass, fail, or undecided while it can still turn. Coverage is how much of the time "
    "was seen. b starts it, and stops it after asking."
)


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """Progress, then the metrics."""
    base = snapshot.baseline
    head: list[Span] = [_state(base)]
    if base.state == "off":
        return [line(*head, ("  b starts one", "muted")), *_reason(base)]
    room = max(10, min(40, frame.width - 26))
    lines = [line(*head, "  ", *_bar(base.progress, room))]
    coverage = "?" if base.coverage is None else f"{base.coverage * 100:.0f} %"
    due = f"{clock(base.checkpoint)[:5]} ({until(snapshot.moment, base.checkpoint)})"
    lines += [
        line((f"{since(snapshot.moment, base.started)} · coverage {coverage}", "muted")),
        line(("checkpoint ", "muted"), (due, "")),
    ]
    lines += _reason(base) + [_metric(metric, frame.width) for metric in base.metrics]
    return lines + _notes(base, frame.height - len(lines))


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """State, progress and the verdicts."""
    base = snapshot.baseline
    spans: list[Span] = [_state(base), ("  ", "")]
    if base.state != "off":
        spans += [*_bar(base.progress, 12), ("  ", "")]
        for verdict in ("fail", "undecided", "pass"):
            count = sum(metric.verdict == verdict for metric in base.metrics)
            if count:
                spans.append((f"{count} {verdict}  ", METRICS[verdict][1]))
    return line(*spans, (base.reason, "warn"))


def _state(base: BaselineView) -> Span:
    shape, style = BASELINE.get(base.state, (UNKNOWN, "unknown"))
    return f"{shape} {base.state}" if base.state != "off" else f"{OFF} off", style


def _bar(progress: float | None, width: int) -> list[Span]:
    share = min(1.0, max(0.0, progress or 0.0))
    full = round(share * width)
    percent = "  ?" if progress is None else f"{share * 100:3.0f} %"
    return [("━" * full, "accent"), ("─" * (width - full), "muted"), (f" {percent}", "strong")]


def _reason(base: BaselineView) -> list[Line]:
    return [line((base.reason, "warn"))] if base.reason else []


def _metric(metric: MetricView, width: int) -> Line:
    shape, style = METRICS.get(metric.verdict, (UNKNOWN, "unknown"))
    value = "?" if metric.value is None else f"{metric.value:.4g}"
    room = min(24, width - 39)
    target = metric.target.replace(" ", "") + metric.unit
    return line(
        (f"{shape} ", style),
        (fit(metric.name.removesuffix("_s").replace("_", " "), 13), ""),
        (fit(value, 5, right=True), "strong"),
        (" ", ""),
        *(meter(metric, room) if room >= 4 else ()),
        (fit(f" {target}", 8), "muted"),
        (fit(metric.verdict, 10), style),
        (f"n {metric.n}" if metric.n and width >= 72 else "", "muted"),
    )


def _notes(base: BaselineView, room: int) -> list[Line]:
    """What is decided early, the failed ones first, as far as there is room."""
    order = sorted(base.metrics, key=lambda one: one.verdict != "fail")
    told = [one for one in order if one.note]
    return [
        line(
            (f"{one.name.removesuffix('_s').replace('_', ' ')}: ", "muted"),
            (one.note, METRICS["fail"][1] if one.verdict == "fail" else "muted"),
        )
        for one in told[: max(0, room)]
    ]
