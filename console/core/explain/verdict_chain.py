"""Explains the verdict, and the health of a single monitor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.core.explain import explain
from console.core.explain.death_case import collect_event_ids
from console.core.explain.death_chain import ExplanationStep
from console.core.metrics.task_outcomes import task_type_prefix
from console.core.model.events import Event, EventKind
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import MonitorView
from console.core.text.formatting import format_duration, sanitize_text

MAX_REASON_CHARS, MAX_LISTED_REASONS = 300, 6
_RULES_BY_KIND = {
    "silent": "a refused connection is certain at once; any other trouble when two looks met it",
    "tasks": (
        "10 failures in a row are DOWN, 10 among the last 20 DEGRADED; under 70 % critical, under "
        "85 % a warning, over the last 100 tasks and the last hour"
    ),
    "long": "more than 20 waiting tasks in two looks, unless another limit is configured or learnt",
    "busy": "a canary that waits behind a task in work is not lost",
    "reports": "what the watchdog reports counts as long as its heartbeat is young",
}
_RULES_BY_MONITOR = {
    "canary": "a health check goes through the queue ahead of all others and must be answered",
    "pipeline": "the status file must be there, young enough, and without an anomaly",
    "watchdog": "its process must run and its heartbeat be young",
}


def explain_verdict(snapshot: Snapshot, events: Sequence[Event]) -> tuple[ExplanationStep, ...]:
    """Return the verdict, its causes and their consequences, then the chain of the first cause."""
    change = next((e for e in reversed(events) if e.kind is EventKind.VERDICT_CHANGED), None)
    event_ids = collect_event_ids(change) if snapshot.since is not None else ()
    first, *others = snapshot.reasons or ("no reason was given",)
    words = f"the box is {snapshot.verdict.value.upper()}: {sanitize_text(first, MAX_REASON_CHARS)}"
    steps = [ExplanationStep("verdict", words, snapshot.since, event_ids)]
    steps += [
        ExplanationStep("follows", sanitize_text(reason, MAX_REASON_CHARS))
        for reason in snapshot.follows[:MAX_LISTED_REASONS]
    ]
    steps += [
        ExplanationStep("besides", sanitize_text(reason, MAX_REASON_CHARS))
        for reason in others[:MAX_LISTED_REASONS]
    ]
    return (*steps, *explain_subject(snapshot.root_cause, snapshot, events))


def explain_subject(
    subject: str, snapshot: Snapshot, events: Sequence[Event]
) -> tuple[ExplanationStep, ...]:
    """Return the chain of the monitor, the role, or both, of this name."""
    monitor, view = snapshot.monitor(subject), snapshot.role(subject)
    failing = monitor is not None and monitor.health.state not in (HealthState.OK, HealthState.OFF)
    steps: tuple[ExplanationStep, ...] = ()
    # The role "worker" has a fuller chain than the monitor of the same name.
    if monitor is not None and subject != "worker" and (failing or view is None):
        steps = tuple(_monitor_steps(monitor, snapshot, events))
    if view is not None:
        steps += explain.explain_role(view.role, events, snapshot.moment)
    return steps


def subject_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names that can be explained: roles, then monitors, without duplicates."""
    names = (
        *(view.role.name for view in snapshot.roles),
        *(monitor.name for monitor in snapshot.monitors),
    )
    return tuple(dict.fromkeys(names))


def _monitor_steps(
    view: MonitorView, snapshot: Snapshot, events: Sequence[Event]
) -> Iterator[ExplanationStep]:
    health, now = view.health, snapshot.moment
    change = _find_state_change(view, events)
    when, evidence = (change.moment, collect_event_ids(change)) if change else (None, ())
    finding = sanitize_text(health.reason or view.result, MAX_REASON_CHARS) or "nothing to tell"
    yield ExplanationStep(
        "symptom", f"{view.name}: {health.state.value}: {finding}", when, evidence
    )
    if view.name == "queue" and health.kind == "tasks":
        for kind, error, count in snapshot.queue.failures:
            yield ExplanationStep(
                "symptom", f"{count} of the last 20 tasks: {task_type_prefix(kind)}{error}"
            )
        if snapshot.queue.results_error:
            yield ExplanationStep("symptom", snapshot.queue.results_error)
    last_sample_text = (
        f"last looked {format_duration(now.since(view.last.moment))} ago"
        if view.last
        else "never yet"
    )
    detector = (
        f"the {view.name} monitor, which looks every "
        f"{format_duration(view.every_s)}; {last_sample_text}"
    )
    yield ExplanationStep("detector", detector, view.last.moment if view.last else None)
    if (
        rule := _RULES_BY_KIND.get(health.kind) or _RULES_BY_MONITOR.get(view.name)
    ) and health.state in _JUDGED_STATES:
        yield ExplanationStep("rule", rule)
    if view.name == "watchdog":
        for recommendation in snapshot.watchdog.recommendations:
            yield ExplanationStep(
                "action",
                f"the watchdog recommends: {sanitize_text(recommendation, MAX_REASON_CHARS)}",
            )
    yield from _action_steps(view, snapshot)
    duration = f" for {format_duration(now.since(change.moment))} now" if change else ""
    yield ExplanationStep(
        "outcome", f"{view.name} is {health.state.value}{duration}", now, evidence
    )


_JUDGED_STATES = (HealthState.FAILING, HealthState.OK)


def _find_state_change(view: MonitorView, events: Sequence[Event]) -> Event | None:
    """Return the event of the monitor's change to its present state, or None."""
    for event in reversed(events):
        if event.kind is EventKind.MONITOR_CHANGED and event.data.get("monitor") == view.name:
            return event if event.data.get("state") == view.health.state.value else None
    return None


def _action_steps(view: MonitorView, snapshot: Snapshot) -> Iterator[ExplanationStep]:
    """Yield the actions on the monitor's trouble: its open alerts, and advice."""
    for alert in snapshot.alerts:
        if alert.subject == view.name:
            acknowledgement = f", noted by {alert.acknowledged}" if alert.acknowledged else ""
            words = f"alert {alert.key} ({alert.severity.value}){acknowledgement}"
            yield ExplanationStep(
                "action", words, alert.since, (alert.event_id,) if alert.event_id else ()
            )
    if view.health.kind == "silent" and snapshot.role("queue") is None:
        advice = "nothing restarts the queue server: no role is configured for it ([roles.queue])"
        yield ExplanationStep("action", advice)
