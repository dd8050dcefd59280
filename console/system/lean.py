"""What a process that runs for months does without: memory that others would have kept for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

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
    """To be called every few minutes; it takes some milliseconds.

    Every wait that ends by a timeout leaves a ring of garbage, and Python keeps two thousand
    emptied tuples of each length until it has looked at all objects: it would seldom do so.
    """
    gc.collect()


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
