"""Why the verdict is what it is, and what stands behind one monitor's judgement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.core.explain import explain
from console.core.explain.death_case import ids
from console.core.explain.death_chain import Step
from console.core.metrics.task_outcomes import typed
from console.core.model import Event, EventKind, HealthState, MonitorView, Snapshot
from console.core.text.formatting import duration, visible

WORDS, MOST = 300, 6
_RULES = {
    "silent": "a refused connection is certain at once; any other trouble when two looks met it",
    "tasks": (
        "10 failures in a row are DOWN, 10 among the last 20 DEGRADED; under 70 % critical, under "
        "85 % a warning, over the last 100 tasks and the last hour"
    ),
    "long": "more than 20 waiting tasks in two looks, unless another limit is configured or learnt",
    "busy": "a canary that waits behind a task in work is not lost",
    "reports": "what the watchdog reports counts as long as its heartbeat is young",
}
_OWN = {
    "canary": "a health check goes through the queue ahead of all others and must be answered",
    "pipeline": "the status file must be there, young enough, and without an anomaly",
    "watchdog": "its process must run and its heartbeat be young",
}


def overall(snapshot: Snapshot, events: Sequence[Event]) -> tuple[Step, ...]:
    """The verdict with its causes and what follows from them, then the chain of the first cause."""
    turned = next((e for e in reversed(events) if e.kind is EventKind.VERDICT_CHANGED), None)
    told = ids(turned) if snapshot.since is not None else ()
    first, *others = snapshot.reasons or ("no reason was given",)
    words = f"the box is {snapshot.verdict.value.upper()}: {visible(first, WORDS)}"
    steps = [Step("verdict", words, snapshot.since, told)]
    steps += [Step("follows", visible(one, WORDS)) for one in snapshot.follows[:MOST]]
    steps += [Step("besides", visible(one, WORDS)) for one in others[:MOST]]
    return (*steps, *about(snapshot.root, snapshot, events))


def about(name: str, snapshot: Snapshot, events: Sequence[Event]) -> tuple[Step, ...]:
    """What stands behind the role, the monitor, or both, of this name."""
    monitor, view = snapshot.monitor(name), snapshot.role(name)
    failing = monitor is not None and monitor.health.state not in (HealthState.OK, HealthState.OFF)
    steps: tuple[Step, ...] = ()
    # The worker's monitor says nothing that its role does not say better.
    if monitor is not None and name != "worker" and (failing or view is None):
        steps = tuple(_monitor(monitor, snapshot, events))
    if view is not None:
        steps += explain.explain(view.role, events, snapshot.moment)
    return steps


def known(snapshot: Snapshot) -> tuple[str, ...]:
    """What can be asked for by name."""
    names = (*(view.role.name for view in snapshot.roles), *(one.name for one in snapshot.monitors))
    return tuple(dict.fromkeys(names))


def _monitor(view: MonitorView, snapshot: Snapshot, events: Sequence[Event]) -> Iterator[Step]:
    health, now = view.health, snapshot.moment
    turned = _turned(view, events)
    when, evidence = (turned.moment, ids(turned)) if turned else (None, ())
    said = visible(health.reason or view.result, WORDS) or "nothing to tell"
    yield Step("symptom", f"{view.name}: {health.state.value}: {said}", when, evidence)
    if view.name == "queue" and health.kind == "tasks":
        for kind, error, times in snapshot.queue.failures:
            yield Step("symptom", f"{times} of the last 20 tasks: {typed(kind)}{error}")
        if snapshot.queue.note:
            yield Step("symptom", snapshot.queue.note)
    seen = f"last looked {duration(now.since(view.last.moment))} ago" if view.last else "never yet"
    looks = f"the {view.name} monitor, which looks every {duration(view.every_s)}; {seen}"
    yield Step("detector", looks, view.last.moment if view.last else None)
    if (rule := _RULES.get(health.kind) or _OWN.get(view.name)) and health.state in _JUDGED:
        yield Step("rule", rule)
    if view.name == "watchdog":
        for words in snapshot.watchdog.recommendations:
            yield Step("action", f"the watchdog recommends: {visible(words, WORDS)}")
    yield from _deeds(view, snapshot)
    lasting = f" for {duration(now.since(turned.moment))} now" if turned else ""
    yield Step("outcome", f"{view.name} is {health.state.value}{lasting}", now, evidence)


_JUDGED = (HealthState.FAILING, HealthState.OK)


def _turned(view: MonitorView, events: Sequence[Event]) -> Event | None:
    """The ledger's line that says since when the monitor judges as it does."""
    for event in reversed(events):
        if event.kind is EventKind.MONITOR_CHANGED and event.data.get("monitor") == view.name:
            return event if event.data.get("state") == view.health.state.value else None
    return None


def _deeds(view: MonitorView, snapshot: Snapshot) -> Iterator[Step]:
    """What is done about it."""
    for alert in snapshot.alerts:
        if alert.subject == view.name:
            noted = f", noted by {alert.acknowledged}" if alert.acknowledged else ""
            words = f"alert {alert.key} ({alert.severity.value}){noted}"
            yield Step("action", words, alert.since, (alert.event,) if alert.event else ())
    if view.health.kind == "silent" and snapshot.role("queue") is None:
        advice = "nothing restarts the queue server: no role is configured for it ([roles.queue])"
        yield Step("action", advice)
