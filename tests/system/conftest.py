"""Arenas for tests: each ends what it started, by PID."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from arena import Arena, Make, arena


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes arenas: `make(grace_s=1.0, modes="deaf")`."""
    with ExitStack() as stack:

        def one(name: str = "arena", **role: Any) -> Arena:
            return stack.enter_context(arena(tmp_path / name, **role))

        yield one
