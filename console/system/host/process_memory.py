"""What a process that runs for months does without: memory that others would have kept for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent.futures import ThreadPoolExecutor

_M_ARENA_MAX = -8
"""glibc's name for it."""
NEEDED = ("asyncio", "http.client", "msgspec.json")
UNWANTED = ("ssl", "typing_extensions")
"""What those load for themselves where it is there, and use for nothing of ours: 2 MB.

Who asks an `https://` address loads the first one then.
"""


def be_lean() -> None:
    """To be called before there are threads, and before anything of that is imported."""
    import ctypes

    with suppress(AttributeError, OSError):  # another C library has no such habit
        # Each thread would have a heap of its own, with its own holes.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    with without(*UNWANTED):
        for name in NEEDED:
            import_module(name)


def settle() -> None:
    """To be called when all that stays is in memory: no more garbage is looked for among that."""
    gc.collect()
    gc.freeze()


def tidy() -> None:
    """To be called every minute; it takes some milliseconds.

    Every wait that ends by a timeout leaves a ring of garbage, and Python keeps two thousand
    emptied tuples of each length until it has looked at all objects: it would seldom do so.
    What is left over in five minutes needs a room of its own, and what stays settles among it.
    """
    gc.collect()


class Threads:
    """A loop's threads for blocking work, new ones every minute.

    glibc keeps for each thread up to seven pieces of every size that it has freed, 200 kB in all,
    and gives them back when the thread ends only; so it is with the deepest stack it has needed.
    Those of a pool take turns: for hours each of them goes on collecting.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._pool: ThreadPoolExecutor | None = None

    def renew(self) -> None:
        """Who works goes on until it is done; whoever comes from now on is given a new thread."""
        from concurrent.futures import ThreadPoolExecutor

        before, self._pool = self._pool, ThreadPoolExecutor(thread_name_prefix="asyncio")
        self._loop.set_default_executor(self._pool)
        if before is not None:
            before.shutdown(wait=False)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Who imports one of these modules finds none, unless it is loaded already."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # Python's own sign for it
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
