"""Builds the hand-over document: the state of the box for the next operator, with evidence.

The same snapshot, events, time and zone give the same document, word for word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from console.core.explain.death_chain import ExplanationStep, explain_last_death
from console.core.handover import findings, sections
from console.core.handover.model import Claim, Handover, TimeFormatter
from console.core.handover.timeline import build_timeline
from console.core.model.events import END_KINDS, Event, EventKind
from console.core.model.roles import RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.supervision.restarts import iter_restarts
from console.core.supervision.state_machine import OUTSIDE_ACTOR, POLICY_ACTOR
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_number

MAX_SUMMARY_REASONS = 3
"""Maximum number of the verdict's reasons in the summary."""


def build_handover(
    snapshot: Snapshot, events: Sequence[Event], since: Moment, zone: tzinfo | None = None
) -> Handover:
    """Return the document of a snapshot and its events, oldest first.

    The document reports the events from `since` on. Its times are in `zone`; None is the machine's
    own zone.
    """
    times = TimeFormatter(snapshot.moment, zone)
    recent = [event for event in events if not since.later_than(event.moment)]
    return Handover(
        host=sanitize_text(snapshot.host, 200),
        box=sanitize_text(snapshot.box, 500),
        at=snapshot.moment,
        since=since,
        verdict=snapshot.verdict,
        summary=tuple(_summary_claims(snapshot, events, recent, times)),
        jobs=tuple(sections.describe_jobs(snapshot, events, times)),
        workers=tuple(sections.describe_roles(snapshot, events, times)),
        death_chains=tuple(_death_chains(snapshot, events, since)),
        watchdog=tuple(sections.describe_watchdog(snapshot, events, times)),
        pipeline=tuple(sections.describe_pipeline(snapshot, times)),
        queue=tuple(sections.describe_queue(snapshot, times)),
        baseline=tuple(sections.describe_baseline(snapshot, events, times)),
        metrics=tuple(sections.describe_metrics(snapshot, events)),
        findings=tuple(findings.collect_findings(snapshot, recent, times)),
        conditions=tuple(findings.check_conditions(snapshot, events)),
        timeline=build_timeline(events, since),
        upcoming=tuple(_upcoming_claims(snapshot, times)),
        unknown=tuple(_unknown_claims(snapshot, recent, times)),
    )


# --- summary --------------------------------------------------------------------------------


def _summary_claims(
    snapshot: Snapshot, events: Sequence[Event], recent: Sequence[Event], times: TimeFormatter
) -> Iterator[Claim]:
    ids = sections.newest_event_ids(events, EventKind.VERDICT_CHANGED) if snapshot.since else ()
    since = f" since {times.format_time(snapshot.since)}" if snapshot.since else ""
    omitted_count = len(snapshot.reasons) - MAX_SUMMARY_REASONS
    reasons = [
        *snapshot.reasons[:MAX_SUMMARY_REASONS],
        *([f"and {omitted_count} more"] if omitted_count > 0 else []),
    ]
    reasons_text = f": {sanitize_text('; '.join(reasons), 500)}" if reasons else ""
    yield Claim(f"The box is {snapshot.verdict.value.upper()}{since}{reasons_text}", ids)
    for view in snapshot.roles:
        if view.role.name == "worker":
            yield next(sections.describe_role(view, events, times))
    baseline = next(sections.describe_baseline(snapshot, events, times))
    yield Claim(f"Baseline: {baseline.text[0].lower()}{baseline.text[1:]}", baseline.event_ids)
    yield _event_count_claim(recent)
    urgent = [alert for alert in findings.critical_alerts(snapshot) if not alert.acknowledged]
    if urgent:
        titles = ", ".join(sanitize_text(alert.title, 100) for alert in urgent)
        yield Claim(f"A person is needed: {titles}", tuple(alert.event_id for alert in urgent))
    else:
        yield Claim("Nothing critical waits for a person")


def _event_count_claim(recent: Sequence[Event]) -> Claim:
    """Return the numbers of deaths, restarts, refusals and alerts, with their events."""
    requested = {e.identity for e in recent if e.kind is EventKind.ASKED}
    deaths = [e for e in recent if e.kind is EventKind.DIED and e.identity not in requested]
    restarts = [*iter_restarts(recent)]
    counts = [
        (deaths, "unasked death"),
        ([e for e in restarts if e.actor == POLICY_ACTOR], "restart by policy"),
        ([e for e in restarts if e.actor != POLICY_ACTOR], "other restart"),
        ([e for e in recent if e.kind is EventKind.REFUSED], "refusal"),
        ([e for e in recent if e.kind is EventKind.ALERT_RAISED], "alert"),
    ]
    words = [_pluralize(len(matching), word) for matching, word in counts if matching]
    ids = tuple(sorted(event.id for matching, _ in counts for event in matching))
    if not words:
        return Claim("In this time: nothing went wrong")
    return Claim(f"In this time, all roles together: {', '.join(words)}", ids)


def _pluralize(n: int, noun_phrase: str) -> str:
    """Return the number and the noun phrase, plural unless `n` is 1: `2 restarts by policy`."""
    noun, space, rest = noun_phrase.partition(" by ")
    return f"{n} {noun}{'s' * (n != 1)}{space}{rest}"


def _death_chains(
    snapshot: Snapshot, events: Sequence[Event], since: Moment
) -> Iterator[tuple[str, tuple[ExplanationStep, ...]]]:
    for view in snapshot.roles:
        steps = explain_last_death(view.role, events, snapshot.moment)
        if len(steps) > 1 and steps[0].moment and not since.later_than(steps[0].moment):
            yield view.role.name, steps


# --- upcoming, and unknown ------------------------------------------------------------------


def _upcoming_claims(snapshot: Snapshot, times: TimeFormatter) -> Iterator[Claim]:
    """Yield the due checkpoint, restarts and canary, soonest first."""
    due: list[tuple[Moment, str]] = []
    checkpoint, canary = snapshot.baseline.checkpoint, snapshot.monitor("canary")
    if snapshot.baseline.state == "collecting" and checkpoint is not None:
        due.append((checkpoint, "checkpoint of the baseline"))
    for view in snapshot.roles:
        if view.retry_at is not None:
            due.append((view.retry_at, f"restart of {view.role.name}"))
    if canary is not None and canary.next_run is not None:
        due.append((canary.next_run, "canary"))
    for moment, description in sorted(due, key=lambda entry: entry[0].at):
        if not times.now.later_than(moment):
            yield Claim(
                f"{times.format_time(moment)}, in {format_duration(moment.since(times.now))}: "
                f"{description}"
            )


def _unknown_claims(
    snapshot: Snapshot, recent: Sequence[Event], times: TimeFormatter
) -> Iterator[Claim]:
    for view in snapshot.roles:
        if view.state is RoleState.UNKNOWN:
            yield Claim(f"{view.role.name}: {sanitize_text(view.reason, 300)}")
    for monitor in snapshot.monitors:
        if monitor.health.state in (HealthState.UNKNOWN, HealthState.OVERDUE):
            last_sample_time = (
                times.format_time_with_age(monitor.last.moment) if monitor.last else "never"
            )
            reason = sanitize_text(monitor.health.reason, 300)
            yield Claim(
                f"What the {monitor.name} monitor would see: {reason}; last look {last_sample_time}"
            )
    yield from _sleep_claims(recent, times)
    yield from _unmonitored_claims(recent, times)
    for event in recent:
        if (
            event.kind is EventKind.DIED
            and event.actor == OUTSIDE_ACTOR
            and not _is_machine_restart(event)
        ):
            pid = event.identity.pid if event.identity else "?"
            words = f"How {event.role} PID {pid} ended at {times.format_time(event.moment)}"
            yield Claim(f"{words}: {sanitize_text(event.reason, 200)}", (event.id,))
    coverage = snapshot.baseline.coverage
    if coverage is not None and coverage < 0.9995:
        yield Claim(f"{100 * (1 - coverage):.1f} % of the baseline's time: nobody looked")


def _is_machine_restart(death: Event) -> bool:
    """Return True if a restart of the machine explains the death."""
    return as_number(death.data.get("restarted_at")) is not None


def _sleep_claims(recent: Sequence[Event], times: TimeFormatter) -> Iterator[Claim]:
    for event in recent:
        if slept_s := as_number(event.data.get("slept_s")):
            woke_at = event.moment
            words = (
                f"What happened from {times.format_time(woke_at.plus(-slept_s))} "
                f"to {times.format_time(woke_at)}"
            )
            yield Claim(f"{words}: the machine slept for {format_duration(slept_s)}", (event.id,))


def _unmonitored_claims(recent: Sequence[Event], times: TimeFormatter) -> Iterator[Claim]:
    """Yield the periods in which no process ran the monitors.

    A runner that was killed leaves no stop event: the next start event without a stop event in
    between shows it.
    """
    start_event: Event | None = None
    stop_event: Event | None = None
    for event in recent:
        is_daemon_end = event.role == "monitors" and event.kind in END_KINDS
        if event.kind is EventKind.DAEMON_STOPPED or is_daemon_end:
            stop_event, start_event = stop_event or event, None
        elif event.kind is EventKind.DAEMON_STARTED:
            if stop_event is not None:
                duration = format_duration(event.moment.since(stop_event.moment))
                words = (
                    f"What happened from {times.format_time(stop_event.moment)} "
                    f"to {times.format_time(event.moment)}"
                )
                cause = (
                    f" ({sanitize_text(stop_event.reason, 100)})"
                    if stop_event.kind is EventKind.DIED
                    else ""
                )
                text = f"{words}: for {duration} nobody ran the monitors{cause}"
                yield Claim(text, (stop_event.id, event.id))
            elif start_event is not None:
                words = (
                    f"For how long nobody ran the monitors before {times.format_time(event.moment)}"
                )
                text = f"{words}: who ran them was killed, and told no end of it"
                if start_event.moment.boot and event.moment.boot not in (
                    "",
                    start_event.moment.boot,
                ):
                    booted = event.moment.plus(-event.moment.tick)
                    text = f"{words}: the machine was restarted at {times.format_time(booted)}"
                yield Claim(text, (start_event.id, event.id))
            stop_event, start_event = None, event
    if stop_event is not None:
        yield Claim(
            f"Nobody has run the monitors since {times.format_time_with_age(stop_event.moment)}",
            (stop_event.id,),
        )
