"""Fixtures that make arenas. Each arena ends its own processes by PID."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from guard_harness import Arena, Make, arena


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes arenas: `make(grace_s=1.0, modes="deaf")`."""
    with ExitStack() as stack:

        def one(name: str = "arena", **role: Any) -> Arena:
            return stack.enter_context(arena(tmp_path / name, **role))

        yield one
