"""The trends of the 24 hours before `NOW`, from which the graphs of the night are drawn."""

from __future__ import annotations

import math
from functools import cache

from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.records import replace
from console.core.trends import DAY_S, TrendPoint, Trends
from screenshots.generator.fixture_night import NOW, healthy_snapshot, moment_ago

SAMPLE_INTERVAL_S, CANARY_INTERVAL_S = 60.0, 1800.0
CURRENT_QUEUE_SIZE = healthy_snapshot().queue.size
_VERDICT_CHANGES = (
    (DAY_S, Verdict.HEALTHY),
    (61_200.0, Verdict.DEGRADED),
    (58_300.0, Verdict.HEALTHY),
    (24_500.0, Verdict.UNKNOWN),
    (19_100.0, Verdict.HEALTHY),
    (11_243.0, Verdict.DOWN),
    (11_229.0, Verdict.HEALTHY),
)
"""(seconds before `NOW`, new verdict)."""
UNOBSERVED_GAP_S = (24_500.0, 19_200.0)
"""No samples between these ages in seconds: the daemon was not running."""


@cache
def build_day_trends() -> Trends:
    """Return the trends of the whole day.

    The day has busy hours, a rush that degrades the verdict, a gap without samples, and a death
    with its restart.
    """
    points, succeeded, failed = [], 0, 0
    for number in range(int(DAY_S / SAMPLE_INTERVAL_S)):
        age = DAY_S - number * SAMPLE_INTERVAL_S
        if UNOBSERVED_GAP_S[1] < age < UNOBSERVED_GAP_S[0]:
            continue
        rush = math.exp(-(((age - 60_000.0) / 2400.0) ** 2))
        busy = 0.5 + 0.5 * math.sin(number / 96.0) + 0.3 * math.sin(number / 7.0)
        depth = (
            max(0, round(2.5 * busy + 14 * rush)) if age > SAMPLE_INTERVAL_S else CURRENT_QUEUE_SIZE
        )
        succeeded += 1 + number % 2
        failed += 1 if number % 61 == 7 or (rush > 0.6 and number % 6 == 0) else 0
        at = moment_ago(age).at
        points.append(TrendPoint(at, depth, task_counters=(succeeded, failed)))
        if number % int(CANARY_INTERVAL_S / SAMPLE_INTERVAL_S) == 12:
            slow = 0.7 + 0.25 * busy + 2.6 * rush + 0.2 * math.sin(number)
            points.append(TrendPoint(at, latency_s=round(abs(slow), 2)))
    verdicts = tuple((moment_ago(age).at, verdict.value) for age, verdict in _VERDICT_CHANGES)
    return Trends(NOW.at, tuple(points), verdicts, (moment_ago(11_237.0).at,))


def trends_for_snapshot(snapshot: Snapshot) -> Trends:
    """Return the trends until the moment of a snapshot, with the verdict of the snapshot added."""
    trends, changed_at = trends_until(snapshot.moment), snapshot.since or snapshot.moment
    return replace(
        trends, verdict_changes=(*trends.verdict_changes, (changed_at.at, snapshot.verdict.value))
    )


def trends_until(moment: Moment) -> Trends:
    """Return the trends of the day until a moment."""
    day, ends_at = build_day_trends(), moment.at
    return Trends(
        ends_at,
        tuple(point for point in day.points if point.at <= ends_at),
        tuple(change for change in day.verdict_changes if change[0] <= ends_at),
        tuple(at for at in day.restart_times if at <= ends_at),
    )
