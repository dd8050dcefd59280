"""The checks must be able to fail: each test has a night that is no proof."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "system"))

from night_checks import Night, less, limit_s
from night_faults import Act
from night_observers import Store
from night_site import EVERY_S, Life, Site, Start

from console.core.model import EventKind

BEGAN, ENDED = 1000.0, 1240.0


def looks(*spans: tuple[float, float]) -> dict[int, tuple[Any, ...]]:
    """Make samples of every monitor, as often as they are due, within the spans."""
    found = []
    for name, every in EVERY_S.items():
        for begins, ends in spans:
            at = begins
            while at < ends:
                found.append((name, at))
                at += every
    return {n: (n, name, at, at, "b", "{}", None) for n, (name, at) in enumerate(found, 1)}


def line(number: int, kind: EventKind, at: float, reason: str = "", who: str = "") -> Any:
    return (number, kind.value, at, at, "b", "worker", "", reason, who or None, None, "{}")


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Make four minutes: the daemon was killed after 100 s, for 4 s, and the worker once."""
    store = Store(tmp_path / "store.sqlite", (1, 1), looks((1000.0, 1100.0), (1105.0, 1240.0)))
    store.events = {
        1: line(1, EventKind.DAEMON_STARTED, 998.0, "PID 1"),
        2: line(2, EventKind.DIED, 1050.0, "ended by SIGKILL", "10:100:b"),
        3: line(3, EventKind.DAEMON_STARTED, 1104.5, "PID 2"),
    }
    lives = [Life(1, 997.0, 1100.0), Life(2, 1104.0)]
    acts = [Act("worker killed", 1050.0, 1050.0, 10), Act("daemon killed", 1100.0, 1100.0)]
    starts = [Start(10, 100, "1", 999.0, True), Start(11, 105, "2", 1052.0, True)]
    report = {"unknown": [{"text": "unknown", "events": [1, 3]}]}
    return Night(
        BEGAN, ENDED, Site(tmp_path), [store], lives, acts, starts, [11], report
    )  # fmt: skip


def judged(night: Night) -> str:
    """Return all reasons why a night is no proof."""
    night.check_workers(1, 1)
    night.check_stores()
    night.check_minutes()
    night.check_deaths()
    night.back()
    night.check_report()
    night.check_clock()
    night.check_mounts()
    return " | ".join(night.reasons)


def test_a_night_that_is_explained_is_a_proof(night: Night) -> None:
    assert judged(night) == ""
    assert night.check_minutes()[:3] == (3, 1, 0)
    assert night.check_deaths() == (1, 0)
    assert night.back() == [(2.0, True)]


def test_two_workers_are_found(night: Night) -> None:
    night.starts[1] = Start(11, 105, "2", 1052.0, False)
    night.living = [10, 11]
    words = judged(night)
    assert "PID 11 started while another one lived" in words and "2 workers run" in words


def test_a_token_that_does_not_rise_is_found(night: Night) -> None:
    night.starts[1] = Start(11, 105, "1", 1052.0, True)
    assert "token 1 was granted after 1" in judged(night)


def test_a_monitor_that_did_not_look_is_found(night: Night) -> None:
    kept = night.stores[0].samples
    hidden = limit_s("queue") + EVERY_S["queue"]
    night.stores[0].samples = {
        n: row for n, row in kept.items()
        if row[1] != "queue" or not 1150 < row[3] < 1150 + hidden
    }  # fmt: skip
    assert "queue did not look for" in judged(night)
    assert night.check_minutes()[2] >= 1


def test_a_pause_that_no_end_of_the_daemon_caused_is_found(night: Night) -> None:
    """The daemon's start would explain it; but it hung for half a minute before it was killed."""
    night.stores[0].samples = looks((1000.0, 1070.0), (1105.0, 1240.0))
    assert "no daemon ran or its state was lost for 4.5 s only" in judged(night)


def test_a_death_without_its_line_is_found(night: Night) -> None:
    del night.stores[0].events[2]
    assert "the death of worker PID 10 is in no ledger" in judged(night)


@pytest.mark.parametrize("how", ["deleted", "moved away"])
def test_a_lost_state_explains_only_the_death_that_fell_into_it(night: Night, how: str) -> None:
    del night.stores[0].events[2]
    night.acts.append(Act(f"state {how}, daemon running", 1099.0, 1099.0))
    assert "the death of worker PID 10 is in no ledger" in judged(night)
    night.reasons.clear()
    night.acts[0] = Act("worker killed", 1100.0, 1100.0, 10)
    assert "in no ledger" not in judged(night)


def test_a_daemon_start_that_the_report_leaves_out_is_found(night: Night) -> None:
    night.report = {"unknown": []}
    assert "the report does not say what #3 ended" in judged(night)


def test_a_clock_setting_that_no_ledger_tells_is_found(night: Night) -> None:
    night.acts.append(Act("clock set forward", 1150.0, 1150.0))
    assert "no ledger says that the clock was set" in judged(night)


def test_a_mount_that_nothing_names_is_found(night: Night) -> None:
    night.acts.append(Act("mount hung", 1150.0, 1170.0))
    assert "nothing names the mount that hung" in judged(night)


def test_spans_are_subtracted() -> None:
    assert [*less((0.0, 10.0), [(2.0, 3.0), (8.0, 12.0)])] == [(0.0, 2.0), (3.0, 8.0)]
