"""The checks at the end of a night: one worker, nothing lost, every minute explained."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from night_faults import Act
from night_observers import Row, Store
from night_site import DEADLINE_S, EVERY_S, Life, Site, Start

from console.core.model import EventKind

MINUTE_S = 60.0
SLACK_S = 3.0
"""How late a look may be on a machine with other work."""
NOTICED_S = 10.0
"""A daemon that runs for so long after a fault has seen it."""
COMMIT_S = 1.0
"""The line of a death is committed within this while the state is there."""
BACK_S = 60.0
"""A worker is back within this while a daemon runs."""
Span = tuple[float, float]


def limit_s(monitor: str) -> float:
    """Return the longest stretch without a look that needs no explanation."""
    return 2 * EVERY_S[monitor] + SLACK_S + (DEADLINE_S if monitor == "canary" else 0.0)


@dataclass
class Night:
    """All observations of a night."""

    began: float
    ended: float
    site: Site
    stores: list[Store]
    lives: list[Life]
    acts: list[Act]
    starts: list[Start]
    living: list[int]
    report: dict[str, Any]
    reasons: list[str] = field(default_factory=list)
    """Why the night is no proof."""

    @property
    def samples(self) -> list[Row]:
        """List every look of every store, in the order of time."""
        return sorted((r for s in self.stores for r in s.samples.values()), key=lambda r: r[3])

    @property
    def events(self) -> list[Row]:
        """List every line of every ledger, in the order of time."""
        return sorted((r for s in self.stores for r in s.events.values()), key=lambda r: r[3])

    def of(self, *kinds: str) -> list[Act]:
        return [act for act in self.acts if act.kind.startswith(kinds)]

    # --- one worker ------------------------------------------------------------------------

    def check_workers(self, most_workers: int, most_daemons: int) -> None:
        """Check that one worker runs at the end, and that two never ran."""
        if len(self.living) != 1:
            self.reasons.append(f"at the end {len(self.living)} workers run: {self.living}")
        elif self.starts[-1].pid != self.living[0]:
            self.reasons.append(f"the worker that runs, PID {self.living[0]}, did not start last")
        for one in self.starts:
            if not one.alone:
                self.reasons.append(f"worker PID {one.pid} started while another one lived")
        if most_workers != 1:
            self.reasons.append(f"{most_workers} workers were seen at once")
        if most_daemons > 1:
            self.reasons.append(f"{most_daemons} daemons were seen at once")
        for before, after in pairwise(self.starts):
            if int(after.token) <= int(before.token) and not self._token_lost(before, after):
                self.reasons.append(f"token {after.token} was granted after {before.token}")

    def _token_lost(self, before: Start, after: Start) -> bool:
        """Return whether the state was lost between two starts, the first worker being dead."""
        lost = [act for act in self.of("state") if before.at < act.until < after.at + SLACK_S]
        name = f"{before.pid}:{before.ticks}"
        adopted = [
            row for row in self.events
            if row[1] == EventKind.ADOPTED and row[8].rpartition(":")[0] == name
        ]  # fmt: skip
        return bool(lost) and not adopted

    # --- nothing lost ----------------------------------------------------------------------

    def check_stores(self) -> None:
        """Check that all committed rows are there, unless the operator deleted their store."""
        for number, store in enumerate(self.stores, 1):
            if store.missing:
                self.reasons.append(f"store {number}: {len(store.missing)} rows are lost")
            if store.damage:
                self.reasons.append(f"store {number}: {store.damage}")
        aside = [*self.site.place.rglob("store.damaged*")]
        if aside:
            self.reasons.append(f"stores were moved aside as damaged: {aside}")

    # --- every minute explained ------------------------------------------------------------

    def told(self) -> list[tuple[Span, int]]:
        """List the stretches that the ledger tells as unwatched, each up to a daemon start."""
        looks = [row[3] for row in self.samples]
        found = []
        for row in self.events:
            if row[1] == EventKind.DAEMON_STARTED and row[3] > self.began:
                before = max((at for at in looks if at < row[3]), default=self.began)
                found.append(((before, row[3]), row[0]))
        return found

    def down(self) -> list[Span]:
        """List the stretches without a daemon or without its state, by the night's own record."""
        starts = [row[3] for row in self.events if row[1] == EventKind.DAEMON_STARTED]
        found = [(before.ended, after.began) for before, after in pairwise(self.lives)]
        for begins in [*(life.began for life in self.lives), *(a.at for a in self.of("state"))]:
            found.append((begins, min((at for at in starts if at > begins), default=begins)))
        return merged(found)

    def check_minutes(self) -> tuple[int, int, int, float]:
        """Count minutes: watched by every monitor, explained, unexplained; seconds unwatched."""
        told, down = self.told(), self.down()
        for span, _ in told:
            rest = length(span) - sum(overlap(span, one) for one in down)
            if rest > min(map(limit_s, EVERY_S)):
                self.reasons.append(
                    f"{self.when(span)}: unwatched {length(span):.1f} s, and no daemon ran or its "
                    f"state was lost for {length(span) - rest:.1f} s only"
                )
        spans = merged([span for span, _ in told])
        gaps = [gap for name in EVERY_S for gap in self._gaps(name, spans)]
        for name, gap in gaps:
            self.reasons.append(f"{self.when(gap)}: {name} did not look for {length(gap):.1f} s")
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
        """List a monitor's pauses that are too long and that the ledger does not explain."""
        looks = [row[3] for row in self.samples if row[1] == name]
        looks = [at for at in looks if self.began < at < self.ended]
        for begins, ends in pairwise([self.began, *looks, self.ended]):
            for piece in less((begins, ends), spans):
                if length(piece) > limit_s(name):
                    yield name, piece

    def check_report(self) -> int:
        """Check that the report cites each end of a daemon as unknown time; count those."""
        current = [*self.stores[-1].events.values()]
        kinds = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
        begun = [row for row in current if row[1] in kinds]
        wanted = {row[0] for row in begun[1:] if row[1] == EventKind.DAEMON_STARTED}
        cited = {one for claim in self.report["unknown"] for one in claim["events"]}
        for missing in sorted(wanted - cited):
            self.reasons.append(f"the report does not say what #{missing} ended as unknown time")
        return len(wanted & cited)

    # --- single faults ---------------------------------------------------------------------

    def check_deaths(self) -> tuple[int, int]:
        """Count deaths of workers: with their line, and while their state directory was away."""
        told = {row[8].rpartition(":")[0] for row in self.events if row[1] == EventKind.DIED}
        killed = {act.pid: act.at for act in self.of("worker killed")}
        known = lost = 0
        for one in self.starts:
            if one.pid in self.living:
                continue
            if f"{one.pid}:{one.ticks}" in told:
                known += 1
            elif self._lost_with_the_state(one, killed.get(one.pid)):
                lost += 1
            else:
                self.reasons.append(f"the death of worker PID {one.pid} is in no ledger")
        return known, lost

    def _lost_with_the_state(self, one: Start, died: float | None) -> bool:
        """Return whether it died after the operator took its state away, before a new one began."""
        begun = [row[3] for row in self.events if row[1] == EventKind.DAEMON_STARTED]
        for act in self.of("state"):
            after = min((at for at in begun if at > act.until), default=act.until)
            if died is None or one.at > after:
                continue
            if act.at - COMMIT_S < died < after + SLACK_S:
                return True
        return False

    def back(self) -> list[tuple[float, bool]]:
        """List the seconds from each kill to the next start, and whether a daemon ran meanwhile."""
        found = []
        down = self.down()
        for act in self.of("worker killed"):
            after = min((one.at for one in self.starts if one.at > act.at), default=None)
            if after is None:
                self.reasons.append(f"after the kill of worker PID {act.pid} none came back")
                continue
            took = after - act.at
            watched = not any(overlap((act.at, after), one) for one in down)
            found.append((took, watched))
            if watched and took > BACK_S:
                self.reasons.append(f"the worker was back after {took:.1f} s, a daemon running")
        return found

    def check_clock(self) -> tuple[int, int]:
        """Count the settings of the clock, and those that a ledger tells."""
        lines = [row for row in self.events if row[1] == EventKind.NOTICED]
        said = [row[3] for row in lines if "the clock was set" in row[7] or "leap_s" in row[10]]
        seen = 0
        settings = self.of("clock set")
        for act in settings:
            within = (act.at, act.at + NOTICED_S)
            known = any(within[0] <= at <= self._next_daemon(act.at) + NOTICED_S for at in said)
            seen += known
            undisturbed = not any(overlap(within, one) for one in self.down())
            if undisturbed and not known and within[1] < self.ended:
                self.reasons.append(f"{self.when(within)}: no ledger says that the clock was set")
        return len(settings), seen

    def _next_daemon(self, at: float) -> float:
        """Return the next daemon's start, where this moment's daemon was killed soon."""
        begun = [row[3] for row in self.events if row[1] == EventKind.DAEMON_STARTED]
        after = min((one for one in begun if one > at), default=at)
        return after if after < at + 2 * NOTICED_S else at

    def check_mounts(self) -> tuple[int, int]:
        """Count the mounts that hung, and those that a look or a line names."""
        hung = self.of("mount hung")
        words = "does not answer"
        texts = [(row[3], row[6] or row[5]) for row in self.samples]
        texts += [(row[3], row[7]) for row in self.events]
        named = 0
        for act in hung:
            span = (act.at, act.until + SLACK_S)
            found = any(span[0] <= at <= span[1] and words in text for at, text in texts)
            named += found
            if not found:
                self.reasons.append(f"{self.when(span)}: nothing names the mount that hung")
        return len(hung), named

    def when(self, span: Span) -> str:
        """Write a stretch in seconds since the night began."""
        return f"{span[0] - self.began:.1f} to {span[1] - self.began:.1f} s"


# --- spans of time ------------------------------------------------------------------------------


def length(span: Span) -> float:
    return max(0.0, span[1] - span[0])


def overlap(one: Span, other: Span) -> float:
    """Return the seconds that two spans share."""
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def merged(spans: Sequence[Span]) -> list[Span]:
    """Sort the spans, and join those that touch."""
    found: list[Span] = []
    for begins, ends in sorted(spans):
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        elif ends > begins:
            found.append((begins, ends))
    return found


def less(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    """List the pieces of a span that no other one covers; the others are in order and apart."""
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


def faults(acts: Sequence[Act], impossible: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """List the lines of the table of faults: kind, how often, seconds in all."""
    for kind in sorted({act.kind for act in acts}):
        some = [act for act in acts if act.kind == kind]
        seconds = sum(act.until - act.at for act in some)
        yield kind, str(len(some)), f"{seconds:.0f}" if seconds >= 1 else "–"
    for kind, why in impossible.items():
        yield kind, f"**not possible here**: {why}", "–"


def spread(values: Sequence[float]) -> str:
    """Write minimum, median and maximum."""
    if not values:
        return "–"
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def report(site: Site) -> dict[str, Any]:
    """Read the hand-over as the installed command writes it."""
    done = site.run("report", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
