"""The scripted night as a story: calm, a death, the back-off, the repair, a look back, a leave."""

from __future__ import annotations

from console.core.frozen import frozen, replace
from console.core.model import (
    Alert,
    Lease,
    LeaseState,
    Moment,
    RoleState,
    Severity,
    Snapshot,
    Verdict,
)
from screenshots.generator.fixture_night import DOWN, night, past

DIED = past(11_243.0)
"""02:14:07, at which the first worker is killed."""


@frozen
class Scene:
    """News, the keys that are pressed then, and for how many seconds it is shown."""

    snapshot: Snapshot
    keys: tuple[str, ...] = ()
    seconds: float = 2.5


def before() -> Snapshot:
    """Two hours after the start: nothing has happened yet."""
    calm, now = night(), DIED.plus(-60.0)
    role = calm.roles[0]
    first = replace(
        role.instances[0].root,
        identity=replace(role.instances[0].identity, pid=39120, ticks=40_012_300),
        started=past(19_140.0),
    )
    one = replace(role.instances[0], processes=(first,), token=40)
    held = Lease(LeaseState.HELD, None, (39120,))
    view = replace(
        role,
        instances=(one,),
        lease=held,
        token=40,
        usage={39120: (1.2, 46_137_344)},
        restarts_total=0,
        last_death=None,
    )
    return _at(replace(calm, roles=(view, calm.roles[1]), since=past(19_131.0)), now)


def killed() -> Snapshot:
    """The moment of its death, and the back-off."""
    calm = before()
    died = night().roles[0].last_death
    view = replace(
        calm.roles[0],
        state=RoleState.BACKOFF,
        instances=(),
        lease=Lease(LeaseState.FREE),
        usage={},
        restarts=0,
        reason="restart 1 of 3",
        retry_at=DIED.plus(5.0),
        last_death=died,
    )
    alert = Alert("worker.down", Severity.CRITICAL, "worker is down", DOWN, DIED)
    down = replace(
        calm,
        verdict=Verdict.DOWN,
        since=DIED,
        reasons=(DOWN,),
        roles=(view, calm.roles[1]),
        alerts=(alert,),
        events=night().events,
    )
    return _at(down, DIED.plus(1.0))


def repaired() -> Snapshot:
    """Started again by policy, and seen to work."""
    calm = night()
    view = replace(calm.roles[0], restarts=1)
    return _at(replace(calm, roles=(view, calm.roles[1])), past(11_200.0))


def story() -> tuple[Scene, ...]:
    """From calm to leaving."""
    return (
        Scene(before()),
        Scene(killed(), seconds=3.0),
        Scene(repaired(), ("home", "down")),
        Scene(repaired(), ("w",), 4.0),
        Scene(night(), ("escape",), 2.0),
        Scene(night(), ("comma",), 3.0),
        Scene(night(), ("escape", "k"), 4.0),
        Scene(night(), ("escape",), 1.5),
    )


def _at(snapshot: Snapshot, now: Moment) -> Snapshot:
    """The snapshot as it stood at a moment: its ages stay, its events are those until then."""
    shift = snapshot.moment.at - now.at
    monitors = tuple(
        replace(
            one,
            last=one.last and replace(one.last, moment=one.last.moment.plus(-shift)),
            next_run=one.next_run and one.next_run.plus(-shift),
        )
        for one in snapshot.monitors
    )
    queue, dog, pipe = snapshot.queue, snapshot.watchdog, snapshot.pipeline
    return replace(
        snapshot,
        moment=now,
        monitors=monitors,
        queue=replace(
            queue,
            seen=queue.seen and queue.seen.plus(-shift),
            finished=queue.finished and queue.finished.plus(-shift),
        ),
        watchdog=replace(dog, heartbeat=dog.heartbeat and dog.heartbeat.plus(-shift)),
        pipeline=replace(pipe, generated=pipe.generated and pipe.generated.plus(-shift)),
        events=tuple(one for one in snapshot.events if one.moment.at <= now.at),
        baseline=replace(snapshot.baseline, state="off", metrics=())
        if now.at < past(8928.0).at
        else snapshot.baseline,
    )
