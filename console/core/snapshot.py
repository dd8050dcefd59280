"""Everything known about a box, composed into the one snapshot that every view is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.core import health as judging
from console.core import supervision, views
from console.core.alerts import standing
from console.core.instances import surplus
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
from console.core.record import Seen, decode
from console.core.supervision import Memory

SHOWN_EVENTS = 200
NOBODY = "nobody has looked yet"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


def compose(facts: Facts, now: Moment) -> Snapshot:
    """The snapshot of `facts` at `now`."""
    monitors = tuple(_monitor(one, now) for one in facts.monitors.values())
    health = {view.name: view.health for view in monitors}
    histories = {name: one.history for name, one in facts.monitors.items()}
    queue_samples = [*histories.get("queue", ()), *histories.get("canary", ())]
    unknown = Health(HealthState.OFF, "switched off")
    worked = evidence(histories)
    seen, unseen = _seen(facts, health.get("worker"))
    roles = tuple(
        _role(role, seen.get(role.name, unseen), facts.events, worked.get(role.name), health, now)
        for role in facts.roles
    )
    verdict, reasons = judging.verdict(roles, monitors, facts.daemon, now)
    return Snapshot(
        host=facts.host,
        box=facts.box,
        moment=now,
        verdict=verdict,
        reasons=reasons,
        since=_since(facts.events, verdict),
        roles=roles,
        queue=views.queue_view(facts.queue_url, queue_samples, health.get("queue", unknown), now),
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
        alerts=standing(facts.events) if facts.alerts is None else facts.alerts,
        notices=facts.notices,
    )


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
    health = judging.timely(facts.health, last, facts.every_s, now, facts.timeout_s)
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
    events: Sequence[Event],
    worked: Moment | None,
    health: Mapping[str, Health],
    now: Moment,
) -> RoleView:
    ledger = [event for event in events if event.role == role.name]
    memory = supervision.remember(ledger, role)
    if isinstance(seen, str):
        return RoleView(role, RoleState.UNKNOWN, seen)
    state, reason = supervision.state(
        role, memory, seen.instances, seen.lease, worked, _stalled(role, health), now
    )
    decision = supervision.repair(role, memory, seen.instances, seen.lease, now)
    first = seen.instances[0] if seen.instances else None
    return RoleView(
        role=role,
        state=state,
        reason=reason,
        since=first.root.started if first else _since_absent(memory),
        instances=seen.instances,
        surplus=tuple(one.identity for one in surplus(role, seen.instances)),
        lease=seen.lease,
        token=next((one.token for one in seen.instances if one.token is not None), None),
        usage=seen.usage,
        restarts=supervision.recent_restarts(role, memory, now),
        restarts_total=max(0, memory.starts - 1),
        retry_at=decision.at,
        last_death=memory.died,
    )


def _since_absent(memory: Memory) -> Moment | None:
    return memory.died.moment if memory.died else None


def _stalled(role: Role, health: Mapping[str, Health]) -> str | None:
    """Evidence that a living worker takes no task: the canary was accepted and not taken."""
    canary = health.get("canary")
    if role.name != "worker" or canary is None or canary.state is not HealthState.FAILING:
        return None
    return f"canary {canary.reason}" if "taken" in canary.reason else None


def evidence(histories: Mapping[str, Sequence[Sample]]) -> dict[str, Moment]:
    """When each role was last seen to do its work, rather than to exist."""
    found: dict[str, Moment] = {}
    for sample in reversed(histories.get("canary", ())):
        if sample.data.get("ok") is True:
            found["worker"] = sample.moment
            break
    if (moved := _completed_more(histories.get("queue", ()))) is not None:
        known = found.get("worker")
        found["worker"] = moved if known is None or moved.at > known.at else known
    for sample in reversed(histories.get("queue", ())):
        if sample.error is None and sample.data.get("problem") is None:
            found["queue"] = sample.moment
            break
    for name, key in (("watchdog", "heartbeat_at"), ("pipeline", "generated_at")):
        for sample in reversed(histories.get(name, ())):
            at = sample.data.get(key)
            if isinstance(at, int | float):
                found[name] = Moment(float(at))
                break
    return found


def _completed_more(queue: Sequence[Sample]) -> Moment | None:
    """The newest look at which more tasks had been finished than at the one before."""
    for index in range(len(queue) - 1, 0, -1):
        before, after = queue[index - 1].data.get("completed"), queue[index].data.get("completed")
        if isinstance(before, int) and isinstance(after, int) and after > before:
            return queue[index].moment
    return None


def _since(events: Sequence[Event], verdict: Verdict) -> Moment | None:
    """When the ledger says that the verdict became what it is."""
    for event in reversed(events):
        if event.kind is EventKind.VERDICT_CHANGED:
            return event.moment if event.data.get("verdict") == verdict.value else None
    return None
