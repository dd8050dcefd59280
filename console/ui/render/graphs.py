"""Graphs in terminal cells: sparklines, meters and verdict strips, readable without colour."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.model.snapshot import Verdict
from console.core.model.time import Moment
from console.core.model.views import MetricView
from console.core.text.formatting import format_clock
from console.core.trends import StripCell, Trends, verdict_strip
from console.ui.render.styled_lines import Span

BLOCKS = "▁▂▃▄▅▆▇█"
RESTART_MARK = "R"
TIME_MARK_CELLS = len("╵02:14")
STRIP_ENDS_CELLS = 12
"""Cells that the labels at both ends of a verdict strip take."""
_VERDICT_SHAPES = {
    None: (" ", ""),
    Verdict.HEALTHY: ("▁", "ok"),
    Verdict.DEGRADED: ("▅", "warn"),
    Verdict.DOWN: ("█", "bad"),
    Verdict.UNKNOWN: ("·", "unknown"),
}
LEGEND = "▁ healthy  ▅ degraded  █ down  · unknown  R restarted"


def draw_sparkline(
    values: Sequence[float | None], low: float, high: float, rows: int = 1
) -> list[str]:
    """Return the rows of a bar chart with a scale from `low` to `high`, the topmost row first.

    A cell whose value is None is blank. The lowest bar is one step high, so that every known value
    is visible; the highest is one step short of full height, so that no bar touches the row above.
    """
    steps = rows * len(BLOCKS) - 1
    scale = (steps - 1) / (high - low) if high > low else 0.0
    heights = [
        None if value is None else 1 + round((min(max(value, low), high) - low) * scale)
        for value in values
    ]
    lines = []
    for row in range(rows - 1, -1, -1):
        steps_in_row = (0 if value is None else value - row * len(BLOCKS) for value in heights)
        lines.append("".join(_block_char(eighths) for eighths in steps_in_row))
    return lines


def _block_char(eighths: int) -> str:
    return " " if eighths <= 0 else BLOCKS[min(eighths, len(BLOCKS)) - 1]


def draw_verdict_strip(trends: Trends, width: int) -> list[Span]:
    """Return the verdicts and restarts of the last day in at most `width` cells."""
    spans: list[Span] = []
    for cell in verdict_strip(trends, width)[2]:
        text, style = _strip_cell(cell)
        if spans and spans[-1][1] == style:
            spans[-1] = (spans[-1][0] + text, style)
        else:
            spans.append((text, style))
    return spans


def _strip_cell(cell: StripCell) -> Span:
    shape, style = _VERDICT_SHAPES[cell.verdict]
    if not cell.has_restart:
        return shape, style
    return RESTART_MARK, "accent" if cell.verdict is Verdict.HEALTHY else style


def draw_verdict_strip_line(trends: Trends, width: int) -> list[Span]:
    """Return the verdict strip between its start and end times, and the cell length if it fits."""
    room = max(1, width - STRIP_ENDS_CELLS)
    starts_at, cell_length_s, cells = verdict_strip(trends, room)
    start_text = format_clock(Moment(starts_at))[:5]
    unit = f"  {format_round_duration(cell_length_s)} a cell"
    return [
        (f" {start_text} ", "muted"),
        *draw_verdict_strip(trends, room),
        (" now", "muted"),
        (unit if width - len(cells) - STRIP_ENDS_CELLS >= len(unit) else "", "muted"),
    ]


def format_round_duration(seconds: float) -> str:
    """Return a duration in the largest unit that divides it: `24h`, `15m`, `90s`."""
    seconds = round(seconds)  # the difference of two clock readings is rarely a whole number
    for unit, name in ((3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f}{name}"
    return f"{seconds:.0f}s"


def draw_time_axis(start: float, step_s: float, cells: int) -> str:
    """Return the time axis of a graph of `cells` cells; a label that does not fit is omitted."""
    marks = range(0, max(1, cells - TIME_MARK_CELLS + 1), 10)
    text = "".join(f"{'╵' + format_clock(Moment(start + cell * step_s))[:5]:<10}" for cell in marks)
    return f"{text[:cells]:<{cells}}" if cells >= TIME_MARK_CELLS else " " * cells


def draw_meter(metric: MetricView, width: int) -> list[Span]:
    """Return a bar of `width` cells with the metric's value and a mark at its target.

    The bar is empty if the target is not a number.
    """
    comparison, _, figure = metric.target.partition(" ")
    try:
        target = float(figure)
    except ValueError:
        return [("─" * width, "muted")]
    low, high = _meter_range(comparison, target)
    mark_x = min(width - 1, round((target - low) / (high - low) * (width - 1)))
    value = low if metric.value is None else min(max(metric.value, low), high)
    full = 0 if metric.value is None else round((value - low) / (high - low) * width)
    style = {"pass": "ok", "fail": "bad"}.get(metric.verdict, "accent")
    spans: list[Span] = []
    for x in range(width):
        spans.append(
            ("┃", "strong") if x == mark_x else ("━", style) if x < full else ("─", "muted")
        )
    return spans


def _meter_range(comparison: str, target: float) -> tuple[float, float]:
    """Return the scale of a meter, as (low, high), with the target inside it.

    The scale of a minimum ends at 100 %, that of a maximum at twice the target.
    """
    if comparison.startswith(">"):
        return max(0.0, min(90.0, 2 * target - 100.0)), 100.0
    return 0.0, max(2 * target, 1.0)
