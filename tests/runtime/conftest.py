"""Fixtures of a box whose processes end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_fixtures import settings

from console.demo.reaper import stop_and_remove_box
from console.system.box import Box, open_box


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for a box whose processes end with the test."""
    directory = tmp_path / "box"
    directory.mkdir(mode=0o700)
    (directory / "config.toml").write_text("")  # the reaper identifies a box by this file
    (directory / "rpa_worker.py").write_text("import time\nwhile True:\n    time.sleep(60)\n")
    yield directory
    stop_and_remove_box(directory)


@pytest.fixture
def box(place: Path) -> Iterator[Box]:
    with open_box(settings(place), place / "state") as opened:
        yield opened
