"""The scripted night as a sequence of scenes for the animation.

The scenes: healthy, a death, the back-off, the restart, a look at the past, the exit.
"""

from __future__ import annotations

from console.core.model.roles import Lease, LeaseState, RoleState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import Alert, Severity
from console.core.records import Record, replace
from screenshots.generator.fixture_night import DOWN_REASON, healthy_snapshot, moment_ago

DIED_AT = moment_ago(11_243.0)
"""02:14:07: the first worker is killed."""


class Scene(Record, frozen=True):
    """One scene: the snapshot to publish, the keys to press then, and its duration in seconds."""

    snapshot: Snapshot
    keys: tuple[str, ...] = ()
    duration_s: float = 2.5


def snapshot_before_death() -> Snapshot:
    """Return the snapshot two hours after the start, before any incident."""
    healthy, now = healthy_snapshot(), DIED_AT.plus(-60.0)
    role = healthy.roles[0]
    first = replace(
        role.instances[0].root,
        identity=replace(role.instances[0].identity, pid=39120, ticks=40_012_300),
        started=moment_ago(19_140.0),
    )
    instance = replace(role.instances[0], processes=(first,), token=40)
    held = Lease(LeaseState.HELD, None, (39120,))
    view = replace(
        role,
        instances=(instance,),
        lease=held,
        token=40,
        usage={39120: (1.2, 46_137_344)},
        restarts_total=0,
        last_death=None,
    )
    return _snapshot_at(
        replace(healthy, roles=(view, healthy.roles[1]), since=moment_ago(19_131.0)), now
    )


def snapshot_after_death() -> Snapshot:
    """Return the snapshot one second after the death of the worker, during the back-off."""
    before = snapshot_before_death()
    died = healthy_snapshot().roles[0].last_death
    view = replace(
        before.roles[0],
        state=RoleState.BACKOFF,
        instances=(),
        lease=Lease(LeaseState.FREE),
        usage={},
        restarts=0,
        reason="restart 1 of 3",
        retry_at=DIED_AT.plus(5.0),
        last_death=died,
    )
    alert = Alert("worker.down", Severity.CRITICAL, "worker is down", DOWN_REASON, DIED_AT)
    down = replace(
        before,
        verdict=Verdict.DOWN,
        since=DIED_AT,
        reasons=(DOWN_REASON,),
        roles=(view, before.roles[1]),
        alerts=(alert,),
        events=healthy_snapshot().events,
    )
    return _snapshot_at(down, DIED_AT.plus(1.0))


def snapshot_after_repair() -> Snapshot:
    """Return the snapshot after the restart by policy, once the worker has done a task."""
    healthy = healthy_snapshot()
    view = replace(healthy.roles[0], restarts=1)
    return _snapshot_at(replace(healthy, roles=(view, healthy.roles[1])), moment_ago(11_200.0))


def build_scenes() -> tuple[Scene, ...]:
    """Return all scenes, in order."""
    return (
        Scene(snapshot_before_death()),
        Scene(snapshot_after_death(), duration_s=3.0),
        Scene(snapshot_after_repair(), ("home", "down")),
        Scene(snapshot_after_repair(), ("w",), 4.0),
        Scene(healthy_snapshot(), ("escape",), 2.0),
        Scene(healthy_snapshot(), ("comma",), 3.0),
        Scene(healthy_snapshot(), ("escape", "k"), 4.0),
        Scene(healthy_snapshot(), ("escape",), 1.5),
    )


def _snapshot_at(snapshot: Snapshot, now: Moment) -> Snapshot:
    """Return the snapshot as of another moment.

    Ages stay the same; events after that moment are dropped.
    """
    shift = snapshot.moment.at - now.at
    monitors = tuple(
        replace(
            monitor,
            last=monitor.last and replace(monitor.last, moment=monitor.last.moment.plus(-shift)),
            next_run=monitor.next_run and monitor.next_run.plus(-shift),
        )
        for monitor in snapshot.monitors
    )
    queue, watchdog, pipeline = snapshot.queue, snapshot.watchdog, snapshot.pipeline
    return replace(
        snapshot,
        moment=now,
        monitors=monitors,
        queue=replace(
            queue,
            seen=queue.seen and queue.seen.plus(-shift),
            last_finished=queue.last_finished and queue.last_finished.plus(-shift),
        ),
        watchdog=replace(
            watchdog, heartbeat=watchdog.heartbeat and watchdog.heartbeat.plus(-shift)
        ),
        pipeline=replace(
            pipeline, generated=pipeline.generated and pipeline.generated.plus(-shift)
        ),
        events=tuple(event for event in snapshot.events if event.moment.at <= now.at),
        baseline=replace(snapshot.baseline, state="off", metrics=())
        if now.at < moment_ago(8928.0).at
        else snapshot.baseline,
    )
