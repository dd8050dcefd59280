"""What the last day looked like: readings, verdicts and restarts, cut into cells of equal time.

Cells begin at multiples of their length, so that a graph that goes on moves seldom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from console.core.frozen import frozen
from console.core.metrics.statistics import increases, percentile
from console.core.model import Event, EventKind, Moment, Sample, Verdict
from console.core.supervision.restarts import restarts
from console.core.text.json_values import count, number

HOUR_S = 3600.0
SPANS = (HOUR_S, 6 * HOUR_S, 24 * HOUR_S)
"""What can be looked at, in seconds."""
DAY_S = SPANS[-1]
DRAWN = 4
"""Curves of a kind that are kept: each of them keeps the whole day that it was drawn from."""
FEW = 5
"""Of fewer canaries no percentile is said."""
_STEPS = (
    10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2400, 3600,
    7200, 10800, 14400, 21600, 43200, 86400,
)  # fmt: skip
"""Lengths that can be counted in."""
_WORST = (Verdict.DOWN, Verdict.DEGRADED)


@frozen
class Reading:
    """What one look tells the graphs; a look that tells nothing was a look all the same."""

    at: float
    depth: int | None = None
    latency: float | None = None
    done: tuple[int, int] | None = None
    """Counters of the tasks that succeeded and failed, since the server began."""


@frozen
class Trends:
    """A day until `ends`. Compared by what it is, not by what it holds: it is large."""

    ends: float
    readings: tuple[Reading, ...] = ()
    """Oldest first."""
    verdicts: tuple[tuple[float, str], ...] = ()
    """When the verdict became what, oldest first."""
    restarts: tuple[float, ...] = ()

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@frozen
class Curve:
    """A series in cells: None where nothing is known."""

    step_s: float
    begins: float
    values: tuple[float | None, ...]

    @property
    def known(self) -> tuple[float, ...]:
        return tuple(value for value in self.values if value is not None)

    @property
    def last(self) -> float | None:
        return self.known[-1] if self.known else None


@frozen
class Cell:
    """A few minutes of the night strip."""

    verdict: Verdict | None
    """The worst that was said within; None: before anything was known."""
    restarted: bool = False


# --- from the store's records ---------------------------------------------------------------


def reading(sample: Sample, now: Moment) -> Reading:
    """What a sample of any monitor tells, on the wall clock as it goes `now`."""
    at, data = sample.moment.read_at(now), sample.data
    if sample.error is not None:
        return Reading(at)
    if sample.monitor == "canary":
        return Reading(
            at, latency=number(data.get("latency_s")) if data.get("ok") is True else None
        )
    if sample.monitor != "queue":
        return Reading(at)
    good, bad = count(data.get("successful")), count(data.get("failed"))
    done = None if good is None or bad is None else (good, bad)
    return Reading(at, count(data.get("size")), done=done)


def trends(readings: Iterable[Reading], events: Iterable[Event], until: Moment) -> Trends:
    """Everything the graphs need of the day until then."""
    ends = until.at
    events = [event for event in events if event.moment.read_at(until) <= ends]
    told = (event for event in events if event.kind is EventKind.VERDICT_CHANGED)
    verdicts = tuple(
        (event.moment.read_at(until), str(event.data.get("verdict"))) for event in told
    )
    inside = tuple(one for one in readings if ends - DAY_S <= one.at <= ends)
    again = tuple(one.moment.read_at(until) for one in restarts(events))
    return Trends(ends, inside, verdicts, again)


def percentiles(trends: Trends, span_s: float) -> tuple[float, float, float] | None:
    """Median and 95th percentile of the canaries' latencies, nearest rank, and their span.

    Canaries are seldom: over the shortest span, `span_s` or more, in which there were `FEW`.
    """
    for span in (one for one in SPANS if one >= span_s):
        inside = [one for one in trends.readings if one.at > trends.ends - span]
        known = [one.latency for one in inside if one.latency is not None]
        half, most = percentile(known, 50), percentile(known, 95)
        if len(known) >= FEW and half is not None and most is not None:
            return half, most, span
    return None


# --- cells ----------------------------------------------------------------------------------


def step(span_s: float, width: int) -> float:
    """The shortest round time of which at most `width` make up the span."""
    return next((float(s) for s in _STEPS if span_s / s <= width), span_s)


def _grid(trends: Trends, span_s: float, width: int) -> tuple[float, float, int]:
    """Where the first cell begins, how long one is, how many there are."""
    length = step(span_s, max(1, width))
    cells = max(1, math.ceil(span_s / length))
    return (math.floor(trends.ends / length) + 1 - cells) * length, length, cells


def _sorted_in(readings: Sequence[Reading], grid: tuple[float, float, int]) -> list[list[Reading]]:
    begins, length, cells = grid
    held: list[list[Reading]] = [[] for _ in range(cells)]
    for one in readings:
        index = math.floor((one.at - begins) / length)
        if 0 <= index < cells:
            held[index].append(one)
    return held


@lru_cache(maxsize=DRAWN)
def latency(trends: Trends, span_s: float, width: int) -> Curve:
    """The slowest canary of each cell, in seconds."""
    grid = _grid(trends, span_s, width)
    held = _sorted_in(trends.readings, grid)
    worst = (max((r.latency for r in cell if r.latency is not None), default=None) for cell in held)
    return Curve(grid[1], grid[0], tuple(worst))


@lru_cache(maxsize=DRAWN)
def depth(trends: Trends, span_s: float, width: int) -> Curve:
    """The longest queue of each cell."""
    grid = _grid(trends, span_s, width)
    held = _sorted_in(trends.readings, grid)
    longest = (max((r.depth for r in cell if r.depth is not None), default=None) for cell in held)
    return Curve(grid[1], grid[0], tuple(longest))


@lru_cache(maxsize=DRAWN)
def success(trends: Trends, span_s: float, width: int) -> Curve:
    """Percent of the tasks that ended in each cell which succeeded; None where none ended."""
    grid = _grid(trends, span_s, width)
    begins, length, _ = grid
    told = [one for one in trends.readings if one.done is not None]
    before = [one for one in told if one.at < begins][-1:]
    held = _sorted_in(told, grid)
    values: list[float | None] = []
    for cell in held:
        good, bad = increases([one.done for one in (*before, *cell) if one.done]) or (0.0, 0.0)
        values.append(100.0 * good / (good + bad) if good + bad else None)
        before = cell[-1:] or before
    return Curve(length, begins, tuple(values))


@lru_cache(maxsize=DRAWN)
def night(trends: Trends, width: int) -> tuple[float, float, tuple[Cell, ...]]:
    """The day in at most `width` cells: when the first begins, how long one is, and the cells."""
    grid = begins, length, cells = _grid(trends, DAY_S, width)
    looked = [bool(cell) for cell in _sorted_in(trends.readings, grid)]
    found = []
    for index in range(cells):
        first = begins + index * length
        last = min(first + length, trends.ends)
        # The cell that has only begun may well come before the next look.
        seen = looked[index] or (index == cells - 1 and index > 0 and looked[index - 1])
        verdict = _verdict(trends, first, last) if seen else Verdict.UNKNOWN
        if not seen and not any(looked[:index]):
            verdict = None
        restarted = any(first <= at < first + length for at in trends.restarts)
        found.append(Cell(verdict, restarted))
    return begins, length, tuple(found)


def _verdict(trends: Trends, first: float, last: float) -> Verdict | None:
    """The worst within; unknown only where that was said for most of the time."""
    held: dict[Verdict, float] = {}
    told = [(at, word) for at, word in trends.verdicts if at <= last and word in set(Verdict)]
    for index, (at, word) in enumerate(told):
        ends = told[index + 1][0] if index + 1 < len(told) else last
        if (lasted := ends - max(at, first)) > 0:
            held[Verdict(word)] = held.get(Verdict(word), 0.0) + lasted
    bad = [verdict for verdict in _WORST if verdict in held]
    if bad:
        return bad[0]
    said = Verdict(told[-1][1]) if told else None
    return max(held, key=lambda verdict: held[verdict], default=said)
