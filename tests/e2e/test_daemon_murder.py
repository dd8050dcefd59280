"""The daemon is killed while it writes. The long version is in `tests/prove.py`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from daemon_murder import Judge, murder, scene

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store.store import Store

KILLS = 10


def test_a_killed_daemon_loses_nothing_that_it_had_committed(tmp_path: Path) -> None:
    with scene(tmp_path / "box") as made:
        toll = murder(made, KILLS, random.Random(7))
    assert toll.kills == KILLS
    assert toll.samples > KILLS
    assert (toll.lost, toll.damage, toll.doubles) == ([], [], [])
    # What nobody saw is what nobody could see, and the look that was due: no life is invented.
    assert toll.clean, toll.words()


@pytest.mark.parametrize("sql", ["DELETE FROM samples WHERE id = 1", "UPDATE samples SET at = 9"])
def test_the_judge_notices_what_is_gone_or_changed(tmp_path: Path, sql: str) -> None:
    store = Store(tmp_path / "store.sqlite")
    store.add_samples([Sample("queue", Moment(1.0, 1.0, "b"))])
    with Judge(tmp_path / "store.sqlite") as judge:
        judge.come()
        judge.look()
        assert judge.verify() == ([], "")
        store.write([(sql, ())])
        assert len(judge.verify()[0]) == 1
    store.close()
