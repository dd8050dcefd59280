"""Nothing on the screen changes before it was said to, and what was said to change does."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from console.core.model import Moment, QueueView, Role, RoleState, RoleView, Snapshot, Verdict
from console.core.text.formatting import coarse
from console.ui.redraw.render_cache import Noted, Standing, Ticking
from console.ui.render.state_labels import ago, until

NOW = Moment(1_800_000_000.0, 5_000_000.0, "boot")
AGES = [0.0, 3.2, 9.9, 10.0, 14.0, 29.5, 59.9, 60.0, 61.0, 3_599.0, 3_600.0, 86_399.0, 100_000.0]
NARROW_S = 0.001


def shown(now: Moment, then: Moment, later: Moment) -> tuple[str, str, str, bool, bool]:
    """An age in every way that the screen shows or judges it."""
    age = now.since(then)
    return ago(now, then), coarse(age) if age >= 10 else "", until(now, later), age > 15, age < 45


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("left", [-70.0, -3.0, 0.5, 10.0, 31.0, 60.0, 4_000.0, 90_000.0])
def test_what_is_shown_stands_for_as_long_as_was_said(age: float, left: float) -> None:
    now = Ticking.at_the(NOW)
    then, later = NOW.plus(-age), NOW.plus(left)
    first = shown(now, then, later)
    calm = random.Random(7)
    for _ in range(20):
        moment = NOW.plus(calm.uniform(0, max(0.0, now.steady_s - NARROW_S)))
        assert shown(moment, then, later) == first


@pytest.mark.parametrize("age", AGES)
def test_an_age_is_looked_at_again_when_it_reads_differently(age: float) -> None:
    now = Ticking.at_the(NOW)
    then = NOW.plus(-age)
    first = shown(now, then, NOW.plus(90_000_000))
    after = NOW.plus(now.steady_s + NARROW_S)
    assert shown(after, then, NOW.plus(90_000_000)) != first or now.steady_s < 10


@pytest.mark.parametrize(
    ("left", "words"),
    [(9.0, "in <10s"), (0.0, "in <10s"), (-2.9, "in <10s"), (-3.1, "due <10s ago"),
     (12.0, "in 10s"), (-61.0, "due 1m ago")],
)  # fmt: skip
def test_who_is_looking_is_not_late_yet(left: float, words: str) -> None:
    assert until(NOW, NOW.plus(left)) == words


def test_a_picture_stands_until_its_first_age_changes_or_there_is_news() -> None:
    standing, now = Standing(), Ticking.at_the(NOW)
    now.since(NOW.plus(-4))
    assert not standing.holds("news", NOW)
    standing.drawn("news", now)
    assert standing.holds("news", NOW.plus(5.9)) and standing.left_s(NOW.plus(5)) == 1
    assert not standing.holds("news", NOW.plus(6.1))
    assert not standing.holds("other news", NOW)
    assert not standing.holds("news", NOW.plus(-1)), "an earlier moment reads differently"


def test_a_picture_stands_while_what_it_was_drawn_from_does() -> None:
    first = Snapshot("host", "box", NOW, Verdict.HEALTHY, queue=QueueView("http://queue"))
    noted, standing, now = Noted(first), Standing(), Ticking.at_the(NOW)
    told = noted.at(now)
    assert (told.queue.url, told.role("worker"), told.moment) == ("http://queue", None, now)
    standing.drawn((noted, "frame"), now)

    def holds(frame: str = "frame", **changes: Any) -> bool:
        return standing.holds((Noted(replace(first, **changes)), frame), NOW)

    assert holds() and holds(moment=NOW.plus(60), host="other", verdict=Verdict.DOWN)
    assert not holds(queue=QueueView("http://other"))
    assert not holds(roles=(RoleView(Role("worker", "rpa_worker.py"), RoleState.READY),))
    assert not holds("other frame")
    assert not standing.holds(("no snapshot", "frame"), NOW)
