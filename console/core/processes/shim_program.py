"""Tells a shim from other processes by its command line."""

from __future__ import annotations

from collections.abc import Sequence

_TAILS = ("/console/system/shim/program.py", "/console/system/shim.py")
"""Ends of the program's path. Shims of version 0.1.0 and before run the second."""


def is_shim(argv: Sequence[str]) -> bool:
    """Return True if a command line runs the shim's program, of whatever copy of the package."""
    return any(word.endswith(_TAILS) for word in argv[3:6])
