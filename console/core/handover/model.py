"""The records of a hand-over: claims with the lines of the ledger, or the looks, that bear them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from console.core.explain.death_chain import Step
from console.core.frozen import frozen
from console.core.handover.timeline import Line
from console.core.model import Moment, Severity, Verdict
from console.core.text.formatting import clock, day_clock, duration

HALF_A_YEAR_S = 180 * 86_400.0
"""Dates within it need no year."""


@frozen
class Claim:
    """Something that is said, and on what evidence."""

    text: str
    events: tuple[int, ...] = ()
    """Lines of the ledger."""
    looks: tuple[int, ...] = ()
    """Samples of the store."""


@frozen
class Job:
    """One background job."""

    name: str
    state: str
    every: str
    last: str
    next: str
    found: Claim


@frozen
class Metric:
    """One of the baseline's metrics."""

    name: str
    value: str
    target: str
    verdict: str
    n: int
    note: Claim


@frozen
class Finding:
    """Something that was wrong, or still is."""

    severity: Severity
    title: str
    claim: Claim
    stands: bool
    cure: str = ""


@frozen
class Condition:
    """A condition for calling it done; None: nobody can say yet."""

    met: bool | None
    claim: Claim


@frozen
class Handover:
    """The whole document."""

    host: str
    box: str
    at: Moment
    since: Moment
    verdict: Verdict
    summary: tuple[Claim, ...]
    jobs: tuple[Job, ...]
    workers: tuple[Claim, ...]
    causes: tuple[tuple[str, tuple[Step, ...]], ...]
    """(role, why it last died) of every role that died since."""
    watchdog: tuple[Claim, ...]
    pipeline: tuple[Claim, ...]
    queue: tuple[Claim, ...]
    baseline: tuple[Claim, ...]
    metrics: tuple[Metric, ...]
    findings: tuple[Finding, ...]
    conditions: tuple[Condition, ...]
    happened: tuple[Line, ...]
    next: tuple[Claim, ...]
    unknown: tuple[Claim, ...]


@frozen
class Times:
    """Times as they are read at `now`, on a clock in `zone` (the machine's own when None)."""

    now: Moment
    zone: tzinfo | None = None

    def at(self, moment: Moment | None) -> str:
        """`02:14:05`, with its date when that is not today's: `11-03 22:41:00`."""
        if moment is None:
            return "?"
        if self.day(moment) == self.day(self.now):
            return clock(moment, self.zone)
        whole = day_clock(moment, self.zone)
        return whole if self.now.since(moment) > HALF_A_YEAR_S else whole[5:]

    def ago(self, moment: Moment | None) -> str:
        """`02:14:05 (3m ago)`."""
        if moment is None:
            return "never"
        return f"{self.at(moment)} ({self.age(moment)} ago)"

    def age(self, moment: Moment) -> str:
        return duration(self.now.since(moment))

    def day(self, moment: Moment) -> str:
        """`2025-11-04`."""
        return datetime.fromtimestamp(moment.at, UTC).astimezone(self.zone).strftime("%Y-%m-%d")
