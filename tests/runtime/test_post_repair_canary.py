"""The canary sent after a repair: when the box may work again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Role, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import MonitorView, RoleView
from console.core.records import replace
from console.runtime.monitoring.post_repair_canary import PostRepairCanary

NOW = Moment(1_000_000.0, 5000.0, "b")
SILENT = Health(HealthState.FAILING, "no answer: refused", kind="silent")
OK = Health(HealthState.OK)


def worker(pid: int | None, state: str) -> RoleView:
    one = Instance("worker", (Process(Identity(pid or 1, 1, "b"), 1, (), NOW),))
    return RoleView(Role("worker", "w.py"), RoleState(state), instances=(one,) if pid else ())


def shown(
    role: RoleView, canary: bool | None = True, at: float = 0, queue: Health = OK
) -> Snapshot:
    """Return a snapshot at `at` seconds whose newest canary sample is 6 s old."""
    now = NOW.plus(at)
    last = Sample("canary", now.plus(-6), {"ok": canary})
    monitors = (MonitorView("queue", 10.0, queue), MonitorView("canary", 1800.0, OK, last))
    return Snapshot("h", "b", now, Verdict.UNKNOWN, roles=(role,), monitors=monitors)


@pytest.fixture
def sent() -> Any:
    """A function that shows snapshots and returns the indexes of those that sent a canary."""
    view: Any = SimpleNamespace(monitors={"canary": None}, disabled_reason=lambda name: None)

    async def show(*snapshots: Snapshot) -> list[int]:
        asked: list[int] = []
        seen: list[Snapshot] = []

        async def each() -> Any:
            for snapshot in snapshots:
                seen.append(snapshot)
                yield snapshot

        await PostRepairCanary(view, lambda name: asked.append(len(seen) - 1)).run(each())
        return asked

    return show


async def test_canary_is_sent_to_a_new_worker_and_not_to_a_known_one(sent: Any) -> None:
    assert await sent(shown(worker(5, "READY")), shown(worker(5, "READY"))) == []
    gone, new = shown(worker(None, "BACKOFF")), shown(worker(6, "RUNNING"))
    assert await sent(shown(worker(5, "READY")), gone, new, new) == [2]
    assert await sent(gone, new) == [1]
    stalled, resumed = shown(worker(5, "STALLED")), shown(worker(5, "RUNNING"))
    assert await sent(shown(worker(5, "READY")), stalled, resumed, resumed) == [2]
    both = replace(new, roles=(replace(new.roles[0], instances=(
        *new.roles[0].instances, *worker(7, "RUNNING").instances)),))  # fmt: skip
    assert await sent(new, both, new) == [], "one beside another is no repair"


async def test_failed_canary_is_repeated_at_growing_intervals(sent: Any) -> None:
    failing = [shown(worker(5, "READY"), False, at) for at in (0, 1, 2)]
    once = replace(failing[1], monitors=failing[0].monitors)
    assert await sent(failing[0], once) == [0], "the same failure is repeated once"
    assert await sent(*failing) == [0], "the next pause is longer than the canary is old"
    assert await sent(shown(worker(5, "READY"), True), *failing) == [1]


async def test_no_canary_is_sent_without_a_server_or_a_worker(sent: Any) -> None:
    assert await sent(shown(worker(5, "READY"), False, queue=SILENT)) == []
    assert await sent(shown(worker(None, "STOPPED"), False)) == []
