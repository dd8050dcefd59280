"""The age of a heartbeat across clock changes and suspends."""

from __future__ import annotations

import pytest

from console.core.metrics.file_age import SLEPT_KEY, file_age_s
from console.core.model.samples import Sample
from console.core.model.time import Moment

WALL, TICK = 1_000_000.0, 500.0


def look(awake_s: float, told: float | None, set_s: float = 0.0, slept_s: float = 0.0) -> Sample:
    """Return a sample after `awake_s` seconds of a file whose heartbeat is at second `told`."""
    moment = Moment(WALL + awake_s + set_s + slept_s, TICK + awake_s + slept_s, "b")
    heartbeat = None if told is None else WALL + told
    return Sample("watchdog", moment, {"heartbeat_at": heartbeat, SLEPT_KEY: slept_s})


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([look(100, 70)], 30),
        ([look(100, 70), look(400, 70)], 330),
        ([look(100, 70), look(130, 120, set_s=-90)], 10),
        ([look(100, 70), look(130, 120, set_s=3600)], 10),
        ([look(100, 70), look(130, 120, slept_s=7200)], 10),
        ([look(100, 70), look(130, 120, -20, 28_800)], 10),
        ([look(100, 70, set_s=90), look(400, 70, set_s=90)], 420),
        ([look(100, 70), look(400, 160, set_s=90)], 240),
        ([look(100, 200)], -100),
        ([look(100, None)], None),
    ],
    ids=[
        "one look", "silent", "set back", "set on", "slept", "slept and set back",
        "set before all looks", "hung since before the clock was set", "future", "nothing told",
    ],
)  # fmt: skip
def test_file_age_allows_for_clock_changes_and_sleep(
    history: list[Sample], expected: float | None
) -> None:
    assert file_age_s(history, "heartbeat_at") == (
        None if expected is None else pytest.approx(expected)
    )


def test_heartbeat_that_stopped_before_suspend_keeps_aging() -> None:
    history = [
        look(100, 70),
        look(130, 70),
        look(400, 70, slept_s=7200),
        look(430, 70, slept_s=7200),
    ]
    assert file_age_s(history, "heartbeat_at") == pytest.approx(360)


def test_samples_of_another_boot_are_ignored() -> None:
    before = Sample("watchdog", Moment(WALL, 9e6, "a"), {"heartbeat_at": WALL, SLEPT_KEY: 0.0})
    assert file_age_s([before, look(100, 70)], "heartbeat_at") == pytest.approx(30)
