"""When somebody last looked at this box's console: what happened since is what is new to them."""

from __future__ import annotations

import contextlib
import os

from console.core.model import Moment
from console.system.paths import Paths


def last(paths: Paths, now: Moment) -> Moment | None:
    """The moment that was noted last; None when there is none that lies before now."""
    try:
        at = paths.looked.lstat().st_mtime
    except OSError:
        return None
    return Moment(at) if at < now.at else None


def note(paths: Paths, now: Moment) -> None:
    """Somebody looks now. Where that cannot be written it is not known the next time."""
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(paths.looked, flags, 0o600)
        try:
            os.utime(descriptor, (now.at, now.at))
        finally:
            os.close(descriptor)
