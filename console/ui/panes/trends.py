"""Trends pane: charts of latency, waiting tasks and success rate over the last hours."""

from __future__ import annotations

from itertools import groupby

from console.core import trends as core
from console.core.model.snapshot import Snapshot
from console.core.trends import DAY_S, Curve, Trends
from console.ui.render.graphs import (
    LEGEND,
    draw_sparkline,
    draw_time_axis,
    draw_verdict_strip,
    format_round_duration,
)
from console.ui.render.styled_lines import PaneContext, Span, StyledLine, pad_text, styled_line

TITLE = "Trends"
KEY = "7"
SLOT = "left"
ROWS = (3, 10)
HELP = (
    "Latency of the canaries, waiting tasks and success rate; p50 and p95 are over the span beside "
    "them, in which there were five canaries at least; a cell shows its worst, a bare one "
    "that nothing is known, · that no canary ran between two that did. [ and ] change the span: "
    "1 h, 6 h, 24 h. The strip under the verdict, "
    f"and this pane when folded, is the last day: {LEGEND}."
)
LABEL_CELLS, FIGURES_CELLS, STACKED_FIGURES_CELLS = 9, 31, 23
"""Cells left of the curves, right of them, and right of them if the figures take two rows."""
WIDE_MIN_CELLS = 60
"""Minimum width of the pane at which all figures fit beside a curve of one row."""
MIN_STRIP_CELLS = 12
"""Minimum width of a verdict strip; a shorter strip is not drawn."""


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return three charts over one time axis; they share the pane's height."""
    trends = context.trends
    if trends is None:
        return [styled_line(("nothing is known of the past yet", "muted"))]
    chart_rows, extra = divmod(max(3, context.height - 1), 3)
    heights = [chart_rows + (number < extra) for number in range(3)]
    aside = chart_rows == 1 and context.width >= WIDE_MIN_CELLS
    width = max(
        4, context.width - LABEL_CELLS - (FIGURES_CELLS if aside else STACKED_FIGURES_CELLS)
    )
    curves = [
        to_curve(trends, context.span_s, width)
        for to_curve in (core.latency_curve, core.queue_size_curve, core.success_rate_curve)
    ]
    latency, depth, success = curves
    least = min(90.0, *success.known_values, 90.0)
    lines = [
        *_chart_rows(
            "latency", latency, 0.0, max(latency.known_values, default=0), "accent", heights[0]
        ),
        *_chart_rows(
            "waiting", depth, 0.0, max(4.0, *depth.known_values, 0.0), "accent", heights[1]
        ),
        # The scale is symmetric about 100 %: a rate of 100 % fills half of the chart, so that a
        # curve without failures does not stand out most.
        *_chart_rows("success", success, least, 200.0 - least, "ok", heights[2]),
    ]
    lines[heights[0] - 1] = _dot_gaps(lines[heights[0] - 1], latency)
    figures = (
        _latency_figures(trends, latency, context.span_s),
        _depth_figures(depth),
        _success_figures(success),
    )
    for number, (newest, *rest) in enumerate(figures):
        index = sum(heights[: number + 1]) - 1
        last = " ".join(rest) if aside else rest[-1]
        lines[index] = StyledLine(
            (*lines[index].spans, (f"  {newest}", "strong"), (f"  {last}", "muted"))
        )
        if chart_rows > 1 and len(rest) > 1:
            lines[index - 1] = StyledLine((*lines[index - 1].spans, (f"{'':11}{rest[0]}", "muted")))
    cells = len(depth.values)
    axis = draw_time_axis(depth.starts_at, depth.cell_length_s, cells)
    return [
        *lines,
        styled_line(
            (pad_text(f"{format_round_duration(context.span_s)} [ ]", LABEL_CELLS), "key"),
            (axis, "muted"),
            (_cell_length(depth), "muted"),
        ),
    ]


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line: the latency of the canaries, and a verdict strip if it fits."""
    trends = context.trends
    if trends is None:
        return styled_line(("nothing is known of the past yet", "muted"))
    newest, *rest = _latency_figures(trends, core.latency_curve(trends, DAY_S, 24), context.span_s)
    figures = (newest.strip(), "strong"), (f"  {' '.join(rest)}", "muted")
    spans: tuple[Span, ...] = (("latency ", "muted"), *figures)
    room = context.summary_width - sum(len(text) for text, _ in spans) - len("  24h  now")
    if room < MIN_STRIP_CELLS:
        return styled_line(*spans)
    return styled_line(
        *spans, ("  24h ", "muted"), *draw_verdict_strip(trends, room), (" now", "muted")
    )


def _chart_rows(
    name: str, curve: Curve, low: float, high: float, style: str, rows: int
) -> list[StyledLine]:
    bars = draw_sparkline(curve.values, low, high, rows)
    labels = [""] * (rows - 1) + [name]
    return [
        styled_line((pad_text(label, LABEL_CELLS), "muted"), (bar, style))
        for label, bar in zip(labels, bars, strict=True)
    ]


def _dot_gaps(row: StyledLine, curve: Curve) -> StyledLine:
    """Return the lowest row of a chart, with a dot in each empty cell between two known values."""
    (label, bars), is_known = row.spans, [value is not None for value in curve.values]
    first = is_known.index(True) if any(is_known) else len(is_known)
    last = len(is_known) - is_known[::-1].index(True) if any(is_known) else 0
    text, style = bars
    spans = [label, (text[:first], style)]
    for known, cells in groupby(range(first, last), lambda at: is_known[at]):
        run = [*cells]
        spans.append((text[run[0] : run[-1] + 1], style) if known else ("·" * len(run), "muted"))
    return StyledLine((*spans, (text[max(first, last) :], style)))


def _cell_length(curve: Curve) -> str:
    return f"  {format_round_duration(curve.cell_length_s)} a cell"


def _latency_figures(trends: Trends, curve: Curve, span_s: float) -> tuple[str, ...]:
    newest = "      ?" if curve.last_known is None else f"{curve.last_known:5.2f} s"
    percentiles = core.compute_latency_percentiles(trends, span_s)
    if percentiles is None:
        return newest, "few canaries" if curve.last_known is not None else "no canary"
    p50, p95, over_s = percentiles
    return newest, f"p50 {p50:.2f}", f"p95 {p95:.2f} {format_round_duration(over_s)}"


def _depth_figures(curve: Curve) -> tuple[str, str]:
    if curve.last_known is None:
        return "      ?", ""
    return f"{curve.last_known:5.0f}  ", f"most {max(curve.known_values):.0f}"


def _success_figures(curve: Curve) -> tuple[str, str]:
    if curve.last_known is None:
        return "      ?", "none ended"
    return f"{curve.last_known:5.1f} %", f"least {min(curve.known_values):.1f}"
