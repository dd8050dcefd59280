"""Builds the snapshot of a box, from which all views are drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from console.core import verdict
from console.core.alerts import detect_alerts, fold_open_alerts, update_reasons
from console.core.metrics import stall_detection
from console.core.metrics.queue_metrics import QueueMetrics, compute_queue_metrics
from console.core.model.events import Event, EventKind
from console.core.model.roles import Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import Alert, BaselineView, DaemonView, MonitorView, RoleView
from console.core.processes.instances import find_surplus
from console.core.records import Record, field, replace
from console.core.snapshot import views
from console.core.supervision import state_machine
from console.core.supervision.role_codec import RoleObservation, decode_observation
from console.core.supervision.state_machine import RoleHistory
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_number, as_text

MAX_SNAPSHOT_EVENTS = 200
MIN_BUSY_TASK_AGE_S = 10.0
"""Minimum age in seconds of a task in work that is shown beside the worker."""
NOT_OBSERVED_REASON = "nobody has looked yet"


class MonitorInputs(Record, frozen=True):
    """The history of one monitor, and its judgement of it."""

    name: str
    every_s: float
    history: Sequence[Sample] = ()
    """Oldest first."""
    health: Health = Health(HealthState.UNKNOWN)
    result: str = ""
    timeout_s: float = 0.0

    @property
    def last_sample(self) -> Sample | None:
        return self.history[-1] if self.history else None


class SnapshotInputs(Record, frozen=True):
    """The input of `build_snapshot`."""

    host: str
    box: str
    queue_url: str
    roles: tuple[Role, ...]
    monitors: Mapping[str, MonitorInputs]
    events: Sequence[Event] = ()
    """Oldest first."""
    observed_roles: Mapping[str, RoleObservation] | None = None
    """The caller's own observation; None: use the worker monitor's newest sample."""
    daemon: DaemonView = DaemonView()
    baseline: BaselineView = BaselineView()
    open_alerts: tuple[Alert, ...] | None = None
    """The open alerts; None: fold them from `events`."""
    notices: tuple[str, ...] = field(default=())
    role_histories: Mapping[str, RoleHistory] | None = None
    """The folded history of each role, if already known; None: fold it from `events`."""
    queue_metrics: QueueMetrics | None = None
    """The metrics of the monitors' histories, if already known; None: compute them."""
    last_verdict_event: Event | None = None
    """The last change of the verdict, if already known; None: find it in `events`."""


def build_snapshot(inputs: SnapshotInputs, now: Moment) -> Snapshot:
    """Return the snapshot of `inputs` at `now`."""
    monitors = tuple(_build_monitor_view(monitor, now) for monitor in inputs.monitors.values())
    health = {view.name: view.health for view in monitors}
    histories = {name: monitor.history for name, monitor in inputs.monitors.items()}
    switched_off = Health(HealthState.OFF, "switched off")
    queue_metrics = (
        compute_queue_metrics(histories) if inputs.queue_metrics is None else inputs.queue_metrics
    )
    known_states = (HealthState.OK, HealthState.FAILING)
    reporting = {name for name, monitor in health.items() if monitor.state in known_states}
    observations, unseen_reason = _observed_roles(inputs, health.get("worker"))
    roles = tuple(
        _build_role_view(
            role,
            observations.get(role.name, unseen_reason),
            _fold_role_history(inputs, role),
            queue_metrics,
            reporting,
            now,
        )
        for role in inputs.roles
    )
    monitors = tuple(_clear_outdated_failure(view, roles) for view in monitors)
    health = {view.name: view.health for view in monitors}
    judgement = verdict.compute_judgement(roles, monitors, inputs.daemon, now)
    open_alerts = (
        fold_open_alerts(inputs.events) if inputs.open_alerts is None else inputs.open_alerts
    )
    snapshot = Snapshot(
        host=inputs.host,
        box=inputs.box,
        moment=now,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        follows=judgement.consequences,
        root_cause=judgement.root_subject,
        since=_verdict_since(inputs, judgement.verdict),
        roles=roles,
        queue=views.build_queue_view(
            inputs.queue_url,
            queue_metrics,
            health.get("queue", switched_off),
            now,
            _idle_reason(roles),
        ),
        watchdog=views.build_watchdog_view(
            histories.get("watchdog", ()), health.get("watchdog", switched_off), now
        ),
        pipeline=views.build_pipeline_view(
            histories.get("pipeline", ()), health.get("pipeline", switched_off), now
        ),
        baseline=inputs.baseline,
        monitors=monitors,
        events=tuple(inputs.events[-MAX_SNAPSHOT_EVENTS:]),
        daemon=inputs.daemon,
        alerts=open_alerts,
        notices=inputs.notices,
    )
    if not open_alerts:
        return snapshot
    return replace(snapshot, alerts=update_reasons(open_alerts, detect_alerts(snapshot)))


def _clear_outdated_failure(view: MonitorView, roles: Sequence[RoleView]) -> MonitorView:
    """Return `view`, or an OK view if it reports on a watchdog that has since been replaced."""
    role = next((role_view for role_view in roles if role_view.role.name == view.name), None)
    failing = view.name == "watchdog" and view.health.state is HealthState.FAILING
    if not failing or role is None or role.instance_count < role.role.count or view.last is None:
        return view
    if role.since is None or role.since.since(view.last.moment) <= 0:
        return view
    return replace(view, health=Health(HealthState.OK, "a new process runs since the last look"))


def _idle_reason(roles: Sequence[RoleView]) -> str:
    """Return why no task is taken now, by the worker's state; "" if it works or may work."""
    worker = next((view for view in roles if view.role.name == "worker"), None)
    if worker is None or worker.state in (RoleState.READY, RoleState.RUNNING, RoleState.UNKNOWN):
        return ""
    absent = worker.state in (RoleState.STOPPED, RoleState.BACKOFF)
    return f"the worker is {'down' if absent else worker.state.value.lower()}"


def _observed_roles(
    inputs: SnapshotInputs, worker_health: Health | None
) -> tuple[Mapping[str, RoleObservation], str]:
    """Return the observed roles, and the reason why any other role is unknown."""
    if inputs.observed_roles is not None:
        return inputs.observed_roles, NOT_OBSERVED_REASON
    if worker_health is not None and worker_health.state in (HealthState.OFF, HealthState.OVERDUE):
        return {}, f"the worker monitor is {worker_health.state}: {worker_health.reason}"
    monitor = inputs.monitors.get("worker")
    if (
        monitor is not None
        and monitor.last_sample is not None
        and monitor.last_sample.error is not None
    ):
        return {}, f"could not look: {monitor.last_sample.error}"
    return last_observed_roles(monitor.history if monitor else ()), NOT_OBSERVED_REASON


def _build_monitor_view(inputs: MonitorInputs, now: Moment) -> MonitorView:
    last = inputs.last_sample
    health = verdict.check_overdue(
        inputs.health, inputs.history, inputs.every_s, now, inputs.timeout_s
    )
    off = health.state is HealthState.OFF
    return MonitorView(
        name=inputs.name,
        every_s=inputs.every_s,
        health=health,
        last=last,
        next_run=None if off or last is None else last.moment.plus(inputs.every_s),
        result=inputs.result,
    )


def last_observed_roles(history: Sequence[Sample]) -> dict[str, RoleObservation]:
    """Return the roles of the worker monitor's newest sample without an error."""
    for sample in reversed(history):
        if sample.error is None:
            try:
                roles = sample.data["roles"]
                return {name: decode_observation(name, data) for name, data in roles.items()}
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
    return {}


def _build_role_view(
    role: Role,
    observed: RoleObservation | str,
    role_history: RoleHistory,
    queue_metrics: QueueMetrics,
    reporting_monitors: Collection[str],
    now: Moment,
) -> RoleView:
    proof_of_work = queue_metrics.proofs_of_work.get(role.name)
    if isinstance(observed, str):
        return RoleView(role, RoleState.UNKNOWN, observed)
    stall_evidence = _stall_evidence(role, observed, queue_metrics, reporting_monitors, now)
    state, reason = state_machine.derive_state(
        role, role_history, observed.instances, observed.lease, proof_of_work, stall_evidence, now
    )
    if state in (RoleState.READY, RoleState.RUNNING) and (
        busy_text := _busy_text(role, observed, queue_metrics, now)
    ):
        reason = busy_text
    decision = state_machine.decide_restart(
        role, role_history, observed.instances, observed.lease, now
    )
    first_instance = observed.instances[0] if observed.instances else None
    return RoleView(
        role=role,
        state=state,
        reason=reason,
        since=first_instance.root.started if first_instance else _absent_since(role_history),
        instances=observed.instances,
        surplus=frozenset(instance.identity for instance in find_surplus(role, observed.instances)),
        lease=observed.lease,
        token=next(
            (instance.token for instance in observed.instances if instance.token is not None), None
        ),
        usage=observed.usage,
        restarts=state_machine.count_recent_restarts(role, role_history, now),
        automatic_restarts=state_machine.count_recent_starts(role, role_history, now),
        restarts_total=role_history.restart_count,
        retry_at=decision.due_at,
        last_death=role_history.last_death,
        last_proof_of_work=proof_of_work,
        look_alikes=observed.look_alikes,
    )


def _fold_role_history(inputs: SnapshotInputs, role: Role) -> RoleHistory:
    """Return the folded history of the role's events."""
    if inputs.role_histories is not None:
        return inputs.role_histories.get(role.name, RoleHistory())
    return state_machine.fold_events(
        (event for event in inputs.events if event.role == role.name), role
    )


def _absent_since(role_history: RoleHistory) -> Moment | None:
    return role_history.last_death.moment if role_history.last_death else None


def _stall_evidence(
    role: Role,
    observed: RoleObservation,
    queue_metrics: QueueMetrics,
    reporting_monitors: Collection[str],
    now: Moment,
) -> str | None:
    """Return the evidence that running workers do no work, or None.

    None for any role but `worker`: no monitor sees the work that other roles are given.
    """
    if role.name != "worker" or not observed.instances:
        return None
    started = max(
        (instance.root.started for instance in observed.instances), key=lambda moment: moment.tick
    )
    return stall_detection.find_stall_evidence(
        queue_metrics.stall_signals,
        reporting_monitors,
        queue_metrics.proofs_of_work.get(role.name),
        started,
        now,
    )


def _busy_text(
    role: Role, observed: RoleObservation, queue_metrics: QueueMetrics, now: Moment
) -> str:
    """Return the worker's long-running task as text, or "" if there is none.

    The task must be at least `MIN_BUSY_TASK_AGE_S` old and no older than the worker: an older one
    was taken by another worker. The server queues a task again when its lease runs out, and the
    worker may still be working on it.
    """
    sample = queue_metrics.last_answered
    if role.name != "worker" or sample is None or not queue_metrics.is_current:
        return ""
    for name, key in (("lease_task", "oldest_lease_s"), ("overrun_task", "overrun_s")):
        age_s = as_number(sample.data.get(key))
        if age_s is None:
            continue
        age_s += now.since(sample.moment)
        oldest_uptime_s = max(instance.uptime(now) for instance in observed.instances)
        if MIN_BUSY_TASK_AGE_S <= age_s <= oldest_uptime_s:
            kind = (as_text(sample.data.get(name), 60) or "a task").split(" ")[0]
            return f"busy: {sanitize_text(kind)} for {format_duration(age_s)}"
    return ""


def _verdict_since(inputs: SnapshotInputs, verdict: Verdict) -> Moment | None:
    """Return when the verdict changed to `verdict` by the event log, or None."""
    changes = (
        event for event in reversed(inputs.events) if event.kind is EventKind.VERDICT_CHANGED
    )
    last_change = inputs.last_verdict_event or next(changes, None)
    is_current = last_change is not None and last_change.data.get("verdict") == verdict.value
    return last_change.moment if last_change is not None and is_current else None
