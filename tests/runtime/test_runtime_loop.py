"""The runtime loop over real stores: monitors, snapshots, storage and failures."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from runtime_fixtures import Scripted, fine, running_on, settings, shown, until

from console.core.model.events import Event, EventKind
from console.core.model.samples import HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.records import replace
from console.monitors import discover_monitors
from console.runtime import daemon as running
from console.runtime import memory_sweep
from console.runtime.commands import toggle_baseline
from console.runtime.loop import HEALTHY_INTERVAL_FACTOR, MAX_SNAPSHOT_AGE_S, Runtime
from console.runtime.snapshots.store_view import StoreView
from console.system import clock, daemon_role
from console.system.box import Box, open_box
from console.system.config.schema import Baseline, Retention
from console.ui.panes import monitors as monitors_pane
from console.ui.render.styled_lines import PaneContext

# --- monitors -------------------------------------------------------------------------------


async def test_failing_monitor_is_unknown_and_affects_no_other_monitor(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.runtime.snapshots.store_view.PROBE_TIMEOUT_S", 0.3)
    stuck = threading.Event()

    async def raises(box: Box) -> dict[str, Any]:
        raise RuntimeError("as scripted")

    async def hangs(box: Box) -> dict[str, Any]:
        return {"result": await asyncio.to_thread(stuck.wait)}

    async def strange(box: Box) -> dict[str, Any]:
        return {"result": object()}

    acts = {"a": raises, "b": hangs, "c": strange, "d": fine}
    monitors = {name: Scripted(name, act) for name, act in acts.items()}
    try:
        async with running_on(Runtime(box, monitors)) as runtime:
            await until(lambda: len(monitors["d"].calls) > 20 and len(monitors["a"].calls) > 20)
            snapshot = await shown(runtime, lambda one: all(view.last for view in one.monitors))
            told = {view.name: view.health for view in snapshot.monitors}
            await until(lambda: len(box.store.samples("b")) >= 2)
    finally:
        stuck.set()
    assert {name: health.state for name, health in told.items()} == {
        "a": "unknown", "b": "unknown", "c": "unknown", "d": "ok",
    }  # fmt: skip
    assert told["a"].reason == "RuntimeError: as scripted"
    assert told["b"].reason == "did not answer within 0.3 s"
    assert "TypeError" in told["c"].reason
    assert len(monitors["b"].calls) == 1  # a second call would hang as well


async def test_hanging_or_raising_monitor_becomes_overdue_with_the_reason(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is stored as an error; an error is not a successful sample."""
    monkeypatch.setattr("console.runtime.snapshots.store_view.PROBE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("console.core.verdict.OVERDUE_SLACK_S", 0.3)
    stuck = threading.Event()

    async def raises(box: Box) -> dict[str, Any]:
        raise RuntimeError("as scripted")

    async def hangs(box: Box) -> dict[str, Any]:
        if len(monitors["b"].calls) > 1:
            await asyncio.to_thread(stuck.wait)
        return {"result": "once"}

    monitors = {
        name: Scripted(name, act) for name, act in (("a", raises), ("b", hangs), ("d", fine))
    }
    try:
        async with running_on(Runtime(box, monitors)) as runtime:

            def late(one: Snapshot) -> bool:
                found = [view.health.state for view in one.monitors]
                told = "did not answer" in one.monitors[1].health.reason
                return told and found == ["overdue", "overdue", "ok"]

            await until(lambda: len(box.store.samples("b")) > 2)
            snapshot = await shown(runtime, late)
            assert all(sample.error for sample in box.store.samples("b")[1:])
    finally:
        stuck.set()
    a, b, _ = (view.health.reason for view in snapshot.monitors)
    assert a.startswith("RuntimeError: as scripted; last saw something ")
    assert b.startswith("did not answer within 0.2 s; last saw something ")
    drawn = monitors_pane.view(snapshot, PaneContext(100, 9))
    assert [row.spans[1][1] for row in drawn if row.is_item] == ["bad", "bad", "ok"]
    assert sum("■ overdue" in row.text for row in drawn) == 2


async def test_failing_judge_affects_only_its_own_monitor(box: Box) -> None:
    async def odd(box: Box) -> dict[str, Any]:
        return {"state": "no such state"}

    monitors = {"odd": Scripted("odd", odd), "queue": Scripted("queue", fine)}
    async with running_on(Runtime(box, monitors)) as runtime:
        snapshot = await shown(runtime, lambda one: all(view.last for view in one.monitors))
    odd_view, queue = snapshot.monitors
    assert odd_view.health.state is HealthState.UNKNOWN
    assert "cannot judge" in odd_view.health.reason
    assert "cannot be told" in odd_view.result
    assert queue.health.state is HealthState.OK


async def test_monitor_change_is_recorded_once(box: Box) -> None:
    states = iter(["ok", "ok", "failing", "failing"])

    async def changing(box: Box) -> dict[str, Any]:
        return {"state": next(states, "failing"), "result": ""}

    monitor = Scripted("queue", changing)
    async with running_on(Runtime(box, {"queue": monitor})):
        await until(lambda: len(monitor.calls) > 6)
    changes = [event for event in box.store.events() if event.kind is EventKind.MONITOR_CHANGED]
    assert [(event.data["was"], event.data["state"]) for event in changes] == [("ok", "failing")]
    assert changes[0].reason == "queue: failing"


async def test_due_time_survives_a_restart_of_the_runtime(box: Box) -> None:
    """A sample is neither repeated nor skipped: it is due one interval after the last."""
    monitor = Scripted("canary", fine, interval=1.5)
    box.store.add_samples([Sample("canary", box.now().plus(-1.0), {"result": "before"})])
    began = time.monotonic()
    async with running_on(Runtime(box, {"canary": monitor})):
        await until(lambda: len(box.store.samples("canary")) == 2)
    assert 0.4 < monitor.calls[0] - began < 1.0
    async with running_on(Runtime(box, {"canary": monitor})):
        await asyncio.sleep(0.6)
    assert len(monitor.calls) == 1


async def test_requested_probe_runs_at_once(box: Box) -> None:
    monitor = Scripted("queue", fine, interval=3600)
    async with running_on(Runtime(box, {"queue": monitor})) as runtime:
        await until(lambda: len(monitor.calls) == 1)
        runtime.request_probe("queue")
        await until(lambda: len(monitor.calls) == 2)


# --- the store ------------------------------------------------------------------------------


async def test_samples_are_kept_and_saved_later_when_the_store_fails(box: Box, place: Path) -> None:
    monitor = Scripted("queue", fine, interval=0.2)
    store = place / "state" / "store.sqlite"
    async with running_on(Runtime(box, {"queue": monitor})) as runtime:
        await until(lambda: len(box.store.samples("queue")) > 2)
        for part in store.parent.glob("store.sqlite*"):
            part.unlink()
        store.mkdir()  # a directory: the store cannot be opened
        snapshot = await shown(runtime, lambda one: "not saved yet" in " ".join(one.notices))
        looked = len(monitor.calls)
        await until(lambda: len(monitor.calls) > looked + 2)  # the monitor keeps running
        assert snapshot.monitors[0].health.state is HealthState.OK
        store.rmdir()
        await shown(runtime, lambda one: "not saved" not in " ".join(one.notices))
        history = box.store.samples("queue")
    assert len(history) >= 3
    assert len({sample.moment.tick for sample in history}) == len(history)


async def test_snapshots_are_rare_on_a_quiet_box(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without changes there is one snapshot every two seconds, despite earlier writes."""
    box.store.add_samples([Sample("queue", box.now(), {"result": ""})])
    runtime = Runtime(box, {"queue": Scripted("queue", fine)})
    seen: list[float] = []

    async def count() -> None:
        async for _ in runtime.snapshots():
            seen.append(time.monotonic())

    task = asyncio.create_task(count())
    await asyncio.sleep(3.0)
    task.cancel()
    assert runtime._snapshot_task is not None
    runtime._snapshot_task.cancel()
    assert 1 <= len(seen) <= 3


async def test_follower_sees_samples_of_another_process(box: Box, place: Path) -> None:
    monitors = {"queue": Scripted("queue", fine)}
    runtime = Runtime(box, monitors)
    with open_box(settings(place), place / "state") as other:
        view = asyncio.create_task(shown(runtime, lambda one: one.monitors[0].result == "news"))
        await asyncio.sleep(0.3)
        other.store.add_samples([Sample("queue", other.now(), {"result": "news"})])
        began = time.monotonic()
        await view
    assert time.monotonic() - began < 1.0
    assert runtime._snapshot_task is not None
    runtime._snapshot_task.cancel()


def test_healthy_snapshot_lasts_longer_only_while_a_daemon_runs(box: Box) -> None:
    runtime = Runtime(box, {"queue": Scripted("queue", fine)})
    well = Snapshot("host", "box", box.now(), Verdict.HEALTHY)
    assert runtime._is_stale(MAX_SNAPSHOT_AGE_S)
    grant = daemon_role.acquire_lease(box.paths, box.store)
    assert grant is not None
    for verdict in Verdict:
        runtime._snapshot = replace(well, verdict=verdict)
        assert not runtime._is_stale(MAX_SNAPSHOT_AGE_S - 0.1)
        assert runtime._is_stale(MAX_SNAPSHOT_AGE_S) is (verdict is not Verdict.HEALTHY)
        assert runtime._is_stale(HEALTHY_INTERVAL_FACTOR * MAX_SNAPSHOT_AGE_S)
    runtime._snapshot = well
    grant.close()
    assert runtime._is_stale(MAX_SNAPSHOT_AGE_S) and not runtime._is_stale(MAX_SNAPSHOT_AGE_S - 0.1)
    assert not runtime._is_stale(MAX_SNAPSHOT_AGE_S, exit_watched=True)
    assert runtime._is_stale(HEALTHY_INTERVAL_FACTOR * MAX_SNAPSHOT_AGE_S, exit_watched=True)
    runtime.is_holder = True
    assert not runtime._is_stale(MAX_SNAPSHOT_AGE_S)


def test_view_reads_each_sample_once_and_each_monitors_last(box: Box) -> None:
    now = box.now()
    old = Sample("canary", now.plus(-100_000), {"result": "long ago"})
    box.store.add_samples([old, *(Sample("queue", now.plus(-n), {"size": n}) for n in (3, 2, 1))])
    view = StoreView(
        box, {name: Scripted(name, fine) for name in ("queue", "canary")}, history_s=60
    )
    view.refresh()
    version = view.version
    view.refresh()
    assert view.version == version
    box.store.add_samples([Sample("queue", now, {"size": 0})])
    view.refresh()
    assert view.version > version
    assert [sample.data["size"] for sample in view._histories["queue"]] == [3, 2, 1, 0]
    last = view.last_sample("canary")
    assert last is not None
    assert last.data == {"result": "long ago"}


def test_baseline_is_judged_over_its_whole_length(place: Path) -> None:
    """A view that keeps a short history still reads the samples of the whole run."""
    with open_box(settings(place, baseline=Baseline(hours=3)), place / "state") as box:
        assert toggle_baseline(box, "cli:ana").done
        run = box.store.get_fact("baseline")
        began = box.now().plus(-2 * 3600)
        box.store.set_fact("baseline", run | {"started": [began.at, began.tick, began.boot]})
        looks = [began.plus(n * 10.0 + 1) for n in range(720)]
        box.store.add_samples(
            Sample("queue", one, {"size": 1, "successful": n, "failed": 0})
            for n, one in enumerate(looks)
        )
        view = StoreView(box, discover_monitors(), history_s=60)
        view.refresh()
        metric = {item.name: item for item in view.compose().baseline.metrics}["queue_size"]
        assert metric.n == 720


async def test_maintenance_deletes_rows_beyond_the_retention(place: Path) -> None:
    keep = Retention(samples_days=1, events_days=2)
    with open_box(settings(place, retention=keep), place / "state") as box:
        now, day = box.now(), 86_400
        for days in (2.5, 1.5, 0.5):
            moment = now.plus(-days * day)
            box.store.add_samples([Sample("queue", moment)])
            box.store.add_event(Event(EventKind.NOTICED, moment))
        upkeep = asyncio.create_task(running._run_maintenance(box))
        await until(lambda: len(box.store.samples("queue")) == 1)
        await until(lambda: len(box.store.events()) == 2)
        upkeep.cancel()


@pytest.mark.parametrize("whose", ["the daemon's", "a console's"])
async def test_memory_sweep_replaces_idle_threads(
    box: Box, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_sweep, "SWEEP_INTERVAL_S", 0.05)
    console = Runtime(box, {"worker": Scripted("worker", fine)}).feeds()["worker"]
    work = memory_sweep.sweep_memory() if whose == "the daemon's" else console(lambda _: None)
    task = asyncio.create_task(work)
    await asyncio.sleep(0.01)
    first = await asyncio.to_thread(threading.current_thread)
    await until(lambda: not first.is_alive())
    assert await asyncio.to_thread(threading.current_thread) is not first
    task.cancel()


def test_clock_agrees_with_the_system_and_has_a_boot_id() -> None:
    assert abs(clock.now().at - time.time()) < 1
    assert clock.boot_id()
    assert os.path.isdir("/proc") is False or len(clock.boot_id()) == 36
