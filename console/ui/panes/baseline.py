"""The baseline: how far, how complete, and five metrics against their targets."""

from __future__ import annotations

import textwrap

from console.core.model import BaselineView, MetricView, Moment, Snapshot
from console.core.text.formatting import clock, coarse, visible
from console.ui.render.graphs import even, meter
from console.ui.render.state_labels import BASELINE, METRICS, OFF, UNKNOWN
from console.ui.render.styled_lines import Frame, Line, Span, fit, line, whole

TITLE = "Baseline"
KEY = "6"
SLOT = "right"
ROWS = (7, 7)
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
        what = "hours of work against five targets"
        return [line(*head, ("  b starts one", "muted")), *_reason(base), line((what, "muted"))]
    room = max(10, min(40, frame.width - 26))
    lines = [line(*head, "  ", *_bar(base.progress, room))]
    facts, gap = _facts(base, snapshot.moment), _gap(base)
    with_gap = sum(len(text) + 3 for text, _ in (*facts, gap)) <= frame.width + 3 or not gap[0]
    lines.append(line(*whole((), [*facts, gap] if with_gap else facts, frame.width)))
    lines += _reason(base)
    lines += [_metric(metric, frame.width) for metric in base.metrics]
    lines += [] if with_gap else [line(gap)]
    return lines + _notes(base, frame.width, frame.height - len(lines))


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """State, what is not passed, how far, until when, how much was not seen."""
    base = snapshot.baseline
    head = [_state(base), ("  ", "")]
    if base.state == "off":
        return line(*head, (base.reason, "warn"))
    unseen = 0.0 if base.coverage is None else 100 - base.coverage * 100
    window, ends, _ = _facts(base, snapshot.moment)
    gaps = (f"gaps {unseen:.0f} %" if unseen >= 0.5 else "", "warn")
    failed, open_, passed = (_count(base, verdict) for verdict in ("fail", "undecided", "pass"))
    facts = ((base.reason, "warn"), failed, open_, window, ends, gaps, passed)
    return line(*whole(head, facts, frame.folded))


def _count(base: BaselineView, verdict: str) -> Span:
    count = sum(metric.verdict == verdict for metric in base.metrics)
    return (f"{count} {verdict}" if count else "", METRICS[verdict][1])


def _state(base: BaselineView) -> Span:
    shape, style = BASELINE.get(base.state, (UNKNOWN, "unknown"))
    return f"{shape} {base.state}" if base.state != "off" else f"{OFF} off", style


def _bar(progress: float | None, width: int) -> list[Span]:
    share = min(1.0, max(0.0, progress or 0.0))
    full = round(share * width)
    percent = "  ?" if progress is None else f"{share * 100:3.0f} %"
    return [("━" * full, "accent"), ("─" * (width - full), "muted"), (f" {percent}", "strong")]


def _facts(base: BaselineView, now: Moment) -> list[Span]:
    """How far, until when, how complete."""
    coverage = "?" if base.coverage is None else f"{base.coverage * 100:.0f} %"
    return [
        (_window(base, now), ""),
        (_end(base, now), "muted"),
        (f"coverage {coverage}", "muted"),
    ]


def _gap(base: BaselineView) -> Span:
    if base.gap is None:
        return "", ""
    began, lasted_s = base.gap
    return f"longest gap {clock(began)[:5]}, for {coarse(lasted_s)}", "warn"


def _window(base: BaselineView, now: Moment) -> str:
    """How much of the time that it takes has gone by."""
    if base.started is None:
        return ""
    gone_s = now.since(base.started)
    if base.checkpoint is None:
        return f"since {coarse(gone_s)}"
    whole_s = base.checkpoint.since(base.started)
    return f"{even(whole_s) if gone_s >= whole_s else coarse(gone_s)} of {even(whole_s)}"


def _end(base: BaselineView, now: Moment) -> str:
    if base.checkpoint is None:
        return ""
    over = base.started and now.since(base.started) >= base.checkpoint.since(base.started)
    return f"{'ended' if over else 'ends'} {clock(base.checkpoint)[:5]}"


def _reason(base: BaselineView) -> list[Line]:
    return [line((base.reason, "warn"))] if base.reason else []


def _metric(metric: MetricView, width: int) -> Line:
    shape, style = METRICS.get(metric.verdict, (UNKNOWN, "unknown"))
    room = min(24, width - 37)
    target = metric.target.replace(" ", "") + metric.unit
    return line(
        (f"{shape} ", style),
        (fit(metric.name.removesuffix("_s").replace("_", " "), 12), ""),
        (fit(metric.figure, 5, right=True), "strong"),
        *((("  ", ""), *meter(metric, room - 1)) if room >= 5 else ()),
        (fit(f" {target}", 8), "muted"),
        (fit(metric.verdict, 9), style),
        (f" n {metric.n}" if metric.n and width >= 72 else "", "muted"),
    )


def _notes(base: BaselineView, width: int, room: int) -> list[Line]:
    """What is decided early, the failed ones first, as far as there is room."""
    lines = []
    for one in sorted(base.metrics, key=lambda one: one.verdict != "fail"):
        text = f"{one.name.removesuffix('_s').replace('_', ' ')}: {visible(one.note, 300)}"
        style = "bad" if one.verdict == "fail" else "muted"
        if one.note:
            lines += [line((part, style)) for part in textwrap.wrap(text, max(10, width))]
    return lines[: max(0, room)]
