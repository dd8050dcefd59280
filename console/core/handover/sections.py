"""Builds the sections of a hand-over that describe the present state, with evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.core.baseline.run_document import conclusion
from console.core.explain.death_case import actor_label
from console.core.handover.model import BackgroundJob, BaselineMetric, Claim, TimeFormatter
from console.core.metrics.queue_metrics import canary_output
from console.core.metrics.task_outcomes import format_errors
from console.core.model.events import END_KINDS, START_KINDS, Event, EventKind
from console.core.model.processes import Instance
from console.core.model.roles import LeaseState, RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import MetricView, MonitorView, RoleView
from console.core.supervision.restarts import iter_restarts
from console.core.text.formatting import format_duration, sanitize_text

DAEMON_ROLE = "monitors"
MONITOR_TITLES = {
    "canary": "Canary", "worker": "Worker monitor", "pipeline": "Realtime pipeline",
    "queue": "Queue monitor", "watchdog": "Watchdog monitor",
}  # fmt: skip
METRIC_TITLES = {
    "success_rate": "success rate", "latency_s": "task latency", "uptime": "worker uptime",
    "queue_size": "queue size", "restarts": "restart count",
}  # fmt: skip
MONITOR_BY_METRIC = {
    "success_rate": "queue", "latency_s": "canary", "uptime": "worker", "queue_size": "queue",
    "restarts": "worker",
}  # fmt: skip
_STATE_LABELS = {
    HealthState.OVERDUE: "overdue",
    HealthState.UNKNOWN: "blind",
    HealthState.OFF: "off",
}


def newest_event_ids(
    events: Sequence[Event], *kinds: EventKind, role: str | None = None
) -> tuple[int, ...]:
    """Return the id of the newest event of these kinds as a tuple; empty if there is none."""
    for event in reversed(events):
        if event.kind in kinds and role in (None, event.role):
            return (event.id,)
    return ()


# --- background jobs ------------------------------------------------------------------------


def describe_jobs(
    snapshot: Snapshot, events: Sequence[Event], times: TimeFormatter
) -> Iterator[BackgroundJob]:
    """Yield the daemon that runs the monitors, and each monitor."""
    daemon, in_this_process = snapshot.daemon, snapshot.daemon.in_this_process
    ids = newest_event_ids(events, EventKind.DAEMON_STARTED)
    if daemon.running and not in_this_process:
        words = f"its launcher has ended, as it should; the daemon runs on as PID {daemon.pid}"
        if daemon.since:
            words += f", since {times.format_time(daemon.since)}"
    else:
        words = "a console runs them while it is open" if in_this_process else daemon.reason
    state = "running" if daemon.running or in_this_process else "not running"
    heartbeat_text = times.format_time_with_age(daemon.heartbeat) if daemon.heartbeat else ""
    yield BackgroundJob("Monitors' daemon", state, "", heartbeat_text, "", Claim(words, ids))
    for view in snapshot.monitors:
        yield _describe_job(view, times)


def _describe_job(view: MonitorView, times: TimeFormatter) -> BackgroundJob:
    health, last = view.health, view.last
    words = health.reason or view.result
    if health.state in (HealthState.OK, HealthState.FAILING):
        words = f"{health.state.value}: {words}" if words else health.state.value
    words = sanitize_text(words, 300)
    if view.name == "canary" and last is not None and (output := canary_output(last)):
        words += f"; its output: {output}"
    sample_ids = (last.id,) if last is not None and last.id else ()
    return BackgroundJob(
        name=MONITOR_TITLES.get(view.name, view.name),
        state=_STATE_LABELS.get(health.state, "running"),
        interval=format_duration(view.every_s),
        last_run=times.format_time_with_age(last.moment) if last else "never",
        next_run=times.format_time(view.next_run) if view.next_run else "",
        result=Claim(words, sample_ids=sample_ids),
    )


# --- roles ----------------------------------------------------------------------------------


def describe_roles(
    snapshot: Snapshot, events: Sequence[Event], times: TimeFormatter
) -> Iterator[Claim]:
    """Yield each role except the watchdog: number of instances, their start, the last death."""
    for view in snapshot.roles:
        if view.role.name != "watchdog":
            yield from describe_role(view, events, times)


def describe_role(view: RoleView, events: Sequence[Event], times: TimeFormatter) -> Iterator[Claim]:
    name, wanted = view.role.name, view.role.count
    reason = sanitize_text(view.reason, 300)
    if view.state is RoleState.UNKNOWN:
        yield Claim(f"{name}: not known: {reason}")
        return
    if view.instance_count == wanted == 1:
        instance_claim = _describe_instance(view.instances[0], view, events, times)
        work_text = f"; {reason}" if reason else ""
        yield Claim(
            f"Exactly one {name} runs: {instance_claim.text}{work_text}", instance_claim.event_ids
        )
    else:
        word = (
            "too many"
            if view.instance_count > wanted
            else "too few"
            if view.instance_count < wanted
            else "right"
        )
        reason_text = (
            f" ({view.state.value.lower()}: {reason})"
            if view.instance_count < wanted and reason
            else ""
        )
        ids = newest_event_ids(events, EventKind.PARKED, EventKind.DIED, role=name)
        yield Claim(
            f"{name}: {view.instance_count} of {wanted}, {word}{reason_text}",
            ids if reason_text else (),
        )
        for instance in view.instances:
            instance_claim = _describe_instance(instance, view, events, times)
            yield Claim(f"{name}: {instance_claim.text}", instance_claim.event_ids)
    if view.lease.state not in (LeaseState.HELD, LeaseState.FREE):
        yield Claim(
            f"{name}: its lease is {view.lease.state.value}: {sanitize_text(view.lease.reason)}"
        )
    if (death := view.last_death) is not None:
        words = (
            f"{name}: died last at {times.format_time(death.moment)}: "
            f"{sanitize_text(death.reason, 200)}"
        )
        yield Claim(words, (death.id,) if death.id else ())
    if restarts := [event for event in iter_restarts(events) if event.role == name]:
        words = (
            f"{name}: {_pluralize(len(restarts), 'restart')}, the last at "
            f"{times.format_time(restarts[-1].moment)}"
        )
        yield Claim(words, tuple(event.id for event in restarts))


def _pluralize(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def _describe_instance(
    instance: Instance, view: RoleView, events: Sequence[Event], times: TimeFormatter
) -> Claim:
    """Return an instance: `PID 40864, up 4h10m since 02:15:12, started by policy under token 3`."""
    start = next(
        (e for e in reversed(events) if e.kind in START_KINDS and e.identity == instance.identity),
        None,
    )
    words = [f"PID {instance.pid}", f"up {format_duration(instance.uptime(times.now))}"]
    words[-1] += f" since {times.format_time(instance.root.started)}"
    if len(instance.processes) > 1:
        words.append(f"a tree of {len(instance.processes)} processes")
    if instance.leased:
        starter = f" by {actor_label(start.actor)}" if start is not None and start.actor else ""
        words.append(f"started{starter} under token {instance.token}")
    else:
        words.append("adopted: somebody else started it")
        if instance.launcher_ended:
            words.append("its launcher has ended, it runs on")
    if instance.identity in view.surplus:
        words.append("surplus")
    return Claim(", ".join(words), (start.id,) if start is not None and start.id else ())


# --- watchdog, pipeline, queue --------------------------------------------------------------


def describe_watchdog(
    snapshot: Snapshot, events: Sequence[Event], times: TimeFormatter
) -> Iterator[Claim]:
    """Yield the watchdog's process as a role, and its heartbeat as the monitor reports it."""
    view, sample_ids = snapshot.watchdog, _last_sample_ids(snapshot, "watchdog")
    if (role_view := snapshot.role("watchdog")) is not None:
        yield from describe_role(role_view, events, times)
    if view.heartbeat is not None:
        yield Claim(
            f"Last heartbeat {times.format_time_with_age(view.heartbeat)}", sample_ids=sample_ids
        )
    if view.anomalies:
        yield Claim(
            f"It reports: {sanitize_text(', '.join(view.anomalies), 300)}", sample_ids=sample_ids
        )
    if view.state is not HealthState.OK:
        yield Claim(
            f"Judged {view.state.value}: {sanitize_text(view.reason, 300)}", sample_ids=sample_ids
        )


def describe_pipeline(snapshot: Snapshot, times: TimeFormatter) -> Iterator[Claim]:
    view, sample_ids = snapshot.pipeline, _last_sample_ids(snapshot, "pipeline")
    if view.generated is not None:
        origin = "collected here" if view.mode == "collect" else "written by another program"
        yield Claim(
            f"Status {origin}, {times.format_time_with_age(view.generated)}", sample_ids=sample_ids
        )
    for name, value, word in view.channels[:20]:
        value_text = "?" if value is None else f"{value:g}"
        yield Claim(
            f"{sanitize_text(name, 60)}: {value_text}, {sanitize_text(word, 60)}",
            sample_ids=sample_ids,
        )
    if view.anomalies:
        yield Claim(
            f"Anomalies: {sanitize_text(', '.join(view.anomalies), 300)}", sample_ids=sample_ids
        )
    if view.state is not HealthState.OK:
        yield Claim(
            f"Judged {view.state.value}: {sanitize_text(view.reason, 300)}", sample_ids=sample_ids
        )


def describe_queue(snapshot: Snapshot, times: TimeFormatter) -> Iterator[Claim]:
    view, sample_ids = snapshot.queue, _last_sample_ids(snapshot, "queue")
    if view.size is None:
        last_answer_text = (
            f"; last answered {times.format_time_with_age(view.seen)}" if view.seen else ""
        )
        reason = sanitize_text(view.reason, 300) or "nobody has looked"
        yield Claim(f"Its size is not known: {reason}{last_answer_text}", sample_ids=sample_ids)
    else:
        completed = "?" if view.completed is None else str(view.completed)
        inflight = "?" if view.inflight is None else str(view.inflight)
        yield Claim(
            f"{view.size} wait, {inflight} in work, {completed} done", sample_ids=sample_ids
        )
    if view.success_rate is not None:
        yield Claim(
            f"Success rate {view.success_rate:.1f} % of what was seen to end", sample_ids=sample_ids
        )
    if view.failures:
        n, failed = view.last_task_counts
        heading = f"{failed} of the last {n} tasks failed" if n else "The last errors"
        yield Claim(
            f"{heading}: {sanitize_text(format_errors(view.failures, 5), 800)}",
            sample_ids=sample_ids,
        )
    if view.results_error:
        yield Claim(
            f"Which tasks failed is not known in full: {view.results_error}", sample_ids=sample_ids
        )
    if view.loss_at is not None:
        yield Claim(
            f"{sanitize_text(view.loss_message, 300)}, {times.format_time_with_age(view.loss_at)}",
            sample_ids=sample_ids,
        )
    if view.latency_s is not None:
        words = f"The last canary came back after {view.latency_s:.2f} s"
        yield Claim(words, sample_ids=_last_sample_ids(snapshot, "canary"))


def _last_sample_ids(snapshot: Snapshot, monitor_name: str) -> tuple[int, ...]:
    view = snapshot.monitor(monitor_name)
    return (view.last.id,) if view is not None and view.last is not None and view.last.id else ()


# --- the baseline ---------------------------------------------------------------------------


def describe_baseline(
    snapshot: Snapshot, events: Sequence[Event], times: TimeFormatter
) -> Iterator[Claim]:
    """Yield the state of the baseline run: progress, checkpoint, coverage, longest gap."""
    view = snapshot.baseline
    start_ids, end_ids = (
        newest_event_ids(events, kind)
        for kind in (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
    )
    if view.state == "off":
        yield Claim("None is being collected", end_ids)
        return
    is_over = view.progress is not None and view.progress >= 1
    words = {"pass": "passed", "fail": "failed", "undecided": "not decided"}
    if view.state == "invalid":
        yield Claim(f"Invalid, it proves nothing: {sanitize_text(view.reason, 300)}", start_ids)
    elif is_over:
        yield Claim(f"Complete: {words.get(conclusion(view), '?')}", start_ids + end_ids)
    else:
        share = f"{100 * (view.progress or 0):.0f} %"
        verdict = conclusion(view)
        fails = ", and fails already" if verdict == "fail" else ", undecided so far"
        yield Claim(
            f"Collecting since {times.format_time(view.started)}, {share} of it{fails}", start_ids
        )
    if view.checkpoint is not None and not is_over:
        yield Claim(f"Checkpoint at {times.format_time(view.checkpoint)}", start_ids)
    if view.coverage is not None:
        sample_ids = (
            ()
            if is_over
            else (*_last_sample_ids(snapshot, "worker"), *_last_sample_ids(snapshot, "queue"))
        )
        share = f"{100 * view.coverage:.1f} %"
        yield Claim(f"{share} of the time was observed", end_ids if is_over else (), sample_ids)
    if view.longest_gap is not None:
        yield Claim(
            f"The longest gap: {format_duration(view.longest_gap[1])} from "
            f"{times.format_time(view.longest_gap[0])}"
        )


def describe_metrics(snapshot: Snapshot, events: Sequence[Event]) -> Iterator[BaselineMetric]:
    """Yield the five metrics with the events that decide them, or the newest sample.

    For a run that is over, the evidence of the other metrics is the event of the run's end.
    """
    is_over = snapshot.baseline.progress is not None and snapshot.baseline.progress >= 1
    for view in snapshot.baseline.metrics:
        unit = f" {view.unit}" if view.unit else ""
        value = view.formatted_value + (unit if view.value is not None else "")
        ids = _metric_event_ids(view, snapshot, events)
        if is_over and not ids:
            ids = newest_event_ids(events, EventKind.BASELINE_ENDED)
        sample_ids = (
            ()
            if is_over or ids
            else _last_sample_ids(snapshot, MONITOR_BY_METRIC.get(view.name, ""))
        )
        note = Claim(sanitize_text(view.note, 300), ids, sample_ids)
        name = METRIC_TITLES.get(view.name, view.name)
        yield BaselineMetric(name, value, view.target + unit, view.verdict, view.n, note)


def _metric_event_ids(
    view: MetricView, snapshot: Snapshot, events: Sequence[Event]
) -> tuple[int, ...]:
    started_at, ends_at = snapshot.baseline.started, snapshot.baseline.checkpoint
    if (
        view.name not in ("restarts", "uptime")
        or not started_at
        or not ends_at
        or view.verdict == "pass"
    ):
        return ()
    events_in_run = [
        event
        for event in events
        if event.role == "worker"
        and not (started_at.later_than(event.moment) or event.moment.later_than(ends_at))
    ]
    if view.name == "restarts":
        return tuple(event.id for event in iter_restarts(events_in_run))
    return tuple(event.id for event in events_in_run if event.kind in END_KINDS)
