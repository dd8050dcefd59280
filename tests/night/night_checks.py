"""Checks a night at its end: one worker, no lost row, an explanation of every minute."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from night_faults import Fault
from night_observers import Row, Store
from night_site import DEADLINE_S, INTERVALS_S, DaemonRun, Site, Start

from console.core.model.events import EventKind

MINUTE_S = 60.0
MAX_DELAY_S = 3.0
"""Longest delay of a sample on a machine with other load."""
NOTICE_TIMEOUT_S = 10.0
"""A daemon that runs for this time after a fault has detected it."""
COMMIT_DELAY_S = 1.0
"""Longest time from a death to its event's commit, while the state directory exists."""
RESTART_TIMEOUT_S = 60.0
"""Longest time from a worker's death to the next start, while a daemon runs."""
Span = tuple[float, float]


def max_gap_s(monitor: str) -> float:
    """Return the longest time without a sample that needs no explanation."""
    return 2 * INTERVALS_S[monitor] + MAX_DELAY_S + (DEADLINE_S if monitor == "canary" else 0.0)


@dataclass
class Night:
    """All data about a night, and the checks of it."""

    began: float
    ended: float
    site: Site
    stores: list[Store]
    daemon_runs: list[DaemonRun]
    faults: list[Fault]
    starts: list[Start]
    living_pids: list[int]
    report: dict[str, Any]
    reasons: list[str] = field(default_factory=list)
    """Why the night is no proof; empty if it is one."""

    @property
    def samples(self) -> list[Row]:
        """Return the samples of all stores in the order of time."""
        return sorted((r for s in self.stores for r in s.samples.values()), key=lambda r: r[3])

    @property
    def events(self) -> list[Row]:
        """Return the events of all stores in the order of time."""
        return sorted((r for s in self.stores for r in s.events.values()), key=lambda r: r[3])

    def faults_of(self, *kinds: str) -> list[Fault]:
        """Return the faults whose kind begins with one of `kinds`."""
        return [fault for fault in self.faults if fault.kind.startswith(kinds)]

    # --- one worker ------------------------------------------------------------------------

    def check_workers(self, most_workers: int, most_daemons: int) -> None:
        """Check that one worker runs at the end, and that two never ran at once."""
        if len(self.living_pids) != 1:
            self.reasons.append(
                f"at the end {len(self.living_pids)} workers run: {self.living_pids}"
            )
        elif self.starts[-1].pid != self.living_pids[0]:
            self.reasons.append(
                f"the worker that runs, PID {self.living_pids[0]}, did not start last"
            )
        for start in self.starts:
            if not start.was_alone:
                self.reasons.append(f"worker PID {start.pid} started while another one lived")
        if most_workers != 1:
            self.reasons.append(f"{most_workers} workers were seen at once")
        if most_daemons > 1:
            self.reasons.append(f"{most_daemons} daemons were seen at once")
        for before, after in pairwise(self.starts):
            if int(after.token) <= int(before.token) and not self._is_token_lost(before, after):
                self.reasons.append(f"token {after.token} was granted after {before.token}")

    def _is_token_lost(self, before: Start, after: Start) -> bool:
        """Return True if the state was lost between two starts and the first worker not adopted."""
        removals = [
            fault
            for fault in self.faults_of("state")
            if before.at < fault.ended_at < after.at + MAX_DELAY_S
        ]
        name = f"{before.pid}:{before.ticks}"
        adopted = [
            row for row in self.events
            if row[1] == EventKind.ADOPTED and row[8].rpartition(":")[0] == name
        ]  # fmt: skip
        return bool(removals) and not adopted

    # --- nothing lost ----------------------------------------------------------------------

    def check_stores(self) -> None:
        """Check that no committed row is missing, except in stores that the operator deleted."""
        for number, store in enumerate(self.stores, 1):
            if store.missing:
                self.reasons.append(f"store {number}: {len(store.missing)} rows are lost")
            if store.damage:
                self.reasons.append(f"store {number}: {store.damage}")
        damaged = [*self.site.directory.rglob("store.damaged*")]
        if damaged:
            self.reasons.append(f"stores were moved damaged as damaged: {damaged}")

    # --- every minute explained ------------------------------------------------------------

    def unwatched_spans(self) -> list[tuple[Span, int]]:
        """Return the spans that the ledger shows as unwatched, with the daemon start after each."""
        sample_times = [row[3] for row in self.samples]
        spans = []
        for row in self.events:
            if row[1] == EventKind.DAEMON_STARTED and row[3] > self.began:
                before = max((at for at in sample_times if at < row[3]), default=self.began)
                spans.append(((before, row[3]), row[0]))
        return spans

    def outages(self) -> list[Span]:
        """Return the spans without a daemon or without its state, from the night's own record."""
        starts = [row[3] for row in self.events if row[1] == EventKind.DAEMON_STARTED]
        spans = [(before.ended, after.began) for before, after in pairwise(self.daemon_runs)]
        for begins in [
            *(daemon_run.began for daemon_run in self.daemon_runs),
            *(fault.at for fault in self.faults_of("state")),
        ]:
            spans.append((begins, min((at for at in starts if at > begins), default=begins)))
        return merge(spans)

    def check_minutes(self) -> tuple[int, int, int, float]:
        """Return the watched, explained and unexplained minutes, and the unwatched seconds."""
        unwatched_spans, outages = self.unwatched_spans(), self.outages()
        for span, _ in unwatched_spans:
            rest = length(span) - sum(overlap(span, outage) for outage in outages)
            if rest > min(map(max_gap_s, INTERVALS_S)):
                self.reasons.append(
                    f"{self.format_span(span)}: unwatched {length(span):.1f} s, and no daemon ran "
                    f"or its state was lost for {length(span) - rest:.1f} s only"
                )
        spans = merge([span for span, _ in unwatched_spans])
        gaps = [gap for name in INTERVALS_S for gap in self._gaps(name, spans)]
        for name, gap in gaps:
            self.reasons.append(
                f"{self.format_span(gap)}: {name} has no sample for {length(gap):.1f} s"
            )
        watched = explained = unexplained = 0
        at = self.began
        while at + MINUTE_S <= self.ended:
            minute = (at, at + MINUTE_S)
            if any(overlap(minute, gap) for _, gap in gaps):
                unexplained += 1
            elif any(overlap(minute, span) for span in spans):
                explained += 1
            else:
                watched += 1
            at += MINUTE_S
        return watched, explained, unexplained, sum(map(length, spans))

    def _gaps(self, name: str, spans: Sequence[Span]) -> Iterator[tuple[str, Span]]:
        """Yield a monitor's gaps that are too long and that the ledger does not explain."""
        sample_times = [row[3] for row in self.samples if row[1] == name]
        sample_times = [at for at in sample_times if self.began < at < self.ended]
        for begins, ends in pairwise([self.began, *sample_times, self.ended]):
            for piece in subtract((begins, ends), spans):
                if length(piece) > max_gap_s(name):
                    yield name, piece

    def check_report(self) -> int:
        """Check that the report cites each end of a daemon as unknown time. Return their number."""
        current = [*self.stores[-1].events.values()]
        kinds = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
        begun = [row for row in current if row[1] in kinds]
        wanted = {row[0] for row in begun[1:] if row[1] == EventKind.DAEMON_STARTED}
        cited = {event_id for claim in self.report["unknown"] for event_id in claim["events"]}
        for missing in sorted(wanted - cited):
            self.reasons.append(f"the report does not cite #{missing} as the end of unknown time")
        return len(wanted & cited)

    # --- single faults ---------------------------------------------------------------------

    def check_deaths(self) -> tuple[int, int]:
        """Count the deaths of workers in a ledger, and those without a state directory."""
        recorded_deaths = {
            row[8].rpartition(":")[0] for row in self.events if row[1] == EventKind.DIED
        }
        killed = {fault.pid: fault.at for fault in self.faults_of("worker killed")}
        recorded = unrecordable = 0
        for start in self.starts:
            if start.pid in self.living_pids:
                continue
            if f"{start.pid}:{start.ticks}" in recorded_deaths:
                recorded += 1
            elif self._died_without_state(start, killed.get(start.pid)):
                unrecordable += 1
            else:
                self.reasons.append(f"the death of worker PID {start.pid} is in no ledger")
        return recorded, unrecordable

    def _died_without_state(self, start: Start, died: float | None) -> bool:
        """Return True if the worker died after its state was removed and before a new one began."""
        begun = [row[3] for row in self.events if row[1] == EventKind.DAEMON_STARTED]
        for fault in self.faults_of("state"):
            after = min((at for at in begun if at > fault.ended_at), default=fault.ended_at)
            if died is None or start.at > after:
                continue
            if fault.at - COMMIT_DELAY_S < died < after + MAX_DELAY_S:
                return True
        return False

    def restart_delays(self) -> list[tuple[float, bool]]:
        """Return the seconds from each kill to the next start, and if a daemon ran meanwhile."""
        delays = []
        outages = self.outages()
        for fault in self.faults_of("worker killed"):
            after = min((start.at for start in self.starts if start.at > fault.at), default=None)
            if after is None:
                self.reasons.append(f"after the kill of worker PID {fault.pid} no worker started")
                continue
            took = after - fault.at
            watched = not any(overlap((fault.at, after), outage) for outage in outages)
            delays.append((took, watched))
            if watched and took > RESTART_TIMEOUT_S:
                self.reasons.append(f"the worker started after {took:.1f} s, while a daemon ran")
        return delays

    def check_clock(self) -> tuple[int, int]:
        """Return the number of settings of the clock, and of those that a ledger contains."""
        notices = [row for row in self.events if row[1] == EventKind.NOTICED]
        notice_times = [
            row[3] for row in notices if "the clock was set" in row[7] or "leap_s" in row[10]
        ]
        recorded = 0
        settings = self.faults_of("clock set")
        for fault in settings:
            within = (fault.at, fault.at + NOTICE_TIMEOUT_S)
            is_recorded = any(
                within[0] <= at <= self._next_daemon(fault.at) + NOTICE_TIMEOUT_S
                for at in notice_times
            )
            recorded += is_recorded
            is_undisturbed = not any(overlap(within, outage) for outage in self.outages())
            if is_undisturbed and not is_recorded and within[1] < self.ended:
                self.reasons.append(
                    f"{self.format_span(within)}: no ledger says that the clock was set"
                )
        return len(settings), recorded

    def _next_daemon(self, at: float) -> float:
        """Return the next daemon's start if it is soon after `at`, else `at`."""
        begun = [row[3] for row in self.events if row[1] == EventKind.DAEMON_STARTED]
        after = min((start for start in begun if start > at), default=at)
        return after if after < at + 2 * NOTICE_TIMEOUT_S else at

    def check_mounts(self) -> tuple[int, int]:
        """Return the number of hung mounts, and of those that a sample or an event names."""
        hung = self.faults_of("mount hung")
        words = "does not answer"
        texts = [(row[3], row[6] or row[5]) for row in self.samples]
        texts += [(row[3], row[7]) for row in self.events]
        named = 0
        for fault in hung:
            span = (fault.at, fault.ended_at + MAX_DELAY_S)
            is_named = any(span[0] <= at <= span[1] and words in text for at, text in texts)
            named += is_named
            if not is_named:
                self.reasons.append(f"{self.format_span(span)}: nothing names the mount that hung")
        return len(hung), named

    def format_span(self, span: Span) -> str:
        """Return a span as text, in seconds since the night began."""
        return f"{span[0] - self.began:.1f} to {span[1] - self.began:.1f} s"


# --- spans of time ------------------------------------------------------------------------------


def length(span: Span) -> float:
    """Return the seconds of a span, at least 0."""
    return max(0.0, span[1] - span[0])


def overlap(first: Span, second: Span) -> float:
    """Return the seconds that two spans share."""
    return max(0.0, min(first[1], second[1]) - max(first[0], second[0]))


def merge(spans: Sequence[Span]) -> list[Span]:
    """Return the spans sorted, with those that touch joined."""
    joined: list[Span] = []
    for begins, ends in sorted(spans):
        if joined and begins <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], ends))
        elif ends > begins:
            joined.append((begins, ends))
    return joined


def subtract(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    """Yield the pieces of a span that `others` do not cover. `others` are sorted and disjoint."""
    at = span[0]
    for begins, ends in others:
        if ends <= at or begins >= span[1]:
            continue
        if begins > at:
            yield at, begins
        at = max(at, ends)
    if at < span[1]:
        yield at, span[1]


# --- the table ----------------------------------------------------------------------------------


def fault_rows(
    faults: Sequence[Fault], impossible: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the table of faults: kind, number, seconds in all."""
    for kind in sorted({fault.kind for fault in faults}):
        selected = [fault for fault in faults if fault.kind == kind]
        seconds = sum(fault.ended_at - fault.at for fault in selected)
        yield kind, str(len(selected)), f"{seconds:.0f}" if seconds >= 1 else "–"
    for kind, why in impossible.items():
        yield kind, f"**not possible here**: {why}", "–"


def format_spread(values: Sequence[float]) -> str:
    """Return minimum, median and maximum as text."""
    if not values:
        return "–"
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def read_report(site: Site) -> dict[str, Any]:
    """Return the hand-over that the installed command writes."""
    done = site.run("report", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
