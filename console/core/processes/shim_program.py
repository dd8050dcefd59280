"""Identifies a shim by its command line."""

from __future__ import annotations

from collections.abc import Sequence

_SHIM_PATH_SUFFIXES = ("/console/system/shim/program.py", "/console/system/shim.py")
"""Suffixes of the program's path. Shims up to version 0.1.0 run the second one."""


def is_shim(argv: Sequence[str]) -> bool:
    """Return True if a command line runs the shim program, from any copy of the package."""
    return any(word.endswith(_SHIM_PATH_SUFFIXES) for word in argv[3:6])
