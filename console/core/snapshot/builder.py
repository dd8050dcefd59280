"""Everything known about a box, composed into the one snapshot that every view is drawn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field

from console.core import verdict as judging
from console.core.alerts import current, findings, standing
from console.core.frozen import frozen, replace
from console.core.metrics import stall_detection
from console.core.metrics.queue_metrics import Work, work
from console.core.model import (
    Alert,
    BaselineView,
    DaemonView,
    Event,
    EventKind,
    Health,
    HealthState,
    Moment,
    MonitorView,
    Role,
    RoleState,
    RoleView,
    Sample,
    Snapshot,
    Verdict,
)
from console.core.processes.instances import surplus
from console.core.snapshot import views
from console.core.supervision import state_machine
from console.core.supervision.role_codec import Seen, decode
from console.core.supervision.state_machine import Memory
from console.core.text.formatting import duration, visible
from console.core.text.json_values import number, text

SHOWN_EVENTS = 200
BUSY_S = 10.0
"""A task that is in work for so long is named beside the worker."""
NOBODY = "nobody has looked yet"


@frozen
class MonitorFacts:
    """One monitor's history and what it makes of it."""

    name: str
    every_s: float
    history: Sequence[Sample] = ()
    """Oldest first."""
    health: Health = Health(HealthState.UNKNOWN)
    result: str = ""
    timeout_s: float = 0.0

    @property
    def last(self) -> Sample | None:
        return self.history[-1] if self.history else None


@frozen
class Facts:
    """What a snapshot is composed from."""

    host: str
    box: str
    queue_url: str
    roles: tuple[Role, ...]
    monitors: Mapping[str, MonitorFacts]
    events: Sequence[Event] = ()
    """Oldest first."""
    seen: Mapping[str, Seen] | None = None
    """A look of our own; None: the worker monitor's newest sample is what there is."""
    daemon: DaemonView = DaemonView()
    baseline: BaselineView = BaselineView()
    alerts: tuple[Alert, ...] | None = None
    """What stands; None: what `events` say."""
    notices: tuple[str, ...] = field(default=())
    memories: Mapping[str, Memory] | None = None
    """What each role's ledger adds up to, where it is known already; None: what `events` say."""
    work: Work | None = None
    """What the histories add up to, where it is known already."""
    turned: Event | None = None
    """When the verdict last changed, where it is known already; None: what `events` say."""


def compose(facts: Facts, now: Moment) -> Snapshot:
    """The snapshot of `facts` at `now`."""
    monitors = tuple(_monitor(one, now) for one in facts.monitors.values())
    health = {view.name: view.health for view in monitors}
    histories = {name: one.history for name, one in facts.monitors.items()}
    unknown = Health(HealthState.OFF, "switched off")
    done = work(histories) if facts.work is None else facts.work
    known = (HealthState.OK, HealthState.FAILING)
    fresh = {name for name, one in health.items() if one.state in known}
    seen, unseen = _seen(facts, health.get("worker"))
    roles = tuple(
        _role(role, seen.get(role.name, unseen), _memory(facts, role), done, fresh, now)
        for role in facts.roles
    )
    monitors = tuple(_outlived(view, roles) for view in monitors)
    health = {view.name: view.health for view in monitors}
    told = judging.judgement(roles, monitors, facts.daemon, now)
    stand = standing(facts.events) if facts.alerts is None else facts.alerts
    snapshot = Snapshot(
        host=facts.host,
        box=facts.box,
        moment=now,
        verdict=told.verdict,
        reasons=told.reasons,
        follows=told.follows,
        root=told.root,
        since=_since(facts, told.verdict),
        roles=roles,
        queue=views.queue_view(
            facts.queue_url, done, health.get("queue", unknown), now, _idle(roles)
        ),
        watchdog=views.watchdog_view(
            histories.get("watchdog", ()), health.get("watchdog", unknown), now
        ),
        pipeline=views.pipeline_view(
            histories.get("pipeline", ()), health.get("pipeline", unknown), now
        ),
        baseline=facts.baseline,
        monitors=monitors,
        events=tuple(facts.events[-SHOWN_EVENTS:]),
        daemon=facts.daemon,
        alerts=stand,
        notices=facts.notices,
    )
    if not stand:
        return snapshot
    return replace(snapshot, alerts=current(stand, findings(snapshot)))


def _outlived(view: MonitorView, roles: Sequence[RoleView]) -> MonitorView:
    """`view`, unless it tells of a watchdog that is not the one that runs now."""
    role = next((one for one in roles if one.role.name == view.name), None)
    failing = view.name == "watchdog" and view.health.state is HealthState.FAILING
    if not failing or role is None or role.found < role.role.count or view.last is None:
        return view
    if role.since is None or role.since.since(view.last.moment) <= 0:
        return view
    return replace(view, health=Health(HealthState.OK, "a new process runs since the last look"))


def _idle(roles: Sequence[RoleView]) -> str:
    """Why no task is taken now, by the worker's state; empty where it works or may."""
    worker = next((view for view in roles if view.role.name == "worker"), None)
    if worker is None or worker.state in (RoleState.READY, RoleState.RUNNING, RoleState.UNKNOWN):
        return ""
    absent = worker.state in (RoleState.STOPPED, RoleState.BACKOFF)
    return f"the worker is {'down' if absent else worker.state.value.lower()}"


def _seen(facts: Facts, watched: Health | None) -> tuple[Mapping[str, Seen], str]:
    """The roles as they were seen, and why one that is not among them is unknown."""
    if facts.seen is not None:
        return facts.seen, NOBODY
    if watched is not None and watched.state in (HealthState.OFF, HealthState.OVERDUE):
        return {}, f"the worker monitor is {watched.state}: {watched.reason}"
    monitor = facts.monitors.get("worker")
    if monitor is not None and monitor.last is not None and monitor.last.error is not None:
        return {}, f"could not look: {monitor.last.error}"
    return last_seen(monitor.history if monitor else ()), NOBODY


def _monitor(facts: MonitorFacts, now: Moment) -> MonitorView:
    last = facts.last
    health = judging.timely(facts.health, facts.history, facts.every_s, now, facts.timeout_s)
    off = health.state is HealthState.OFF
    return MonitorView(
        name=facts.name,
        every_s=facts.every_s,
        health=health,
        last=last,
        next_run=None if off or last is None else last.moment.plus(facts.every_s),
        result=facts.result,
    )


def last_seen(history: Sequence[Sample]) -> dict[str, Seen]:
    """The roles of the worker monitor's newest look that could look."""
    for sample in reversed(history):
        if sample.error is None:
            try:
                roles = sample.data["roles"]
                return {name: decode(name, data) for name, data in roles.items()}
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
    return {}


def _role(
    role: Role,
    seen: Seen | str,
    memory: Memory,
    done: Work,
    fresh: Collection[str],
    now: Moment,
) -> RoleView:
    worked = done.proofs.get(role.name)
    if isinstance(seen, str):
        return RoleView(role, RoleState.UNKNOWN, seen)
    stalled = _stalled(role, seen, done, fresh, now)
    state, reason = state_machine.state(
        role, memory, seen.instances, seen.lease, worked, stalled, now
    )
    if state in (RoleState.READY, RoleState.RUNNING) and (busy := _busy(role, seen, done, now)):
        reason = busy
    decision = state_machine.repair(role, memory, seen.instances, seen.lease, now)
    first = seen.instances[0] if seen.instances else None
    return RoleView(
        role=role,
        state=state,
        reason=reason,
        since=first.root.started if first else _since_absent(memory),
        instances=seen.instances,
        surplus=frozenset(one.identity for one in surplus(role, seen.instances)),
        lease=seen.lease,
        token=next((one.token for one in seen.instances if one.token is not None), None),
        usage=seen.usage,
        restarts=state_machine.recent_restarts(role, memory, now),
        automatic=state_machine.recent_starts(role, memory, now),
        restarts_total=memory.restarted,
        retry_at=decision.at,
        last_death=memory.died,
        worked=worked,
        others=seen.others,
    )


def _memory(facts: Facts, role: Role) -> Memory:
    """What the role's ledger adds up to."""
    if facts.memories is not None:
        return facts.memories.get(role.name, Memory())
    return state_machine.remember((one for one in facts.events if one.role == role.name), role)


def _since_absent(memory: Memory) -> Moment | None:
    return memory.died.moment if memory.died else None


def _stalled(role: Role, seen: Seen, done: Work, fresh: Collection[str], now: Moment) -> str | None:
    """Evidence that living workers do no work; of other roles nobody sees what they are given."""
    if role.name != "worker" or not seen.instances:
        return None
    started = max((one.root.started for one in seen.instances), key=lambda moment: moment.tick)
    return stall_detection.evidence(done.signs, fresh, done.proofs.get(role.name), started, now)


def _busy(role: Role, seen: Seen, done: Work, now: Moment) -> str:
    """What the worker has been doing for longer than a look takes, if it took that task itself.

    A task whose lease ran out is queued again by the server, and may still be in work.
    """
    look = done.answered
    if role.name != "worker" or look is None or not done.current:
        return ""
    for name, key in (("lease_task", "oldest_lease_s"), ("overrun_task", "overrun_s")):
        held = number(look.data.get(key))
        if held is None:
            continue
        held += now.since(look.moment)
        own = max(one.uptime(now) for one in seen.instances)
        if BUSY_S <= held <= own:
            kind = (text(look.data.get(name), 60) or "a task").split(" ")[0]
            return f"busy: {visible(kind)} for {duration(held)}"
    return ""


def _since(facts: Facts, verdict: Verdict) -> Moment | None:
    """When the ledger says that the verdict became what it is."""
    told = (one for one in reversed(facts.events) if one.kind is EventKind.VERDICT_CHANGED)
    turned = facts.turned or next(told, None)
    same = turned is not None and turned.data.get("verdict") == verdict.value
    return turned.moment if turned is not None and same else None
