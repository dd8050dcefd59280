"""Watches a directory for writes with inotify(7), instead of polling."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80


class InotifyWatch:
    """An inotify descriptor on one directory, which is readable after a write to a file in it.

    Raises OSError if the kernel does not provide a descriptor.
    """

    _descriptor = -1

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            raise OSError("this system has no inotify")
        self._descriptor = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask) < 0:
            error = ctypes.get_errno()
            self.close()
            raise OSError(error, "inotify_add_watch")

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def drain(self) -> None:
        """Read and discard all pending inotify events."""
        try:
            while os.read(self._descriptor, 65_536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close
