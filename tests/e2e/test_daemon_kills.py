"""The daemon is killed while it writes. `tests/prove.py` runs the long version."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from daemon_kills import Judge, murder, scene

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store.store import Store

KILLS = 10


def test_killed_daemon_loses_no_committed_row(tmp_path: Path) -> None:
    with scene(tmp_path / "box") as made:
        toll = murder(made, KILLS, random.Random(7))
    assert toll.kills == KILLS
    assert toll.samples > KILLS
    assert (toll.lost, toll.damage, toll.doubles) == ([], [], [])
    # A gap covers the daemon's downtime and at most the observation that was due.
    assert toll.clean, toll.words()


@pytest.mark.parametrize("sql", ["DELETE FROM samples WHERE id = 1", "UPDATE samples SET at = 9"])
def test_judge_detects_deleted_and_changed_rows(tmp_path: Path, sql: str) -> None:
    store = Store(tmp_path / "store.sqlite")
    store.add_samples([Sample("queue", Moment(1.0, 1.0, "b"))])
    with Judge(tmp_path / "store.sqlite") as judge:
        judge.come()
        judge.look()
        assert judge.verify() == ([], "")
        store.write([(sql, ())])
        assert len(judge.verify()[0]) == 1
    store.close()
