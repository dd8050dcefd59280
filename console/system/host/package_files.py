"""The package's own files: loaded early, copied for shims, compared with what is on the disk.

An upgrade, a rollback or a removal of the package must not take repair away from a running daemon.
The daemon therefore imports at its start whatever repair may need. Shims run from a copy of the
package in the state directory, since they import again when their worker dies.
"""

from __future__ import annotations

import binascii
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from console import __version__
from console.core.frozen import frozen
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError
from console.system.paths import Paths

ROOT = Path(__file__).resolve().parents[2]
_LOADED = ("core", "system", "runtime", "monitors")
_COPIED = ("core", "system")
_LATER = {
    "console.system.host.logind",
    "console.system.shim.program",
    "console.system.host.systemd_unit",
}
"""Modules that the daemon never needs."""
_ALSO = ("marshal", "select", "shutil", "signal", "subprocess", "tomli_w", "tomllib", "portalocker")
_SHIM = Path("system", "shim", "program.py")
_VERSION = re.compile(r'^__version__ = "([^"]*)"', re.MULTILINE)


@frozen
class Installed:
    """What the package's files on the disk are."""

    version: str | None
    """None: the package is gone."""
    fingerprint: str


def preload() -> None:
    """Import every module that the daemon may need later."""
    for part in _LOADED:
        for path in sorted((ROOT / part).rglob("*.py")):
            name = ".".join(("console", *path.relative_to(ROOT).with_suffix("").parts))
            if path.stem != "__init__" and name not in _LATER:
                import_module(name)
    for name in _ALSO:
        with suppress(ImportError):
            import_module(name)


def installed(root: Path = ROOT) -> Installed:
    """What is on the disk now; also on storage that may not answer. Raises FileError."""
    version, fingerprint = hanging_storage.call(str(root), _examine, str(root))
    return Installed(version, fingerprint)


def _examine(root: str) -> tuple[str | None, str]:
    try:
        text = Path(root, "__init__.py").read_text("utf-8", "replace")
    except OSError:
        return None, ""
    found = _VERSION.search(text)
    return found[1] if found else "?", _fingerprint(root, _LOADED)


def _fingerprint(root: str, parts: tuple[str, ...]) -> str:
    """Names, sizes and times of the package's modules."""
    told = 0
    for part in parts:
        for name, status in sorted(_modules(root, part)):
            line = f"{name} {status.st_size} {status.st_mtime_ns}\n"
            told = binascii.crc32(line.encode(), told)
    return f"{told:08x}"


def _modules(root: str, part: str) -> Iterator[tuple[str, os.stat_result]]:
    """The modules below `part`, by their paths from `root`."""
    with suppress(OSError), os.scandir(os.path.join(root, part)) as entries:
        for entry in entries:
            name = f"{part}/{entry.name}"
            if entry.name.endswith(".py"):
                with suppress(OSError):
                    yield name, entry.stat()
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _modules(root, name)


# --- the copy that shims run from ---------------------------------------------------------------


@cache
def _name() -> str:
    """The copy's name: that of the files as this process first saw them."""
    return f"{__version__}-{_fingerprint(str(ROOT), _COPIED)}"


def shim(paths: Paths) -> str:
    """The shim's program: in the copy, which is made if it is missing; else the package's own."""
    own = str(ROOT / _SHIM)
    copy = paths.runtime / _name()
    program = copy / "console" / _SHIM
    if not program.exists():
        try:
            _copy(copy)
        except (OSError, FileError):
            return own  # a full disk, above all
    return str(program)


def _copy(copy: Path) -> None:
    """Make the copy, whole under another name first. Raises OSError.

    Another process may have made it meanwhile.
    """
    draft = copy.with_name(f".{copy.name}.{os.getpid()}")
    draft.mkdir(mode=0o700)
    try:
        _copy_file(ROOT / "__init__.py", draft / "console")
        for part in _COPIED:
            for path in (ROOT / part).rglob("*.py"):
                _copy_file(path, draft / "console" / path.parent.relative_to(ROOT))
        os.rename(draft, copy)
    except OSError:
        _remove(draft)
        if not copy.exists():
            raise


def _copy_file(path: Path, directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(directory / path.name, "xb") as file:
        file.write(path.read_bytes())


def _remove(directory: Path) -> None:
    import shutil  # seldom needed

    shutil.rmtree(directory, ignore_errors=True)


def forget_copies(paths: Paths) -> None:
    """Remove the copies that no shim runs from."""
    used = {_name(), *_used(paths)}
    with suppress(OSError):
        for name in os.listdir(paths.runtime):
            if name not in used:
                _remove(paths.runtime / name)


def _used(paths: Paths) -> Iterator[str]:
    below = os.fsencode(paths.runtime) + b"/"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            for word in file.read(8192).split(b"\0")[3:6]:
                if word.startswith(below):
                    yield os.fsdecode(word[len(below) :].split(b"/")[0])


def interpreter() -> str:
    """A Python that is there: our own, or the one that its environment was made from."""
    for path in (sys.executable, getattr(sys, "_base_executable", "")):
        if path and os.access(path, os.X_OK):
            return path
    return "/proc/self/exe"
