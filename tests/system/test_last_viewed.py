"""Tests of the time at which an operator last viewed the console."""

from __future__ import annotations

import os
from pathlib import Path

from console.core.model.time import Moment
from console.system.files import last_viewed
from console.system.paths import Paths

NOW = Moment(1_795_000_000.25, 5.0, "boot")


def test_last_viewed_reads_back_unless_it_is_in_the_future(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert last_viewed.read(paths, NOW) is None
    last_viewed.update(paths, NOW)
    later = last_viewed.read(paths, NOW.plus(60))
    assert later is not None and abs(later.at - NOW.at) < 0.001
    assert last_viewed.read(paths, NOW.plus(-60)) is None, "the clock was set back"
    last_viewed.update(paths, NOW.plus(3600))
    again = last_viewed.read(paths, NOW.plus(7200))
    assert again is not None and abs(again.at - NOW.at - 3600) < 0.001


def test_update_follows_no_link_and_raises_no_error(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    os.utime(other, (1.0, 1.0))
    paths = Paths(tmp_path / "state")
    last_viewed.update(paths, NOW)  # there is no such directory
    paths.state.mkdir()
    paths.last_viewed.symlink_to(other)
    last_viewed.update(paths, NOW)
    assert other.stat().st_mtime == 1.0
