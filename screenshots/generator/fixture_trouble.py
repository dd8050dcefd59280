"""The scripted night three seconds after its worker has died again, with a canary overdue."""

from __future__ import annotations

from console.core.frozen import replace
from console.core.model import (
    Alert,
    Event,
    EventKind,
    Health,
    HealthState,
    Lease,
    LeaseState,
    RoleState,
    Sample,
    Severity,
    Snapshot,
    Verdict,
)
from screenshots.generator.fixture_night import DOWN, NOW, night, past, worker

AGO_S = 3.0
REASON = "killed by signal 9 after 3h07m"


def trouble() -> Snapshot:
    """Down: nothing runs, a restart is due in two seconds."""
    calm = night()
    first, dog = calm.roles
    died = Event(EventKind.DIED, past(AGO_S), "worker", "shim", REASON, worker().identity, 41)
    told = {"verdict": "down"}
    down = Event(EventKind.VERDICT_CHANGED, past(AGO_S), "", "daemon", DOWN, data=told)
    gone = replace(
        first,
        state=RoleState.BACKOFF,
        instances=(),
        lease=Lease(LeaseState.FREE),
        usage={},
        restarts=0,
        reason="restart 1 of 3",
        retry_at=NOW.plus(2.0),
        last_death=died,
    )
    canary, at_once, watchdog, queue, pipeline = calm.monitors
    late = replace(
        canary,
        health=Health(HealthState.OVERDUE, "last looked 39m ago, due every 30m"),
        last=Sample("canary", past(2340.0)),
        next_run=past(540.0),
    )
    missed = replace(
        at_once,
        health=Health(HealthState.FAILING, "worker 0/1"),
        last=Sample("worker", past(AGO_S)),
        next_run=past(AGO_S).plus(at_once.every_s),
        result="worker 0, watchdog 1",
    )
    filling = replace(queue, result="4 waiting, 0 in work, 212 done")
    return replace(
        calm,
        verdict=Verdict.DOWN,
        reasons=(DOWN, f"canary monitor: {late.health.reason}"),
        since=past(AGO_S),
        roles=(gone, dog),
        queue=replace(calm.queue, size=4, inflight=0, lease_s=None, drain_s=128.0),
        monitors=(late, missed, watchdog, filling, pipeline),
        events=(*calm.events, died, down),
        alerts=(Alert("worker.down", Severity.CRITICAL, "worker is down", DOWN, past(AGO_S)),),
    )
