"""The store watcher: it wakes on writes by another process and sleeps without them."""

from __future__ import annotations

import asyncio

from console.core.model.events import EventKind
from console.runtime.snapshots.store_view import StoreView
from console.runtime.watchers.store_watcher import StoreWatcher
from console.system.box import Box
from console.system.store.store import Store

LONG_S = 30.0


def test_watcher_wakes_at_once_on_a_write_by_another_process(box: Box) -> None:
    async def follow() -> tuple[float, str]:
        following, view = StoreWatcher(one), one
        following.refresh_view()
        assert not following.has_unread_changes
        loop, other = asyncio.get_running_loop(), Store(box.store.path)
        changed = asyncio.create_task(following.wait_for_change(LONG_S))
        await asyncio.sleep(0)
        began = loop.time()
        await asyncio.to_thread(other.set_fact, "wanted", 1)
        async with asyncio.timeout(LONG_S):
            while not following.has_unread_changes:
                await changed
                changed = asyncio.create_task(following.wait_for_change(LONG_S))
        took = loop.time() - began
        changed.cancel()
        following.refresh_view()
        other.close()
        return took, "" if view.read_error is None else view.read_error

    one = StoreView(box, {})
    took, trouble = asyncio.run(follow())
    assert took < LONG_S / 3 and not trouble


def test_watcher_sleeps_until_the_timeout_without_writes(box: Box) -> None:
    async def follow() -> float:
        box.record(EventKind.NOTICED, actor="test", reason="before anybody listens")
        following = StoreWatcher(StoreView(box, {}))
        following.refresh_view()
        began = asyncio.get_running_loop().time()
        await following.wait_for_change(0.4)
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(follow()) >= 0.1


def test_refresh_reads_all_new_events_beyond_the_event_limit(box: Box) -> None:
    told = [box.record(EventKind.NOTICED, actor="test", reason=f"line {n}") for n in range(5)]
    view = StoreView(box, {}, event_limit=1)
    view.refresh()
    assert [event.id for event in view.compose().events] == told[-1:]
    more = [box.record(EventKind.NOTICED, actor="test", reason=f"more {n}") for n in range(5)]
    view.refresh()
    assert [event.id for event in view.compose().events] == told[-1:] + more
