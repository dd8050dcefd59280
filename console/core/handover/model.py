"""Data classes of a hand-over: claims, with the events and samples that prove them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from console.core.explain.death_chain import ExplanationStep
from console.core.handover.timeline import TimelineEntry
from console.core.model.snapshot import Verdict
from console.core.model.time import Moment
from console.core.model.views import Severity
from console.core.records import Record
from console.core.text.formatting import format_clock, format_date_time, format_duration

OMIT_YEAR_WITHIN_S = 180 * 86_400.0
"""Times at most this much older than now are shown without the year."""


class Claim(Record, frozen=True):
    """A statement with its evidence."""

    text: str
    event_ids: tuple[int, ...] = ()
    """Ids of events in the event log."""
    sample_ids: tuple[int, ...] = ()
    """Ids of samples in the store."""


class BackgroundJob(Record, frozen=True):
    """One background job: the daemon or a monitor."""

    name: str
    state: str
    interval: str
    last_run: str
    next_run: str
    result: Claim


class BaselineMetric(Record, frozen=True):
    """One metric of the baseline."""

    name: str
    value: str
    target: str
    verdict: str
    n: int
    note: Claim


class HandoverFinding(Record, frozen=True):
    """A problem, open or resolved."""

    severity: Severity
    title: str
    claim: Claim
    is_open: bool
    remedy: str = ""


class Condition(Record, frozen=True):
    """A condition for completion. `met` is None while it is unknown."""

    met: bool | None
    claim: Claim


class Handover(Record, frozen=True):
    """The whole hand-over document."""

    host: str
    box: str
    at: Moment
    since: Moment
    verdict: Verdict
    summary: tuple[Claim, ...]
    jobs: tuple[BackgroundJob, ...]
    workers: tuple[Claim, ...]
    death_chains: tuple[tuple[str, tuple[ExplanationStep, ...]], ...]
    """(role, explanation of its last death) for each role that died after `since`."""
    watchdog: tuple[Claim, ...]
    pipeline: tuple[Claim, ...]
    queue: tuple[Claim, ...]
    baseline: tuple[Claim, ...]
    metrics: tuple[BaselineMetric, ...]
    findings: tuple[HandoverFinding, ...]
    conditions: tuple[Condition, ...]
    timeline: tuple[TimelineEntry, ...]
    upcoming: tuple[Claim, ...]
    unknown: tuple[Claim, ...]


class TimeFormatter(Record, frozen=True):
    """Formats times relative to `now`, in `zone` (the machine's own if None)."""

    now: Moment
    zone: tzinfo | None = None

    def format_time(self, moment: Moment | None) -> str:
        """Return `02:14:05`, with the date if it is not today's: `11-03 22:41:00`; `?` for None."""
        if moment is None:
            return "?"
        if self.format_date(moment) == self.format_date(self.now):
            return format_clock(moment, self.zone)
        date_time = format_date_time(moment, self.zone)
        return date_time if self.now.since(moment) > OMIT_YEAR_WITHIN_S else date_time[5:]

    def format_time_with_age(self, moment: Moment | None) -> str:
        """Return `02:14:05 (3m ago)`; `never` for None."""
        if moment is None:
            return "never"
        return f"{self.format_time(moment)} ({self.format_age(moment)} ago)"

    def format_age(self, moment: Moment) -> str:
        return format_duration(self.now.since(moment))

    def format_date(self, moment: Moment) -> str:
        """Return the local date: `2025-11-04`."""
        return datetime.fromtimestamp(moment.at, UTC).astimezone(self.zone).strftime("%Y-%m-%d")
