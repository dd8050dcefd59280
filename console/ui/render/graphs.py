"""Graphs in cells: sparklines, meters, the night strip. Height is shape: colour is not needed."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.model import MetricView, Moment, Verdict
from console.core.text.formatting import clock
from console.core.trends import Cell, Trends, night
from console.ui.render.styled_lines import Span

BLOCKS = "▁▂▃▄▅▆▇█"
RESTART = "R"
MARK = len("╵02:14")
ENDS = 12
"""Cells that the strip's two ends take."""
_STRIP = {
    None: (" ", ""),
    Verdict.HEALTHY: ("▁", "ok"),
    Verdict.DEGRADED: ("▅", "warn"),
    Verdict.DOWN: ("█", "bad"),
    Verdict.UNKNOWN: ("·", "unknown"),
}
LEGEND = "▁ healthy  ▅ degraded  █ down  · unknown  R restarted"


def spark(values: Sequence[float | None], low: float, high: float, rows: int = 1) -> list[str]:
    """Bars from `low` to `high`, the topmost row first; a cell of which nothing is known is bare.

    What is known is never invisible, and no bar touches the row above: the lowest is one step
    high, the highest one step short.
    """
    steps = rows * len(BLOCKS) - 1
    scale = (steps - 1) / (high - low) if high > low else 0.0
    heights = [
        None if one is None else 1 + round((min(max(one, low), high) - low) * scale)
        for one in values
    ]
    lines = []
    for row in range(rows - 1, -1, -1):
        parts = (0 if one is None else one - row * len(BLOCKS) for one in heights)
        lines.append("".join(_block(part) for part in parts))
    return lines


def _block(part: int) -> str:
    return " " if part <= 0 else BLOCKS[min(part, len(BLOCKS)) - 1]


def strip(trends: Trends, width: int) -> list[Span]:
    """The last day at a glance, in at most `width` cells."""
    spans: list[Span] = []
    for cell in night(trends, width)[2]:
        text, style = _shape(cell)
        if spans and spans[-1][1] == style:
            spans[-1] = (spans[-1][0] + text, style)
        else:
            spans.append((text, style))
    return spans


def _shape(cell: Cell) -> Span:
    shape, style = _STRIP[cell.verdict]
    if not cell.restarted:
        return shape, style
    return RESTART, "accent" if cell.verdict is Verdict.HEALTHY else style


def strip_line(trends: Trends, width: int) -> list[Span]:
    """The strip between its ends, and what one cell is."""
    room = max(1, width - ENDS)
    begins, length, cells = night(trends, room)
    first = clock(Moment(begins))[:5]
    unit = f"  {even(length)} a cell"
    return [
        (f" {first} ", "muted"),
        *strip(trends, room),
        (" now", "muted"),
        (unit if width - len(cells) - ENDS >= len(unit) else "", "muted"),
    ]


def even(seconds: float) -> str:
    """A round length of time: `24h`, `15m`, `90s`."""
    seconds = round(seconds)  # two moments apart are never quite as far as that
    for unit, name in ((3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f}{name}"
    return f"{seconds:.0f}s"


def axis(begins: float, step_s: float, cells: int) -> str:
    """The time under a graph's cells; none of which only a part would fit."""
    marks = range(0, max(1, cells - MARK + 1), 10)
    text = "".join(f"{'╵' + clock(Moment(begins + at * step_s))[:5]:<10}" for at in marks)
    return f"{text[:cells]:<{cells}}" if cells >= MARK else " " * cells


def meter(metric: MetricView, width: int) -> list[Span]:
    """A metric's value on a scale with its target marked; nothing where it has no number."""
    sense, _, figure = metric.target.partition(" ")
    try:
        target = float(figure)
    except ValueError:
        return [("─" * width, "muted")]
    low, high = _scale(sense, target)
    at = min(width - 1, round((target - low) / (high - low) * (width - 1)))
    value = low if metric.value is None else min(max(metric.value, low), high)
    full = 0 if metric.value is None else round((value - low) / (high - low) * width)
    style = {"pass": "ok", "fail": "bad"}.get(metric.verdict, "accent")
    spans: list[Span] = []
    for x in range(width):
        spans.append(("┃", "strong") if x == at else ("━", style) if x < full else ("─", "muted"))
    return spans


def _scale(sense: str, target: float) -> tuple[float, float]:
    """Near the target: what must be above it ends at 100 %, what must be below at twice as much."""
    if sense.startswith(">"):
        return max(0.0, min(90.0, 2 * target - 100.0)), 100.0
    return 0.0, max(2 * target, 1.0)
