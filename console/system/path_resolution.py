"""The way that the kernel takes to a file, symbolic links included; see path_resolution(7)."""

from __future__ import annotations

import os
from collections.abc import Iterator

MAX_LINKS = 40
"""As many links as Linux follows."""


class TooManyLinks(OSError):
    """A path leads through more links than the kernel follows."""


def walk(path: str) -> Iterator[str]:
    """Each directory, link and file on the way to an absolute path, the path itself included.

    Each is yielded before the walk touches it: a caller that must not touch some storage stops
    there. What is missing or cannot be read is taken for no link. Raises TooManyLinks.
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
            raise TooManyLinks(f"{path}: leads through too many links")
        left += target.split("/")[::-1]
        reached = "/" if target.startswith("/") else os.path.dirname(reached)
