"""Blocking work off the event loop. Only who has a loop imports asyncio; most commands do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns, done in a thread."""
    from asyncio import to_thread

    return await to_thread(work, *args, **kwargs)
