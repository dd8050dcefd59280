"""The render cache: a rendering is reused until an age or an input of it changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from console.core.model.roles import Role, RoleState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import QueueView, RoleView
from console.core.records import replace
from console.core.text.formatting import format_coarse_duration
from console.ui.redraw.render_cache import AccessRecorder, AgeTracker, RenderState
from console.ui.render.state_labels import format_ago, format_until

NOW = Moment(1_800_000_000.0, 5_000_000.0, "boot")
AGES = [0.0, 3.2, 9.9, 10.0, 14.0, 29.5, 59.9, 60.0, 61.0, 3_599.0, 3_600.0, 86_399.0, 100_000.0]
NARROW_S = 0.001


def shown(now: Moment, then: Moment, later: Moment) -> tuple[str, str, str, bool, bool]:
    """Return an age in each form that the screen shows or compares."""
    age = now.since(then)
    return (
        format_ago(now, then),
        format_coarse_duration(age) if age >= 10 else "",
        format_until(now, later),
        age > 15,
        age < 45,
    )


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("left", [-70.0, -3.0, 0.5, 10.0, 31.0, 60.0, 4_000.0, 90_000.0])
def test_shown_ages_stay_the_same_for_the_reported_validity(age: float, left: float) -> None:
    now = AgeTracker.from_moment(NOW)
    then, later = NOW.plus(-age), NOW.plus(left)
    first = shown(now, then, later)
    rng = random.Random(7)
    for _ in range(20):
        moment = NOW.plus(rng.uniform(0, max(0.0, now.valid_for_s - NARROW_S)))
        assert shown(moment, then, later) == first


@pytest.mark.parametrize("age", AGES)
def test_age_changes_after_the_reported_validity(age: float) -> None:
    now = AgeTracker.from_moment(NOW)
    then = NOW.plus(-age)
    first = shown(now, then, NOW.plus(90_000_000))
    after = NOW.plus(now.valid_for_s + NARROW_S)
    assert shown(after, then, NOW.plus(90_000_000)) != first or now.valid_for_s < 10


@pytest.mark.parametrize(
    ("left", "words"),
    [(9.0, "in <10s"), (0.0, "in <10s"), (-2.9, "in <10s"), (-3.1, "due <10s ago"),
     (12.0, "in 10s"), (-61.0, "due 1m ago")],
)  # fmt: skip
def test_run_is_due_only_after_three_seconds_of_delay(left: float, words: str) -> None:
    assert format_until(NOW, NOW.plus(left)) == words


def test_rendering_is_current_until_an_age_or_the_key_changes() -> None:
    state, tracker = RenderState(), AgeTracker.from_moment(NOW)
    tracker.since(NOW.plus(-4))
    assert not state.is_current("news", NOW)
    state.mark_drawn("news", tracker)
    assert state.is_current("news", NOW.plus(5.9)) and state.remaining_s(NOW.plus(5)) == 1
    assert not state.is_current("news", NOW.plus(6.1))
    assert not state.is_current("other news", NOW)
    assert not state.is_current("news", NOW.plus(-1)), "an earlier moment reads differently"


def test_rendering_is_current_while_the_accessed_fields_are_unchanged() -> None:
    first = Snapshot("host", "box", NOW, Verdict.HEALTHY, queue=QueueView("http://queue"))
    recorder, state, tracker = AccessRecorder(first), RenderState(), AgeTracker.from_moment(NOW)
    recorded = recorder.with_moment(tracker)
    assert (recorded.queue.url, recorded.role("worker"), recorded.moment) == (
        "http://queue",
        None,
        tracker,
    )
    state.mark_drawn((recorder, "frame"), tracker)

    def holds(frame: str = "frame", **changes: Any) -> bool:
        return state.is_current((AccessRecorder(replace(first, **changes)), frame), NOW)

    assert holds() and holds(moment=NOW.plus(60), host="other", verdict=Verdict.DOWN)
    assert not holds(queue=QueueView("http://other"))
    assert not holds(roles=(RoleView(Role("worker", "rpa_worker.py"), RoleState.READY),))
    assert not holds("other frame")
    assert not state.is_current(("no snapshot", "frame"), NOW)
