"""Hears from the kernel that somebody has written into a directory, instead of looking again."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80


class Stirring:
    """An inotify descriptor on one directory: readable once a file in it was written.

    Raises OSError where the kernel has none to give.
    """

    _descriptor = -1

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            raise OSError("this system has no inotify")
        self._descriptor = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        wanted = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if libc.inotify_add_watch(self._descriptor, os.fsencode(directory), wanted) < 0:
            error = ctypes.get_errno()
            self.close()
            raise OSError(error, "inotify_add_watch")

    def fileno(self) -> int:
        """What to wait on."""
        return self._descriptor

    def drain(self) -> None:
        """Forget what was heard so far."""
        try:
            while os.read(self._descriptor, 65_536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop listening."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close
