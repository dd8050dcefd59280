"""Path resolution as the kernel does it, with symbolic links; see path_resolution(7)."""

from __future__ import annotations

import os
from collections.abc import Iterator

MAX_LINKS = 40
"""The number of links that Linux follows."""


class TooManyLinksError(OSError):
    """A path leads through more links than the kernel follows."""


def walk_path(path: str) -> Iterator[str]:
    """Yield each directory, link and file on the way to an absolute path, and the path itself.

    Each is yielded before it is accessed, so that a caller can stop before storage that it must not
    access. Missing and unreadable files are treated as no links. Raises TooManyLinksError.
    """
    left, reached, links = path.split("/")[::-1], "/", 0
    yield reached
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            reached = os.path.dirname(reached)
            continue
        reached = os.path.join(reached, name)
        yield reached
        try:
            target = os.readlink(reached)
        except (OSError, ValueError):
            continue
        if (links := links + 1) > MAX_LINKS:
            raise TooManyLinksError(f"{path}: leads through too many links")
        left += target.split("/")[::-1]
        reached = "/" if target.startswith("/") else os.path.dirname(reached)
