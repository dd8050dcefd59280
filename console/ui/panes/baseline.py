"""Baseline pane: progress, coverage, and five metrics with their targets."""

from __future__ import annotations

import textwrap

from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MetricView
from console.core.text.formatting import format_clock, format_coarse_duration, sanitize_text
from console.ui.render.graphs import draw_meter, format_round_duration
from console.ui.render.state_labels import BASELINE_LABELS, METRIC_LABELS, OFF, UNKNOWN
from console.ui.render.styled_lines import (
    PaneContext,
    Span,
    StyledLine,
    fit_facts,
    pad_text,
    styled_line,
)

TITLE = "Baseline"
KEY = "6"
SLOT = "right"
ROWS = (7, 7)
HELP = (
    "Hours of observation under normal work. Each metric has a target (┃ on its meter) and a "
    "verdict: pass, fail, or undecided while it can still turn. Coverage is how much of the time "
    "was seen. b starts it, and stops it after asking."
)


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return the progress, then a row for each metric, then the metrics' notes."""
    base = snapshot.baseline
    head: list[Span] = [_state_label(base)]
    if base.state == "off":
        hint = "hours of work against five targets"
        return [
            styled_line(*head, ("  b starts one", "muted")),
            *_reason_lines(base),
            styled_line((hint, "muted")),
        ]
    room = max(10, min(40, context.width - 26))
    lines = [styled_line(*head, "  ", *_progress_bar(base.progress, room))]
    facts, gap = _progress_facts(base, snapshot.moment), _longest_gap(base)
    with_gap = sum(len(text) + 3 for text, _ in (*facts, gap)) <= context.width + 3 or not gap[0]
    lines.append(styled_line(*fit_facts((), [*facts, gap] if with_gap else facts, context.width)))
    lines += _reason_lines(base)
    lines += [_metric_row(metric, context.width) for metric in base.metrics]
    lines += [] if with_gap else [styled_line(gap)]
    return lines + _note_lines(base, context.width, context.height - len(lines))


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line: state, failed and undecided metrics, elapsed time, end, gaps, passes."""
    base = snapshot.baseline
    head = [_state_label(base), ("  ", "")]
    if base.state == "off":
        return styled_line(*head, (base.reason, "warn"))
    unseen = 0.0 if base.coverage is None else 100 - base.coverage * 100
    window, ends, _ = _progress_facts(base, snapshot.moment)
    gaps = (f"gaps {unseen:.0f} %" if unseen >= 0.5 else "", "warn")
    failed, undecided, passed = (
        _count_verdicts(base, verdict) for verdict in ("fail", "undecided", "pass")
    )
    facts = ((base.reason, "warn"), failed, undecided, window, ends, gaps, passed)
    return styled_line(*fit_facts(head, facts, context.summary_width))


def _count_verdicts(baseline: BaselineView, verdict: str) -> Span:
    count = sum(metric.verdict == verdict for metric in baseline.metrics)
    return (f"{count} {verdict}" if count else "", METRIC_LABELS[verdict][1])


def _state_label(baseline: BaselineView) -> Span:
    shape, style = BASELINE_LABELS.get(baseline.state, (UNKNOWN, "unknown"))
    return f"{shape} {baseline.state}" if baseline.state != "off" else f"{OFF} off", style


def _progress_bar(progress: float | None, width: int) -> list[Span]:
    share = min(1.0, max(0.0, progress or 0.0))
    full = round(share * width)
    percent = "  ?" if progress is None else f"{share * 100:3.0f} %"
    return [("━" * full, "accent"), ("─" * (width - full), "muted"), (f" {percent}", "strong")]


def _progress_facts(baseline: BaselineView, now: Moment) -> list[Span]:
    """Return the elapsed time, the time of the end, and the coverage."""
    coverage = "?" if baseline.coverage is None else f"{baseline.coverage * 100:.0f} %"
    return [
        (_elapsed_of_total(baseline, now), ""),
        (_end_time(baseline, now), "muted"),
        (f"coverage {coverage}", "muted"),
    ]


def _longest_gap(baseline: BaselineView) -> Span:
    if baseline.longest_gap is None:
        return "", ""
    began, lasted_s = baseline.longest_gap
    return f"longest gap {format_clock(began)[:5]}, for {format_coarse_duration(lasted_s)}", "warn"


def _elapsed_of_total(baseline: BaselineView, now: Moment) -> str:
    """Return the elapsed part of the baseline's duration, or "" if it was not started."""
    if baseline.started is None:
        return ""
    age_s = now.since(baseline.started)
    if baseline.checkpoint is None:
        return f"since {format_coarse_duration(age_s)}"
    total_s = baseline.checkpoint.since(baseline.started)
    return (
        f"{format_round_duration(total_s) if age_s >= total_s else format_coarse_duration(age_s)}"
        f" of {format_round_duration(total_s)}"
    )


def _end_time(baseline: BaselineView, now: Moment) -> str:
    if baseline.checkpoint is None:
        return ""
    over = baseline.started and now.since(baseline.started) >= baseline.checkpoint.since(
        baseline.started
    )
    return f"{'ended' if over else 'ends'} {format_clock(baseline.checkpoint)[:5]}"


def _reason_lines(baseline: BaselineView) -> list[StyledLine]:
    return [styled_line((baseline.reason, "warn"))] if baseline.reason else []


def _metric_row(metric: MetricView, width: int) -> StyledLine:
    shape, style = METRIC_LABELS.get(metric.verdict, (UNKNOWN, "unknown"))
    room = min(24, width - 37)
    target = metric.target.replace(" ", "") + metric.unit
    return styled_line(
        (f"{shape} ", style),
        (pad_text(metric.name.removesuffix("_s").replace("_", " "), 12), ""),
        (pad_text(metric.formatted_value, 5, align_right=True), "strong"),
        *((("  ", ""), *draw_meter(metric, room - 1)) if room >= 5 else ()),
        (pad_text(f" {target}", 8), "muted"),
        (pad_text(metric.verdict, 9), style),
        (f" n {metric.n}" if metric.n and width >= 72 else "", "muted"),
    )


def _note_lines(baseline: BaselineView, width: int, max_lines: int) -> list[StyledLine]:
    """Return the wrapped notes of the metrics, those of failed metrics first.

    At most `max_lines` lines are returned.
    """
    lines = []
    for metric in sorted(baseline.metrics, key=lambda metric: metric.verdict != "fail"):
        text = (
            f"{metric.name.removesuffix('_s').replace('_', ' ')}: {sanitize_text(metric.note, 300)}"
        )
        style = "bad" if metric.verdict == "fail" else "muted"
        if metric.note:
            lines += [styled_line((part, style)) for part in textwrap.wrap(text, max(10, width))]
    return lines[: max(0, max_lines)]
