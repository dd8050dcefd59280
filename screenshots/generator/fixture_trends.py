"""The day before the scripted night's now: what its graphs are drawn from."""

from __future__ import annotations

import math
from functools import cache

from console.core.frozen import replace
from console.core.model import Moment, Snapshot, Verdict
from console.core.trends import DAY_S, Reading, Trends
from screenshots.generator.fixture_night import NOW, night, past

LOOK_S, CANARY_S = 60.0, 1800.0
NEWEST = night().queue.size
_TROUBLE = (
    (DAY_S, Verdict.HEALTHY),
    (61_200.0, Verdict.DEGRADED),
    (58_300.0, Verdict.HEALTHY),
    (24_500.0, Verdict.UNKNOWN),
    (19_100.0, Verdict.HEALTHY),
    (11_243.0, Verdict.DOWN),
    (11_229.0, Verdict.HEALTHY),
)
"""Seconds ago, and what the verdict became."""
BLIND = (24_500.0, 19_200.0)
"""Nobody looked between these: the daemon was not running."""


@cache
def day() -> Trends:
    """Busy hours, a rush that made it degrade, a blind stretch, a death and its repair."""
    readings, good, bad = [], 0, 0
    for number in range(int(DAY_S / LOOK_S)):
        age = DAY_S - number * LOOK_S
        if BLIND[1] < age < BLIND[0]:
            continue
        rush = math.exp(-(((age - 60_000.0) / 2400.0) ** 2))
        busy = 0.5 + 0.5 * math.sin(number / 96.0) + 0.3 * math.sin(number / 7.0)
        depth = max(0, round(2.5 * busy + 14 * rush)) if age > LOOK_S else NEWEST
        good += 1 + number % 2
        bad += 1 if number % 61 == 7 or (rush > 0.6 and number % 6 == 0) else 0
        at = past(age).at
        readings.append(Reading(at, depth, done=(good, bad)))
        if number % int(CANARY_S / LOOK_S) == 12:
            slow = 0.7 + 0.25 * busy + 2.6 * rush + 0.2 * math.sin(number)
            readings.append(Reading(at, latency=round(abs(slow), 2)))
    verdicts = tuple((past(age).at, verdict.value) for age, verdict in _TROUBLE)
    return Trends(NOW.at, tuple(readings), verdicts, (past(11_237.0).at,))


def told(snapshot: Snapshot) -> Trends:
    """The same day as far as a snapshot's moment, and what that says."""
    known, now = until(snapshot.moment), snapshot.since or snapshot.moment
    return replace(known, verdicts=(*known.verdicts, (now.at, snapshot.verdict.value)))


def until(moment: Moment) -> Trends:
    """The same day, as far as it was known at a moment."""
    whole, ends = day(), moment.at
    return Trends(
        ends,
        tuple(one for one in whole.readings if one.at <= ends),
        tuple(one for one in whole.verdicts if one[0] <= ends),
        tuple(at for at in whole.restarts if at <= ends),
    )
