"""The sampling schedule: never before a sample is due, and together with others due soon."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from runtime_fixtures import Scripted, fine, running_on, until

from console.core.model.samples import Sample
from console.monitors import Monitor
from console.runtime.loop import START_STAGGER_S, Runtime
from console.runtime.monitoring.schedule import seconds_until_due
from console.runtime.snapshots.store_view import StoreView
from console.system.box import Box


@pytest.mark.parametrize(
    ("every_s", "ages_s", "expected"),
    [
        pytest.param((10, 10), (0, 0), (10, 10), id="together"),
        pytest.param((10, 10), (7, 6), (4, 4), id="the first waits for the second"),
        pytest.param((10, 10), (7, 4), (3, 6), id="nobody waits for more than two seconds"),
        pytest.param((5, 5), (2, 0.5), (3, 4.5), id="nor for more than a fifth of the interval"),
        pytest.param((10, 60), (7, 56), (4, 4), id="who looks seldom is waited for, too"),
        pytest.param((10, 60), (14, 59), (0, 1), id="who is late waits for nobody"),
        pytest.param((10, 60), (9.9, 10), (0, 50), id="who is all but due is due"),
    ],
)
def test_due_monitor_waits_for_another_due_shortly_after(
    box: Box,
    every_s: tuple[float, float],
    ages_s: tuple[float, float],
    expected: tuple[float, float],
) -> None:
    names = ("queue", "watchdog")
    monitors: dict[str, Monitor] = {
        name: Scripted(name, fine, interval=every)
        for name, every in zip(names, every_s, strict=True)
    }
    view, now = StoreView(box, monitors), box.now()
    for name, age in zip(names, ages_s, strict=True):
        view.add_unsaved(Sample(name, now.plus(-age), {"result": ""}))
    assert [seconds_until_due(view, name) for name in names] == pytest.approx(expected, abs=0.2)


def test_first_sample_is_due_at_once(box: Box) -> None:
    monitors: dict[str, Monitor] = {name: Scripted(name, fine) for name in ("queue", "watchdog")}
    view = StoreView(box, monitors)
    view.add_unsaved(Sample("watchdog", box.now(), {"result": ""}))
    assert seconds_until_due(view, "queue") == 0.0


async def test_overdue_monitors_start_staggered(box: Box) -> None:
    """After a long sleep all monitors are due: they start one by one, half a second apart."""
    names = ("canary", "queue", "watchdog", "worker")
    monitors = {name: Scripted(name, fine, interval=3600.0) for name in names}
    box.store.add_samples([Sample(n, box.now().plus(-9000), {"result": ""}) for n in names])
    async with running_on(Runtime(box, monitors)):
        await until(lambda: all(one.calls for one in monitors.values()))
    began = {name: one.calls[0] for name, one in monitors.items()}
    order = sorted(began, key=lambda name: began[name])
    assert order == ["worker", "canary", "queue", "watchdog"], "who is needed most comes first"
    pauses = [began[after] - began[before] for before, after in pairwise(order)]
    assert min(pauses) > START_STAGGER_S / 2
    assert [len(one.calls) for one in monitors.values()] == [1] * 4, "nobody makes up for hours"


async def test_simultaneous_samples_share_one_commit(box: Box) -> None:
    """Ten monitors sample at one moment: one commit saves all ten samples."""
    ready, commits = asyncio.Event(), list[int]()

    async def together(box: Box) -> dict[str, str]:
        await ready.wait()
        return {"result": "seen"}

    def committed() -> bool:
        commits.append(len(commits))
        return False  # not refused

    names = [f"m{number}" for number in range(10)]
    monitors: dict[str, Monitor] = {name: Scripted(name, together) for name in names}
    runtime = Runtime(box, monitors)
    looks = [asyncio.create_task(runtime.probe(name)) for name in names]
    box.store._connection.set_commit_hook(committed)
    ready.set()
    await asyncio.gather(*looks)
    assert len(commits) == 1
    assert [len(box.store.samples(name)) for name in names] == [1] * 10


async def test_fractional_interval_is_kept(box: Box) -> None:
    monitor = Scripted("queue", fine, interval=1.5)
    async with running_on(Runtime(box, {"queue": monitor})):
        await until(lambda: len(monitor.calls) >= 4)
    later = monitor.calls[1:]
    assert min(after - before for before, after in pairwise(later)) < 1.75
