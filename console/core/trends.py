"""Cuts the last day's samples, verdicts and restarts into cells of equal length, for the graphs.

Cells begin at multiples of their length, so that a running graph rarely shifts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from console.core.metrics.statistics import counter_increases, percentile
from console.core.model.events import Event, EventKind
from console.core.model.samples import Sample
from console.core.model.snapshot import Verdict
from console.core.model.time import Moment
from console.core.records import Record
from console.core.supervision.restarts import iter_restarts
from console.core.text.json_values import as_count, as_number

HOUR_S = 3600.0
SPANS_S = (HOUR_S, 6 * HOUR_S, 24 * HOUR_S)
"""The selectable time spans, in seconds."""
DAY_S = SPANS_S[-1]
CURVE_CACHE_SIZE = 4
"""Cached curves of each kind. Each one keeps its whole day of points in memory."""
MIN_LATENCIES = 5
"""Minimum number of canaries for a percentile."""
_CELL_LENGTHS_S = (
    10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2400, 3600,
    7200, 10800, 14400, 21600, 43200, 86400,
)  # fmt: skip
"""Round cell lengths, in seconds."""
_BAD_VERDICTS = (Verdict.DOWN, Verdict.DEGRADED)


class TrendPoint(Record, frozen=True):
    """The values of one sample for the graphs. Even without values it proves an observation."""

    at: float
    queue_size: int | None = None
    latency_s: float | None = None
    task_counters: tuple[int, int] | None = None
    """(Succeeded, failed) tasks, counted since the server started."""


class Trends(Record, frozen=True, eq=False):
    """The day until `ends_at`. Compared by identity, because it is large."""

    ends_at: float
    points: tuple[TrendPoint, ...] = ()
    """Oldest first."""
    verdict_changes: tuple[tuple[float, str], ...] = ()
    """(Time, new verdict), oldest first."""
    restart_times: tuple[float, ...] = ()


class Curve(Record, frozen=True):
    """A series of cell values; None where the value is unknown."""

    cell_length_s: float
    starts_at: float
    values: tuple[float | None, ...]

    @property
    def known_values(self) -> tuple[float, ...]:
        return tuple(value for value in self.values if value is not None)

    @property
    def last_known(self) -> float | None:
        return self.known_values[-1] if self.known_values else None


class StripCell(Record, frozen=True):
    """One cell of the verdict strip."""

    verdict: Verdict | None
    """The worst verdict within the cell; None before the first observation."""
    has_restart: bool = False


# --- points ---------------------------------------------------------------------------------


def to_trend_point(sample: Sample, now: Moment) -> TrendPoint:
    """Return the point of a sample of any monitor, its time by the wall clock as set at `now`."""
    at, data = sample.moment.unix_time_by(now), sample.data
    if sample.error is not None:
        return TrendPoint(at)
    if sample.monitor == "canary":
        return TrendPoint(
            at, latency_s=as_number(data.get("latency_s")) if data.get("ok") is True else None
        )
    if sample.monitor != "queue":
        return TrendPoint(at)
    succeeded, failed = as_count(data.get("successful")), as_count(data.get("failed"))
    task_counters = None if succeeded is None or failed is None else (succeeded, failed)
    return TrendPoint(at, as_count(data.get("size")), task_counters=task_counters)


def build_trends(points: Iterable[TrendPoint], events: Iterable[Event], until: Moment) -> Trends:
    """Return the data for the graphs of the day until `until`."""
    ends_at = until.at
    events = [event for event in events if event.moment.unix_time_by(until) <= ends_at]
    changes = (event for event in events if event.kind is EventKind.VERDICT_CHANGED)
    verdicts = tuple(
        (event.moment.unix_time_by(until), str(event.data.get("verdict"))) for event in changes
    )
    points_of_day = tuple(point for point in points if ends_at - DAY_S <= point.at <= ends_at)
    restart_times = tuple(event.moment.unix_time_by(until) for event in iter_restarts(events))
    return Trends(ends_at, points_of_day, verdicts, restart_times)


def compute_latency_percentiles(trends: Trends, span_s: float) -> tuple[float, float, float] | None:
    """Return (median, 95th percentile, span in seconds) of the canaries' latencies, or None.

    Percentiles are by nearest rank. Canaries are rare: the span is the shortest one of at least
    `span_s` with `MIN_LATENCIES` canaries.
    """
    for span in (item for item in SPANS_S if item >= span_s):
        points = [item for item in trends.points if item.at > trends.ends_at - span]
        latencies = [item.latency_s for item in points if item.latency_s is not None]
        median, p95 = percentile(latencies, 50), percentile(latencies, 95)
        if len(latencies) >= MIN_LATENCIES and median is not None and p95 is not None:
            return median, p95, span
    return None


# --- cells ----------------------------------------------------------------------------------


def choose_cell_length(span_s: float, max_cells: int) -> float:
    """Return the shortest round length of which at most `max_cells` make up `span_s`."""
    return next((float(s) for s in _CELL_LENGTHS_S if span_s / s <= max_cells), span_s)


def _cell_grid(trends: Trends, span_s: float, max_cells: int) -> tuple[float, float, int]:
    """Return (start of the first cell, cell length, number of cells)."""
    length = choose_cell_length(span_s, max(1, max_cells))
    cells = max(1, math.ceil(span_s / length))
    return (math.floor(trends.ends_at / length) + 1 - cells) * length, length, cells


def _group_by_cell(
    points: Sequence[TrendPoint], grid: tuple[float, float, int]
) -> list[list[TrendPoint]]:
    starts_at, length, cells = grid
    points_by_cell: list[list[TrendPoint]] = [[] for _ in range(cells)]
    for point in points:
        index = math.floor((point.at - starts_at) / length)
        if 0 <= index < cells:
            points_by_cell[index].append(point)
    return points_by_cell


@lru_cache(maxsize=CURVE_CACHE_SIZE)
def latency_curve(trends: Trends, span_s: float, max_cells: int) -> Curve:
    """Return the latency of the slowest canary in each cell, in seconds."""
    return _curve_of_maxima(trends, span_s, max_cells, lambda point: point.latency_s)


@lru_cache(maxsize=CURVE_CACHE_SIZE)
def queue_size_curve(trends: Trends, span_s: float, max_cells: int) -> Curve:
    """Return the longest queue size in each cell."""
    return _curve_of_maxima(trends, span_s, max_cells, lambda point: point.queue_size)


def _curve_of_maxima(
    trends: Trends,
    span_s: float,
    max_cells: int,
    value_of: Callable[[TrendPoint], float | None],
) -> Curve:
    """Return the largest value in each cell; None where no point has one."""
    grid = _cell_grid(trends, span_s, max_cells)
    cells = _group_by_cell(trends.points, grid)
    values = ([value for point in cell if (value := value_of(point)) is not None] for cell in cells)
    return Curve(grid[1], grid[0], tuple(max(found, default=None) for found in values))


@lru_cache(maxsize=CURVE_CACHE_SIZE)
def success_rate_curve(trends: Trends, span_s: float, max_cells: int) -> Curve:
    """Return the percentage of successful tasks in each cell; None where no task ended."""
    grid = _cell_grid(trends, span_s, max_cells)
    starts_at, length, _ = grid
    counted = [point for point in trends.points if point.task_counters is not None]
    before = [point for point in counted if point.at < starts_at][-1:]
    points_by_cell = _group_by_cell(counted, grid)
    values: list[float | None] = []
    for cell in points_by_cell:
        succeeded, failed = counter_increases(
            [point.task_counters for point in (*before, *cell) if point.task_counters]
        ) or (0.0, 0.0)
        values.append(100.0 * succeeded / (succeeded + failed) if succeeded + failed else None)
        before = cell[-1:] or before
    return Curve(length, starts_at, tuple(values))


@lru_cache(maxsize=CURVE_CACHE_SIZE)
def verdict_strip(trends: Trends, max_cells: int) -> tuple[float, float, tuple[StripCell, ...]]:
    """Return the day as (start of the first cell, cell length, at most `max_cells` cells)."""
    grid = starts_at, length, cells = _cell_grid(trends, DAY_S, max_cells)
    has_points = [bool(cell) for cell in _group_by_cell(trends.points, grid)]
    strip = []
    for index in range(cells):
        cell_start = starts_at + index * length
        cell_end = min(cell_start + length, trends.ends_at)
        # The newest cell may be too young to have a sample: it counts if the cell before has one.
        is_observed = has_points[index] or (
            index == cells - 1 and index > 0 and has_points[index - 1]
        )
        verdict = _worst_verdict(trends, cell_start, cell_end) if is_observed else Verdict.UNKNOWN
        if not is_observed and not any(has_points[:index]):
            verdict = None
        has_restart = any(cell_start <= at < cell_start + length for at in trends.restart_times)
        strip.append(StripCell(verdict, has_restart))
    return starts_at, length, tuple(strip)


def _worst_verdict(trends: Trends, starts_at: float, ends_at: float) -> Verdict | None:
    """Return the worst verdict between the times; None if none was recorded by then.

    `down` and `degraded` count however short they were. `unknown` counts only if it lasted longest.
    """
    seconds_by_verdict: dict[Verdict, float] = {}
    changes = [
        (at, verdict_name)
        for at, verdict_name in trends.verdict_changes
        if at <= ends_at and verdict_name in set(Verdict)
    ]
    for index, (at, verdict_name) in enumerate(changes):
        until = changes[index + 1][0] if index + 1 < len(changes) else ends_at
        if (duration_s := until - max(at, starts_at)) > 0:
            seconds_by_verdict[Verdict(verdict_name)] = (
                seconds_by_verdict.get(Verdict(verdict_name), 0.0) + duration_s
            )
    bad_verdicts = [verdict for verdict in _BAD_VERDICTS if verdict in seconds_by_verdict]
    if bad_verdicts:
        return bad_verdicts[0]
    last_verdict = Verdict(changes[-1][1]) if changes else None
    return max(
        seconds_by_verdict, key=lambda verdict: seconds_by_verdict[verdict], default=last_verdict
    )
