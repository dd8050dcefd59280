"""The scripted night eight seconds after its worker has died again, with a canary overdue."""

from __future__ import annotations

from dataclasses import replace

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
from console.ui.scripted import NOW, night, past, worker

AGO_S = 8.0
REASON = "killed by signal 9 after 3h07m"


def trouble() -> Snapshot:
    """Down: nothing runs, the last restart of three is about to be spent."""
    calm = night()
    first, dog = calm.roles
    died = Event(EventKind.DIED, past(AGO_S), "worker", "shim", REASON, worker().identity, 41)
    down = Event(EventKind.VERDICT_CHANGED, past(AGO_S), "", "policy", "healthy to down: no worker")
    wait = Event(EventKind.BACKED_OFF, past(AGO_S), "worker", "policy", "restart 3 of 3 in 20 s")
    gone = replace(
        first,
        state=RoleState.BACKOFF,
        instances=(),
        lease=Lease(LeaseState.FREE),
        usage={},
        restarts=2,
        retry_at=NOW.plus(14.0),
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
        reasons=("worker: none of 1 runs, restart 3 of 3 in 14s", "canary overdue by 9m"),
        since=past(AGO_S),
        roles=(gone, dog),
        queue=replace(calm.queue, size=4, inflight=0, lease_s=None, drain_s=None),
        monitors=(late, missed, watchdog, filling, pipeline),
        events=(*calm.events, died, down, wait),
        alerts=(Alert("worker.down", Severity.CRITICAL, "worker is down", REASON, past(AGO_S)),),
    )
