"""The time at which the console of this box was last viewed; later events are new to the viewer."""

from __future__ import annotations

import contextlib
import os

from console.core.model.time import Moment
from console.system.paths import Paths


def read(paths: Paths, now: Moment) -> Moment | None:
    """Return the recorded time; None if there is none before `now`."""
    try:
        at = paths.last_viewed.lstat().st_mtime
    except OSError:
        return None
    return Moment(at) if at < now.at else None


def update(paths: Paths, now: Moment) -> None:
    """Record that the console is viewed now. Write errors are ignored."""
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(paths.last_viewed, flags, 0o600)
        try:
            os.utime(descriptor, (now.at, now.at))
        finally:
            os.close(descriptor)
