"""Latency, depth and success of the last hours, for people who look rather than read."""

from __future__ import annotations

from itertools import groupby

from console.core import trends as core
from console.core.model import Snapshot
from console.core.trends import DAY_S, Curve, Trends
from console.ui.render.graphs import LEGEND, axis, even, spark, strip
from console.ui.render.styled_lines import Frame, Line, Span, fit, line

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
LABEL, FIGURES, STACKED = 9, 31, 23
"""Cells left and right of the curves; on the right fewer where figures stand over each other."""
WIDE = 60
"""Cells from which there is room for all figures beside a curve of one row."""
LEAST_STRIP = 12
"""Cells below which a strip says nothing."""


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """Three curves over one axis, as high as there is room."""
    known = frame.trends
    if known is None:
        return [line(("nothing is known of the past yet", "muted"))]
    low, more = divmod(max(3, frame.height - 1), 3)
    heights = [low + (number < more) for number in range(3)]
    aside = low == 1 and frame.width >= WIDE
    width = max(4, frame.width - LABEL - (FIGURES if aside else STACKED))
    curves = [draw(known, frame.span_s, width) for draw in (core.latency, core.depth, core.success)]
    latency, depth, success = curves
    least = min(90.0, *success.known, 90.0)
    lines = [
        *_chart("latency", latency, 0.0, max(latency.known, default=0), "accent", heights[0]),
        *_chart("waiting", depth, 0.0, max(4.0, *depth.known, 0.0), "accent", heights[1]),
        # What is well fills half of its row: the calmest curve must not be the loudest.
        *_chart("success", success, least, 200.0 - least, "ok", heights[2]),
    ]
    lines[heights[0] - 1] = _dotted(lines[heights[0] - 1], latency)
    figures = (_latency(known, latency, frame.span_s), _depth(depth), _success(success))
    for number, (newest, *rest) in enumerate(figures):
        at = sum(heights[: number + 1]) - 1
        last = " ".join(rest) if aside else rest[-1]
        lines[at] = Line((*lines[at].spans, (f"  {newest}", "strong"), (f"  {last}", "muted")))
        if low > 1 and len(rest) > 1:
            lines[at - 1] = Line((*lines[at - 1].spans, (f"{'':11}{rest[0]}", "muted")))
    cells = len(depth.values)
    foot = axis(depth.begins, depth.step_s, cells)
    return [
        *lines,
        line(
            (fit(f"{even(frame.span_s)} [ ]", LABEL), "key"),
            (foot, "muted"),
            (_cell(depth), "muted"),
        ),
    ]


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """The canaries' latency, and the night strip where there is room for one."""
    known = frame.trends
    if known is None:
        return line(("nothing is known of the past yet", "muted"))
    newest, *rest = _latency(known, core.latency(known, DAY_S, 24), frame.span_s)
    figures = (newest.strip(), "strong"), (f"  {' '.join(rest)}", "muted")
    told: tuple[Span, ...] = (("latency ", "muted"), *figures)
    room = frame.folded - sum(len(text) for text, _ in told) - len("  24h  now")
    if room < LEAST_STRIP:
        return line(*told)
    return line(*told, ("  24h ", "muted"), *strip(known, room), (" now", "muted"))


def _chart(name: str, curve: Curve, low: float, high: float, style: str, rows: int) -> list[Line]:
    bars = spark(curve.values, low, high, rows)
    labels = [""] * (rows - 1) + [name]
    return [
        line((fit(label, LABEL), "muted"), (bar, style))
        for label, bar in zip(labels, bars, strict=True)
    ]


def _dotted(row: Line, curve: Curve) -> Line:
    """The lowest row of a chart, with a dot where there was no look between two that there were."""
    (label, bars), known = row.spans, [one is not None for one in curve.values]
    first = known.index(True) if any(known) else len(known)
    last = len(known) - known[::-1].index(True) if any(known) else 0
    text, style = bars
    spans = [label, (text[:first], style)]
    for has, cells in groupby(range(first, last), lambda at: known[at]):
        part = [*cells]
        spans.append((text[part[0] : part[-1] + 1], style) if has else ("·" * len(part), "muted"))
    return Line((*spans, (text[max(first, last) :], style)))


def _cell(curve: Curve) -> str:
    return f"  {even(curve.step_s)} a cell"


def _latency(known: Trends, curve: Curve, span_s: float) -> tuple[str, ...]:
    newest = "      ?" if curve.last is None else f"{curve.last:5.2f} s"
    spread = core.percentiles(known, span_s)
    if spread is None:
        return newest, "few canaries" if curve.last is not None else "no canary"
    half, most, over = spread
    return newest, f"p50 {half:.2f}", f"p95 {most:.2f} {even(over)}"


def _depth(curve: Curve) -> tuple[str, str]:
    if curve.last is None:
        return "      ?", ""
    return f"{curve.last:5.0f}  ", f"most {max(curve.known):.0f}"


def _success(curve: Curve) -> tuple[str, str]:
    if curve.last is None:
        return "      ?", "none ended"
    return f"{curve.last:5.1f} %", f"least {min(curve.known):.1f}"
