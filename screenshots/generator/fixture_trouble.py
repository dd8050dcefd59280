"""The scripted night three seconds after a second death of the worker, with an overdue canary."""

from __future__ import annotations

from console.core.model.events import Event, EventKind
from console.core.model.roles import Lease, LeaseState, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.views import Alert, Severity
from console.core.records import replace
from screenshots.generator.fixture_night import (
    DOWN_REASON,
    NOW,
    healthy_snapshot,
    make_worker,
    moment_ago,
)

DIED_AGO_S = 3.0
DEATH_REASON = "killed by signal 9 after 3h07m"


def down_snapshot() -> Snapshot:
    """Return the snapshot of a down box: no worker runs, and a restart is due in two seconds."""
    healthy = healthy_snapshot()
    worker_role, watchdog_role = healthy.roles
    death = Event(
        EventKind.DIED,
        moment_ago(DIED_AGO_S),
        "worker",
        "shim",
        DEATH_REASON,
        make_worker().identity,
        41,
    )
    verdict_data = {"verdict": "down"}
    verdict_change = Event(
        EventKind.VERDICT_CHANGED,
        moment_ago(DIED_AGO_S),
        "",
        "daemon",
        DOWN_REASON,
        data=verdict_data,
    )
    backoff_role = replace(
        worker_role,
        state=RoleState.BACKOFF,
        instances=(),
        lease=Lease(LeaseState.FREE),
        usage={},
        restarts=0,
        reason="restart 1 of 3",
        retry_at=NOW.plus(2.0),
        last_death=death,
    )
    canary, worker_monitor, watchdog, queue, pipeline = healthy.monitors
    overdue_canary = replace(
        canary,
        health=Health(HealthState.OVERDUE, "last looked 39m ago, due every 30m"),
        last=Sample("canary", moment_ago(2340.0)),
        next_run=moment_ago(540.0),
    )
    failing_worker = replace(
        worker_monitor,
        health=Health(HealthState.FAILING, "worker 0/1"),
        last=Sample("worker", moment_ago(DIED_AGO_S)),
        next_run=moment_ago(DIED_AGO_S).plus(worker_monitor.every_s),
        result="worker 0, watchdog 1",
    )
    filling_queue = replace(queue, result="4 waiting, 0 in work, 212 done")
    return replace(
        healthy,
        verdict=Verdict.DOWN,
        reasons=(DOWN_REASON, f"canary monitor: {overdue_canary.health.reason}"),
        since=moment_ago(DIED_AGO_S),
        roles=(backoff_role, watchdog_role),
        queue=replace(healthy.queue, size=4, inflight=0, lease_s=None, drain_s=128.0),
        monitors=(overdue_canary, failing_worker, watchdog, filling_queue, pipeline),
        events=(*healthy.events, death, verdict_change),
        alerts=(
            Alert(
                "worker.down",
                Severity.CRITICAL,
                "worker is down",
                DOWN_REASON,
                moment_ago(DIED_AGO_S),
            ),
        ),
    )
