"""The event log digest of a store view: it equals a computation from all rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.model.events import EventKind
from console.core.model.processes import Identity
from console.core.model.roles import RoleState
from console.core.model.samples import HealthState, Sample
from console.core.records import replace
from console.core.snapshot.builder import MonitorInputs, SnapshotInputs, build_snapshot
from console.core.supervision.role_history import fold_events
from console.monitors import discover_monitors, worker
from console.runtime.baseline import runs
from console.runtime.snapshots.ledger_digest import MAX_ROLE_EVENTS
from console.runtime.snapshots.store_view import StoreView
from console.system.box import Box, open_box
from console.system.config.schema import RoleSettings, Settings
from console.system.files.outside_files import write_atomically


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    role = RoleSettings(match=str(tmp_path / "rpa_worker.py"), command=["sleep", "1"])
    with open_box(Settings(roles={"worker": role}), tmp_path / "state") as opened:
        yield opened


def view(box: Box) -> StoreView:
    one = StoreView(box, discover_monitors())
    one.refresh()
    return one


def look(box: Box, ago: float, **data: object) -> Sample:
    figures = {"size": 1, "successful": 0, "failed": 0, "completed": 0, "problem": None}
    return Sample("queue", box.now().plus(-ago), {**figures, **data})


def test_queue_metrics_are_reused_until_a_new_sample_arrives(box: Box) -> None:
    box.store.add_samples(look(box, 600 - n, successful=n, completed=n) for n in range(300))
    one = view(box)
    first, known = one.compose(), one._digest._queue_metrics[1]
    again = one.compose()
    assert one._digest._queue_metrics[1] is known
    assert (first.queue, first.roles) == (again.queue, again.roles)
    assert first.queue.success_rate == 100.0
    box.store.add_samples([look(box, 0, successful=299, failed=299, completed=598)])
    one.refresh()
    assert one.compose().queue.success_rate == 50.0


def test_incremental_digest_equals_a_full_fold(box: Box) -> None:
    kinds = (EventKind.STARTED, EventKind.ASKED, EventKind.DIED, EventKind.PARKED)
    one = view(box)
    for number, kind in enumerate(kinds * 2):
        identity = Identity(number // 4 + 7, 1, "b")
        box.record(
            kind,
            role="worker",
            actor="policy",
            reason="x",
            identity=identity,
            data={"verb": "kill"},
        )
        one.refresh()
    (role,) = (role for role in box.roles if role.name == "worker")
    events = box.store.events()
    assert one._digest.role_histories["worker"] == fold_events(events, role)
    assert view(box)._digest.role_histories == one._digest.role_histories
    now = box.now()
    facts = SnapshotInputs(
        "h", "b", "u", box.roles, {"queue": MonitorInputs("queue", 10.0)}, events
    )
    known = replace(facts, role_histories=one._digest.role_histories)
    assert build_snapshot(known, now).roles == build_snapshot(facts, now).roles


def test_role_stays_parked_after_many_later_events(box: Box) -> None:
    box.record(EventKind.STARTED, role="worker", actor="policy", identity=Identity(7, 1, "b"))
    box.record(EventKind.PARKED, role="worker", actor="policy", reason="3 automatic restarts")
    sql = (
        "INSERT INTO events (kind, at, tick, boot, role, actor, reason, data)"
        " VALUES ('noticed', 1, 1, '', '', '', '', '{}')"
    )
    box.store.write((sql, ()) for _ in range(MAX_ROLE_EVENTS + 500))
    box.store.add_samples([worker.take_sample(box)])
    found = view(box).compose().role("worker")
    assert found is not None
    assert (found.state, found.reason) == (RoleState.PARKED, "3 automatic restarts")


def test_baseline_progress_advances_without_new_samples(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.start(box, "cli:ana")
    one = view(box)
    first = one.compose().baseline
    assert one.compose().baseline is first
    later = box.now().plus(60)
    monkeypatch.setattr(Box, "now", lambda _: later)
    assert (one.compose().baseline.progress or 0) > (first.progress or 0)


def test_monitors_use_new_thresholds_at_once(box: Box) -> None:
    box.store.add_samples([look(box, 2, size=25), look(box, 1, size=25)])
    one = view(box)
    assert one.health("queue").state is HealthState.FAILING
    path = box.paths.thresholds
    write_atomically(path, "[thresholds]\nqueue_normal = 10\nqueue_warning = 40\n")
    assert one.health("queue").state is HealthState.OK
    assert one.health("queue").reason == "25 tasks wait, above the learnt 10"
    write_atomically(path, "[thresholds\n")  # unreadable: counts as no file
    os.utime(path, ns=(1, 1))
    assert one.health("queue").reason == "25 tasks wait"
