"""Short contention and kill tests. `tests/prove.py` runs the long versions."""

from __future__ import annotations

import os
import random

import pytest
from contention import fight
from contention_counts import Tally
from guard_harness import Arena, Make
from look_alikes import look_alikes
from mixed_load import mixed
from start_strategies import (
    Strategy,
    by_command_line,
    by_guard,
    by_looking,
    by_mutex,
    by_state_directories,
    write_config,
)

ROUNDS = int(os.environ.get("RPA_BATTLE_ROUNDS", "5"))
SECONDS = float(os.environ.get("RPA_BATTLE_SECONDS", "8"))
SEED = int(os.environ.get("RPA_BATTLE_SEED", "20251103"))


def slow(make: Make) -> Arena:
    """Make an arena whose worker is started by a wrapper and does not match for 0.3 s."""
    a = make(settle_s=0.5)
    a.settings.roles["worker"].command[:] = a.shell("sleep 0.3")
    return a


def proved(tally: Tally) -> None:
    """Assert that the tally has no duplicate, unclear or unexplained result."""
    assert tally.duplicate_rounds == 0 and tally.most_at_once <= 1, tally
    assert tally.most_daemons <= 1, tally
    assert tally.split_answers == 0 and tally.unclear == 0, tally
    assert tally.not_healed == 0, tally.notes
    assert not tally.unexplained, tally.unexplained


@pytest.mark.timeout(600)
def test_concurrent_callers_start_one_worker(
    make: Make, record_property: pytest.RecordProperty
) -> None:
    tally = fight(make(), by_guard, 4 * ROUNDS)
    record_property("tally", str(tally))
    proved(tally)
    assert tally.starts == 4 * ROUNDS


@pytest.mark.timeout(600)
def test_concurrent_callers_start_one_worker_behind_a_wrapper(make: Make) -> None:
    proved(fight(slow(make), by_guard, max(1, ROUNDS // 3)))


@pytest.mark.timeout(600)
def test_concurrent_callers_of_four_state_directories_start_one_worker(make: Make) -> None:
    a = make()
    with look_alikes(a):
        proved(fight(a, by_state_directories, ROUNDS))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("modes", ["", "turn"])
def test_random_kills_with_four_state_directories_leave_one_worker(make: Make, modes: str) -> None:
    a = make(modes=modes)
    with look_alikes(a):
        proved(fight(a, by_state_directories, max(2, ROUNDS // 2), murder=random.Random(SEED)))


@pytest.mark.timeout(600)
def test_random_kills_leave_one_worker(make: Make, record_property: pytest.RecordProperty) -> None:
    tally = fight(make(), by_guard, ROUNDS, murder=random.Random(SEED))
    record_property("tally", str(tally))
    proved(tally)
    assert tally.killed.total() > 0


@pytest.mark.timeout(600)
def test_random_kills_leave_one_worker_behind_a_wrapper(make: Make) -> None:
    proved(fight(slow(make), by_guard, max(1, ROUNDS // 3), murder=random.Random(SEED + 1)))


@pytest.mark.timeout(600)
def test_concurrent_ensure_commands_start_one_worker(make: Make) -> None:
    a = make()
    write_config(a)
    proved(fight(a, by_command_line, max(1, ROUNDS // 5), callers=16))


@pytest.mark.timeout(600)
def test_event_log_explains_every_process_under_mixed_load(
    make: Make, record_property: pytest.RecordProperty
) -> None:
    """Each worker has a start and an end in the event log."""
    tally = mixed(make(), SECONDS, random.Random(SEED))
    record_property("tally", str(tally))
    proved(tally)
    assert tally.starts > 1 and tally.callers > 7, tally


@pytest.mark.parametrize("strategy", [by_looking, by_mutex])
def test_harness_detects_duplicates_of_unsafe_strategies(make: Make, strategy: Strategy) -> None:
    """Two strategies start duplicates: no lock, and a mutex with a time-out."""
    tally = fight(slow(make), strategy, 1)
    assert tally.duplicate_rounds == 1 and tally.most_at_once > 1, tally
