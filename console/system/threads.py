"""Runs blocking functions outside the event loop.

asyncio is imported on the first call only, because most commands have no event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a thread, and return its result."""
    from asyncio import to_thread

    return await to_thread(function, *args, **kwargs)
