"""Latency, depth and success of the last hours, for people who look rather than read."""

from __future__ import annotations

from console.core import trends as core
from console.core.model import Snapshot
from console.core.trends import Curve, Trends
from console.ui.graph import LEGEND, axis, even, spark, strip
from console.ui.paint import Frame, Line, fit, line

TITLE = "Trends"
KEY = "7"
SLOT = "left"
ROWS = (3, 4)
HELP = (
    "Latency of the canaries, waiting tasks and success rate; a cell shows its worst, a bare one "
    "that nothing is known. [ and ] change the span: 1 h, 6 h, 24 h. The strip under the verdict, "
    f"and this pane when folded, is the last day: {LEGEND}."
)
LABEL, FIGURES = 9, 27


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """Three curves over one axis, as high as there is room."""
    known = frame.trends
    if known is None:
        return [line(("nothing is known of the past yet", "muted"))]
    width = max(4, frame.width - LABEL - FIGURES)
    rows = max(1, min(4, (frame.height - 1) // 3))
    curves = [draw(known, frame.span_s, width) for draw in (core.latency, core.depth, core.success)]
    latency, depth, success = curves
    least = min(90.0, *success.known, 90.0)
    lines = [
        *_chart("latency", latency, 0.0, max(latency.known, default=0), "accent", rows),
        *_chart("waiting", depth, 0.0, max(4.0, *depth.known, 0.0), "accent", rows),
        # What is well fills half of its row: the calmest curve must not be the loudest.
        *_chart("success", success, least, 200.0 - least, "ok", rows),
    ]
    figures = (_latency(known, latency, frame.span_s), _depth(depth), _success(success))
    for number, text in enumerate(figures):
        at = number * rows + rows - 1
        lines[at] = Line((*lines[at].spans, (f"  {text}", "")))
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
    """The night strip."""
    if frame.trends is None:
        return line(("nothing is known of the past yet", "muted"))
    return line(
        ("24h ", "muted"), *strip(frame.trends, max(4, frame.width - 20)), (" now", "muted")
    )


def _chart(name: str, curve: Curve, low: float, high: float, style: str, rows: int) -> list[Line]:
    bars = spark(curve.values, low, high, rows)
    labels = [""] * (rows - 1) + [name]
    return [
        line((fit(label, LABEL), "muted"), (bar, style))
        for label, bar in zip(labels, bars, strict=True)
    ]


def _cell(curve: Curve) -> str:
    return f"  a cell is {even(curve.step_s)}"


def _latency(known: Trends, curve: Curve, span_s: float) -> str:
    half, most = core.percentiles(known, span_s)
    if curve.last is None or half is None or most is None:
        return "no canary in this time"
    return f"{curve.last:5.2f} s  p50 {half:.2f} p95 {most:.2f}"


def _depth(curve: Curve) -> str:
    return "?" if curve.last is None else f"{curve.last:5.0f}    most {max(curve.known):.0f}"


def _success(curve: Curve) -> str:
    if curve.last is None:
        return "no task has ended"
    return f"{curve.last:5.1f} %  least {min(curve.known):.1f}"
