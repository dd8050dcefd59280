"""The hand-over: what a colleague who takes over must know, every claim with its evidence.

The same snapshot, ledger, time and zone give the same document, word for word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from console.core.explain.death_chain import Step, why
from console.core.handover import findings as judging
from console.core.handover import sections
from console.core.handover.model import Claim, Handover, Times
from console.core.handover.timeline import happened
from console.core.model import (
    Event,
    EventKind,
    HealthState,
    Moment,
    RoleState,
    Snapshot,
)
from console.core.supervision.restarts import restarts
from console.core.supervision.state_machine import OUTSIDE, POLICY
from console.core.text.formatting import duration, visible
from console.core.text.json_values import number

REASONS = 3
"""So many of the verdict's reasons are told in the summary."""


def compose(
    snapshot: Snapshot, events: Sequence[Event], since: Moment, zone: tzinfo | None = None
) -> Handover:
    """The document of a snapshot and its ledger (oldest first), telling what happened `since`."""
    times = Times(snapshot.moment, zone)
    recent = [event for event in events if not since.later_than(event.moment)]
    return Handover(
        host=visible(snapshot.host, 200),
        box=visible(snapshot.box, 500),
        at=snapshot.moment,
        since=since,
        verdict=snapshot.verdict,
        summary=tuple(_summary(snapshot, events, recent, times)),
        jobs=tuple(sections.jobs(snapshot, events, times)),
        workers=tuple(sections.roles(snapshot, events, times)),
        causes=tuple(_causes(snapshot, events, since)),
        watchdog=tuple(sections.watchdog(snapshot, events, times)),
        pipeline=tuple(sections.pipeline(snapshot, times)),
        queue=tuple(sections.queue(snapshot, times)),
        baseline=tuple(sections.baseline(snapshot, events, times)),
        metrics=tuple(sections.metrics(snapshot, events)),
        findings=tuple(judging.findings(snapshot, recent, times)),
        conditions=tuple(judging.conditions(snapshot, events)),
        happened=happened(events, since),
        next=tuple(_next(snapshot, times)),
        unknown=tuple(_unknown(snapshot, recent, times)),
    )


# --- in short -------------------------------------------------------------------------------


def _summary(
    snapshot: Snapshot, events: Sequence[Event], recent: Sequence[Event], times: Times
) -> Iterator[Claim]:
    ids = sections.newest(events, EventKind.VERDICT_CHANGED) if snapshot.since else ()
    since = f" since {times.at(snapshot.since)}" if snapshot.since else ""
    more = len(snapshot.reasons) - REASONS
    told = [*snapshot.reasons[:REASONS], *([f"and {more} more"] if more > 0 else [])]
    reasons = f": {visible('; '.join(told), 500)}" if told else ""
    yield Claim(f"The box is {snapshot.verdict.value.upper()}{since}{reasons}", ids)
    for view in snapshot.roles:
        if view.role.name == "worker":
            yield next(sections.role(view, events, times))
    first = next(sections.baseline(snapshot, events, times))
    yield Claim(f"Baseline: {first.text[0].lower()}{first.text[1:]}", first.events)
    yield _tally(recent)
    urgent = [one for one in judging.critical(snapshot) if not one.acknowledged]
    if urgent:
        titles = ", ".join(visible(one.title, 100) for one in urgent)
        yield Claim(f"A person is needed: {titles}", tuple(one.event for one in urgent))
    else:
        yield Claim("Nothing critical waits for a person")


def _tally(recent: Sequence[Event]) -> Claim:
    """How much happened, in numbers."""
    asked = {e.identity for e in recent if e.kind is EventKind.ASKED}
    died = [e for e in recent if e.kind is EventKind.DIED and e.identity not in asked]
    again = [*restarts(recent)]
    counts = [
        (died, "unasked death"),
        ([e for e in again if e.actor == POLICY], "restart by policy"),
        ([e for e in again if e.actor != POLICY], "other restart"),
        ([e for e in recent if e.kind is EventKind.REFUSED], "refusal"),
        ([e for e in recent if e.kind is EventKind.ALERT_RAISED], "alert"),
    ]
    words = [_several(len(found), word) for found, word in counts if found]
    ids = tuple(sorted(event.id for found, _ in counts for event in found))
    if not words:
        return Claim("In this time: nothing went wrong")
    return Claim(f"In this time, all roles together: {', '.join(words)}", ids)


def _several(n: int, what: str) -> str:
    """`2 restarts by policy`."""
    noun, space, rest = what.partition(" by ")
    return f"{n} {noun}{'s' * (n != 1)}{space}{rest}"


def _causes(
    snapshot: Snapshot, events: Sequence[Event], since: Moment
) -> Iterator[tuple[str, tuple[Step, ...]]]:
    for view in snapshot.roles:
        steps = why(view.role, events, snapshot.moment)
        if len(steps) > 1 and steps[0].moment and not since.later_than(steps[0].moment):
            yield view.role.name, steps


# --- what comes, and what nobody knows ------------------------------------------------------


def _next(snapshot: Snapshot, times: Times) -> Iterator[Claim]:
    """What is due, soonest first."""
    due: list[tuple[Moment, str]] = []
    checkpoint, canary = snapshot.baseline.checkpoint, snapshot.monitor("canary")
    if snapshot.baseline.state == "collecting" and checkpoint is not None:
        due.append((checkpoint, "checkpoint of the baseline"))
    for view in snapshot.roles:
        if view.retry_at is not None:
            due.append((view.retry_at, f"restart of {view.role.name}"))
    if canary is not None and canary.next_run is not None:
        due.append((canary.next_run, "canary"))
    for moment, what in sorted(due, key=lambda one: one[0].at):
        if not times.now.later_than(moment):
            yield Claim(f"{times.at(moment)}, in {duration(moment.since(times.now))}: {what}")


def _unknown(snapshot: Snapshot, recent: Sequence[Event], times: Times) -> Iterator[Claim]:
    for view in snapshot.roles:
        if view.state is RoleState.UNKNOWN:
            yield Claim(f"{view.role.name}: {visible(view.reason, 300)}")
    for monitor in snapshot.monitors:
        if monitor.health.state in (HealthState.UNKNOWN, HealthState.OVERDUE):
            seen = times.ago(monitor.last.moment) if monitor.last else "never"
            reason = visible(monitor.health.reason, 300)
            yield Claim(f"What the {monitor.name} monitor would see: {reason}; last look {seen}")
    yield from _asleep(recent, times)
    yield from _unwatched(recent, times)
    for event in recent:
        if event.kind is EventKind.DIED and event.actor == OUTSIDE and not _restarted(event):
            pid = event.identity.pid if event.identity else "?"
            words = f"How {event.role} PID {pid} ended at {times.at(event.moment)}"
            yield Claim(f"{words}: {visible(event.reason, 200)}", (event.id,))
    coverage = snapshot.baseline.coverage
    if coverage is not None and coverage < 0.9995:
        yield Claim(f"{100 * (1 - coverage):.1f} % of the baseline's time: nobody looked")


def _restarted(death: Event) -> bool:
    """Whether the death is explained: the machine was restarted."""
    return number(death.data.get("restarted_at")) is not None


def _asleep(recent: Sequence[Event], times: Times) -> Iterator[Claim]:
    for event in recent:
        if slept_s := number(event.data.get("slept_s")):
            woke = event.moment
            words = f"What happened from {times.at(woke.plus(-slept_s))} to {times.at(woke)}"
            yield Claim(f"{words}: the machine slept for {duration(slept_s)}", (event.id,))


def _unwatched(recent: Sequence[Event], times: Times) -> Iterator[Claim]:
    """When nobody ran the monitors. One that was killed unseen tells no end of its own."""
    began: Event | None = None
    gone: Event | None = None
    for event in recent:
        own = event.role == "monitors" and event.kind in (EventKind.DIED, EventKind.ENDED)
        if event.kind is EventKind.DAEMON_STOPPED or own:
            gone, began = gone or event, None
        elif event.kind is EventKind.DAEMON_STARTED:
            if gone is not None:
                lasted = duration(event.moment.since(gone.moment))
                words = f"What happened from {times.at(gone.moment)} to {times.at(event.moment)}"
                how = f" ({visible(gone.reason, 100)})" if gone.kind is EventKind.DIED else ""
                text = f"{words}: for {lasted} nobody ran the monitors{how}"
                yield Claim(text, (gone.id, event.id))
            elif began is not None:
                words = f"For how long nobody ran the monitors before {times.at(event.moment)}"
                text = f"{words}: who ran them was killed, and told no end of it"
                if began.moment.boot and event.moment.boot not in ("", began.moment.boot):
                    booted = event.moment.plus(-event.moment.tick)
                    text = f"{words}: the machine was restarted at {times.at(booted)}"
                yield Claim(text, (began.id, event.id))
            gone, began = None, event
    if gone is not None:
        yield Claim(f"Nobody has run the monitors since {times.ago(gone.moment)}", (gone.id,))
