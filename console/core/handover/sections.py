"""The sections of a hand-over that say how things stand, each claim with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.core.baseline.run_document import conclusion
from console.core.explain.death_case import BORN, who
from console.core.handover.model import Claim, Job, Metric, Times
from console.core.metrics.queue_metrics import said
from console.core.metrics.task_outcomes import quoted
from console.core.model import (
    Event,
    EventKind,
    HealthState,
    Instance,
    LeaseState,
    MetricView,
    MonitorView,
    RoleState,
    RoleView,
    Snapshot,
)
from console.core.supervision.restarts import GONE, restarts
from console.core.text.formatting import duration, visible

MONITORS = "monitors"
TITLES = {
    "canary": "Canary", "worker": "Worker monitor", "pipeline": "Realtime pipeline",
    "queue": "Queue monitor", "watchdog": "Watchdog monitor",
}  # fmt: skip
METRICS = {
    "success_rate": "success rate", "latency_s": "task latency", "uptime": "worker uptime",
    "queue_size": "queue size", "restarts": "restart count",
}  # fmt: skip
SEEN_BY = {
    "success_rate": "queue", "latency_s": "canary", "uptime": "worker", "queue_size": "queue",
    "restarts": "worker",
}  # fmt: skip
_STATES = {HealthState.OVERDUE: "overdue", HealthState.UNKNOWN: "blind", HealthState.OFF: "off"}


def newest(events: Sequence[Event], *kinds: EventKind, role: str | None = None) -> tuple[int, ...]:
    """The last line of the ledger of these kinds, as evidence."""
    for event in reversed(events):
        if event.kind in kinds and role in (None, event.role):
            return (event.id,)
    return ()


# --- background jobs ------------------------------------------------------------------------


def jobs(snapshot: Snapshot, events: Sequence[Event], times: Times) -> Iterator[Job]:
    """The daemon that runs the monitors, and each of them."""
    daemon, here = snapshot.daemon, snapshot.daemon.here
    ids = newest(events, EventKind.DAEMON_STARTED)
    if daemon.running and not here:
        words = f"its launcher has ended, as it should; the daemon runs on as PID {daemon.pid}"
        if daemon.since:
            words += f", since {times.at(daemon.since)}"
    else:
        words = "a console runs them while it is open" if here else daemon.reason
    state = "running" if daemon.running or here else "not running"
    beat = times.ago(daemon.heartbeat) if daemon.heartbeat else ""
    yield Job("Monitors' daemon", state, "", beat, "", Claim(words, ids))
    for view in snapshot.monitors:
        yield _job(view, times)


def _job(view: MonitorView, times: Times) -> Job:
    health, last = view.health, view.last
    words = health.reason or view.result
    if health.state in (HealthState.OK, HealthState.FAILING):
        words = f"{health.state.value}: {words}" if words else health.state.value
    words = visible(words, 300)
    if view.name == "canary" and last is not None and (output := said(last)):
        words += f"; its output: {output}"
    looks = (last.id,) if last is not None and last.id else ()
    return Job(
        name=TITLES.get(view.name, view.name),
        state=_STATES.get(health.state, "running"),
        every=duration(view.every_s),
        last=times.ago(last.moment) if last else "never",
        next=times.at(view.next_run) if view.next_run else "",
        found=Claim(words, looks=looks),
    )


# --- roles ----------------------------------------------------------------------------------


def roles(snapshot: Snapshot, events: Sequence[Event], times: Times) -> Iterator[Claim]:
    """Every role but the watchdog: how many run, which, since when, and their last death."""
    for view in snapshot.roles:
        if view.role.name != "watchdog":
            yield from role(view, events, times)


def role(view: RoleView, events: Sequence[Event], times: Times) -> Iterator[Claim]:
    name, wanted = view.role.name, view.role.count
    reason = visible(view.reason, 300)
    if view.state is RoleState.UNKNOWN:
        yield Claim(f"{name}: not known: {reason}")
        return
    if view.found == wanted == 1:
        about = _instance(view.instances[0], view, events, times)
        work = f"; {reason}" if reason else ""
        yield Claim(f"Exactly one {name} runs: {about.text}{work}", about.events)
    else:
        word = "too many" if view.found > wanted else "too few" if view.found < wanted else "right"
        said = f" ({view.state.value.lower()}: {reason})" if view.found < wanted and reason else ""
        ids = newest(events, EventKind.PARKED, EventKind.DIED, role=name)
        yield Claim(f"{name}: {view.found} of {wanted}, {word}{said}", ids if said else ())
        for one in view.instances:
            about = _instance(one, view, events, times)
            yield Claim(f"{name}: {about.text}", about.events)
    if view.lease.state not in (LeaseState.HELD, LeaseState.FREE):
        yield Claim(f"{name}: its lease is {view.lease.state.value}: {visible(view.lease.reason)}")
    if (death := view.last_death) is not None:
        words = f"{name}: died last at {times.at(death.moment)}: {visible(death.reason, 200)}"
        yield Claim(words, (death.id,) if death.id else ())
    if again := [event for event in restarts(events) if event.role == name]:
        words = f"{name}: {_times(len(again), 'restart')}, the last at {times.at(again[-1].moment)}"
        yield Claim(words, tuple(event.id for event in again))


def _times(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def _instance(one: Instance, view: RoleView, events: Sequence[Event], times: Times) -> Claim:
    """`PID 40864, up 4h10m since 02:15:12, started by policy under token 3`."""
    born = next(
        (e for e in reversed(events) if e.kind in BORN and e.identity == one.identity), None
    )
    words = [f"PID {one.pid}", f"up {duration(one.uptime(times.now))}"]
    words[-1] += f" since {times.at(one.root.started)}"
    if len(one.processes) > 1:
        words.append(f"a tree of {len(one.processes)} processes")
    if one.leased:
        by = f" by {who(born.actor)}" if born is not None and born.actor else ""
        words.append(f"started{by} under token {one.token}")
    else:
        words.append("adopted: somebody else started it")
        if one.launcher_ended:
            words.append("its launcher has ended, it runs on")
    if one.identity in view.surplus:
        words.append("surplus")
    return Claim(", ".join(words), (born.id,) if born is not None and born.id else ())


# --- watchdog, pipeline, queue --------------------------------------------------------------


def watchdog(snapshot: Snapshot, events: Sequence[Event], times: Times) -> Iterator[Claim]:
    """Its process as a role, its heartbeat as its monitor sees it."""
    view, looks = snapshot.watchdog, _looks(snapshot, "watchdog")
    if (as_role := snapshot.role("watchdog")) is not None:
        yield from role(as_role, events, times)
    if view.heartbeat is not None:
        yield Claim(f"Last heartbeat {times.ago(view.heartbeat)}", looks=looks)
    if view.anomalies:
        yield Claim(f"It reports: {visible(', '.join(view.anomalies), 300)}", looks=looks)
    if view.state is not HealthState.OK:
        yield Claim(f"Judged {view.state.value}: {visible(view.reason, 300)}", looks=looks)


def pipeline(snapshot: Snapshot, times: Times) -> Iterator[Claim]:
    view, looks = snapshot.pipeline, _looks(snapshot, "pipeline")
    if view.generated is not None:
        how = "collected here" if view.mode == "collect" else "written by another program"
        yield Claim(f"Status {how}, {times.ago(view.generated)}", looks=looks)
    for name, value, word in view.channels[:20]:
        told = "?" if value is None else f"{value:g}"
        yield Claim(f"{visible(name, 60)}: {told}, {visible(word, 60)}", looks=looks)
    if view.anomalies:
        yield Claim(f"Anomalies: {visible(', '.join(view.anomalies), 300)}", looks=looks)
    if view.state is not HealthState.OK:
        yield Claim(f"Judged {view.state.value}: {visible(view.reason, 300)}", looks=looks)


def queue(snapshot: Snapshot, times: Times) -> Iterator[Claim]:
    view, looks = snapshot.queue, _looks(snapshot, "queue")
    if view.size is None:
        seen = f"; last answered {times.ago(view.seen)}" if view.seen else ""
        reason = visible(view.reason, 300) or "nobody has looked"
        yield Claim(f"Its size is not known: {reason}{seen}", looks=looks)
    else:
        done = "?" if view.completed is None else str(view.completed)
        work = "?" if view.inflight is None else str(view.inflight)
        yield Claim(f"{view.size} wait, {work} in work, {done} done", looks=looks)
    if view.success_rate is not None:
        yield Claim(f"Success rate {view.success_rate:.1f} % of what was seen to end", looks=looks)
    if view.failures:
        n, failed = view.last
        told = f"{failed} of the last {n} tasks failed" if n else "The last errors"
        yield Claim(f"{told}: {visible(quoted(view.failures, 5), 800)}", looks=looks)
    if view.note:
        yield Claim(f"Which tasks failed is not known in full: {view.note}", looks=looks)
    if view.anew_at is not None:
        yield Claim(f"{visible(view.anew, 300)}, {times.ago(view.anew_at)}", looks=looks)
    if view.latency_s is not None:
        words = f"The last canary came back after {view.latency_s:.2f} s"
        yield Claim(words, looks=_looks(snapshot, "canary"))


def _looks(snapshot: Snapshot, name: str) -> tuple[int, ...]:
    view = snapshot.monitor(name)
    return (view.last.id,) if view is not None and view.last is not None and view.last.id else ()


# --- the baseline ---------------------------------------------------------------------------


def baseline(snapshot: Snapshot, events: Sequence[Event], times: Times) -> Iterator[Claim]:
    """Where the run stands, in words."""
    view = snapshot.baseline
    began, ended = (
        newest(events, kind) for kind in (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
    )
    if view.state == "off":
        yield Claim("None is being collected", ended)
        return
    over = view.progress is not None and view.progress >= 1
    words = {"pass": "passed", "fail": "failed", "undecided": "not decided"}
    if view.state == "invalid":
        yield Claim(f"Invalid, it proves nothing: {visible(view.reason, 300)}", began)
    elif over:
        yield Claim(f"Complete: {words.get(conclusion(view), '?')}", began + ended)
    else:
        share = f"{100 * (view.progress or 0):.0f} %"
        verdict = conclusion(view)
        fails = ", and fails already" if verdict == "fail" else ", undecided so far"
        yield Claim(f"Collecting since {times.at(view.started)}, {share} of it{fails}", began)
    if view.checkpoint is not None and not over:
        yield Claim(f"Checkpoint at {times.at(view.checkpoint)}", began)
    if view.coverage is not None:
        looks = () if over else (*_looks(snapshot, "worker"), *_looks(snapshot, "queue"))
        share = f"{100 * view.coverage:.1f} %"
        yield Claim(f"{share} of the time was observed", ended if over else (), looks)
    if view.gap is not None:
        yield Claim(f"The longest gap: {duration(view.gap[1])} from {times.at(view.gap[0])}")


def metrics(snapshot: Snapshot, events: Sequence[Event]) -> Iterator[Metric]:
    """The five metrics: with the ledger's lines that decide them, and the newest look at them.

    Of a run that is over the ledger's last line has the rest.
    """
    over = snapshot.baseline.progress is not None and snapshot.baseline.progress >= 1
    for view in snapshot.baseline.metrics:
        unit = f" {view.unit}" if view.unit else ""
        value = view.figure + (unit if view.value is not None else "")
        ids = _evidence(view, snapshot, events)
        if over and not ids:
            ids = newest(events, EventKind.BASELINE_ENDED)
        looks = () if over or ids else _looks(snapshot, SEEN_BY.get(view.name, ""))
        note = Claim(visible(view.note, 300), ids, looks)
        name = METRICS.get(view.name, view.name)
        yield Metric(name, value, view.target + unit, view.verdict, view.n, note)


def _evidence(view: MetricView, snapshot: Snapshot, events: Sequence[Event]) -> tuple[int, ...]:
    began, ends = snapshot.baseline.started, snapshot.baseline.checkpoint
    if view.name not in ("restarts", "uptime") or not began or not ends or view.verdict == "pass":
        return ()
    inside = [
        event
        for event in events
        if event.role == "worker"
        and not (began.later_than(event.moment) or event.moment.later_than(ends))
    ]
    if view.name == "restarts":
        return tuple(event.id for event in restarts(inside))
    return tuple(event.id for event in inside if event.kind in GONE)
