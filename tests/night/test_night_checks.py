"""Tests that each check of a night can fail: each test has a night that is no proof."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "system"))

from night_checks import Night, max_gap_s, subtract
from night_faults import Fault
from night_observers import Store
from night_site import INTERVALS_S, DaemonRun, Site, Start

from console.core.model.events import EventKind

BEGAN, ENDED = 1000.0, 1240.0


def make_samples(*spans: tuple[float, float]) -> dict[int, tuple[Any, ...]]:
    """Return samples of every monitor within the spans, at its interval."""
    samples = []
    for name, every in INTERVALS_S.items():
        for begins, ends in spans:
            at = begins
            while at < ends:
                samples.append((name, at))
                at += every
    return {n: (n, name, at, at, "b", "{}", None) for n, (name, at) in enumerate(samples, 1)}


def make_event(number: int, kind: EventKind, at: float, reason: str = "", who: str = "") -> Any:
    return (number, kind.value, at, at, "b", "worker", "", reason, who or None, None, "{}")


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Return a night of four minutes: one kill of the worker, 4 s without a daemon after 100 s."""
    store = Store(
        tmp_path / "store.sqlite", (1, 1), make_samples((1000.0, 1100.0), (1105.0, 1240.0))
    )
    store.events = {
        1: make_event(1, EventKind.DAEMON_STARTED, 998.0, "PID 1"),
        2: make_event(2, EventKind.DIED, 1050.0, "ended by SIGKILL", "10:100:b"),
        3: make_event(3, EventKind.DAEMON_STARTED, 1104.5, "PID 2"),
    }
    daemon_runs = [DaemonRun(1, 997.0, 1100.0), DaemonRun(2, 1104.0)]
    faults = [Fault("worker killed", 1050.0, 1050.0, 10), Fault("daemon killed", 1100.0, 1100.0)]
    starts = [Start(10, 100, "1", 999.0, True), Start(11, 105, "2", 1052.0, True)]
    report = {"unknown": [{"text": "unknown", "events": [1, 3]}]}
    return Night(
        BEGAN, ENDED, Site(tmp_path), [store], daemon_runs, faults, starts, [11], report
    )  # fmt: skip


def collect_reasons(night: Night) -> str:
    """Run all checks. Return the reasons why the night is no proof."""
    night.check_workers(1, 1)
    night.check_stores()
    night.check_minutes()
    night.check_deaths()
    night.restart_delays()
    night.check_report()
    night.check_clock()
    night.check_mounts()
    return " | ".join(night.reasons)


def test_an_explained_night_is_a_proof(night: Night) -> None:
    assert collect_reasons(night) == ""
    assert night.check_minutes()[:3] == (3, 1, 0)
    assert night.check_deaths() == (1, 0)
    assert night.restart_delays() == [(2.0, True)]


def test_two_workers_are_found(night: Night) -> None:
    night.starts[1] = Start(11, 105, "2", 1052.0, False)
    night.living_pids = [10, 11]
    reasons = collect_reasons(night)
    assert "PID 11 started while another one lived" in reasons and "2 workers run" in reasons


def test_a_token_that_does_not_increase_is_found(night: Night) -> None:
    night.starts[1] = Start(11, 105, "1", 1052.0, True)
    assert "token 1 was granted after 1" in collect_reasons(night)


def test_a_monitor_without_samples_is_found(night: Night) -> None:
    kept = night.stores[0].samples
    hidden = max_gap_s("queue") + INTERVALS_S["queue"]
    night.stores[0].samples = {
        n: row for n, row in kept.items()
        if row[1] != "queue" or not 1150 < row[3] < 1150 + hidden
    }  # fmt: skip
    assert "queue has no sample for" in collect_reasons(night)
    assert night.check_minutes()[2] >= 1


def test_a_gap_longer_than_the_daemons_absence_is_found(night: Night) -> None:
    """The daemon hung for half a minute before its kill, so its next start explains too little."""
    night.stores[0].samples = make_samples((1000.0, 1070.0), (1105.0, 1240.0))
    assert "no daemon ran or its state was lost for 4.5 s only" in collect_reasons(night)


def test_a_death_without_an_event_is_found(night: Night) -> None:
    del night.stores[0].events[2]
    assert "the death of worker PID 10 is in no ledger" in collect_reasons(night)


@pytest.mark.parametrize("how", ["deleted", "moved away"])
def test_a_lost_state_explains_only_the_deaths_during_its_absence(night: Night, how: str) -> None:
    del night.stores[0].events[2]
    night.faults.append(Fault(f"state {how}, daemon running", 1099.0, 1099.0))
    assert "the death of worker PID 10 is in no ledger" in collect_reasons(night)
    night.reasons.clear()
    night.faults[0] = Fault("worker killed", 1100.0, 1100.0, 10)
    assert "in no ledger" not in collect_reasons(night)


def test_a_daemon_start_missing_in_the_report_is_found(night: Night) -> None:
    night.report = {"unknown": []}
    assert "the report does not cite #3" in collect_reasons(night)


def test_a_clock_setting_without_an_event_is_found(night: Night) -> None:
    night.faults.append(Fault("clock set forward", 1150.0, 1150.0))
    assert "no ledger says that the clock was set" in collect_reasons(night)


def test_a_hung_mount_without_sample_or_event_is_found(night: Night) -> None:
    night.faults.append(Fault("mount hung", 1150.0, 1170.0))
    assert "nothing names the mount that hung" in collect_reasons(night)


def test_spans_are_subtracted() -> None:
    assert [*subtract((0.0, 10.0), [(2.0, 3.0), (8.0, 12.0)])] == [(0.0, 2.0), (3.0, 8.0)]
