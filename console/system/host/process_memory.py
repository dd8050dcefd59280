"""Limits the memory that glibc and Python keep in a process that runs for months."""

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
"""M_ARENA_MAX of mallopt(3)."""
PRELOADED_MODULES = ("asyncio", "http.client", "msgspec.json")
BLOCKED_MODULES = ("ssl", "typing_extensions")
"""Optional imports of the preloaded modules that this project does not need: 2 MB.

The first request to an `https://` address imports `ssl`.
"""


def reduce_memory() -> None:
    """Limit malloc to one arena, and preload modules without their optional imports.

    Call this before any thread is started, and before any of those modules is imported.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # other C libraries may lack mallopt
        # By default, each thread gets an arena of its own, with its own fragmentation.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    with block_imports(*BLOCKED_MODULES):
        for name in PRELOADED_MODULES:
            import_module(name)


def freeze_gc() -> None:
    """Exclude all current objects from garbage collection.

    Call this when all long-lived objects have been created.
    """
    gc.collect()
    gc.freeze()


def collect_garbage() -> None:
    """Run a full garbage collection. Call this every minute; it takes some milliseconds.

    Every wait that ends by a timeout leaves a reference cycle, and Python keeps up to 2,000 freed
    tuples of each length until a full collection, which it would rarely run by itself. The garbage
    of five minutes needs additional heap, and long-lived objects allocated among it fragment that.
    """
    gc.collect()


class RenewingExecutor:
    """The default executor of an event loop, whose threads are replaced every minute.

    glibc caches for each thread up to seven freed chunks of every size, 200 kB in all, and releases
    them only when the thread ends; the same is true of the thread's deepest stack. The threads of a
    pool take turns, so each of them would fill its cache over hours.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._pool: ThreadPoolExecutor | None = None

    def renew(self) -> None:
        """Replace the thread pool. Running calls finish; later calls get new threads."""
        from concurrent.futures import ThreadPoolExecutor

        previous, self._pool = self._pool, ThreadPoolExecutor(thread_name_prefix="asyncio")
        self._loop.set_default_executor(self._pool)
        if previous is not None:
            previous.shutdown(wait=False)


@contextmanager
def block_imports(*module_names: str) -> Iterator[None]:
    """Make imports of these modules fail within the context, unless they are loaded already."""
    absent = [name for name in module_names if name not in sys.modules]
    # An entry of None in sys.modules makes an import raise ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
