"""Preloads the package's modules, copies them for shims, and detects changes on the disk.

A running daemon must be able to repair workers after an upgrade, a rollback or a removal of the
package. The daemon therefore imports at its start every module that a repair may need. Shims run
from a copy of the package in the state directory, since they import modules when their worker dies.
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
from console.core.records import Record
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError
from console.system.paths import Paths

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_PRELOADED_PACKAGES = ("core", "system", "runtime", "monitors")
_COPIED_PACKAGES = ("core", "system")
_NOT_PRELOADED_MODULES = {
    "console.system.host.logind",
    "console.system.shim.program",
    "console.system.host.systemd_unit",
}
"""Modules that the daemon never needs."""
_PRELOADED_LIBRARIES = (
    "marshal",
    "select",
    "shutil",
    "signal",
    "subprocess",
    "tomli_w",
    "tomllib",
    "portalocker",
)
_SHIM_PROGRAM = Path("system", "shim", "program.py")
_VERSION_PATTERN = re.compile(r'^__version__ = "([^"]*)"', re.MULTILINE)


class InstalledPackage(Record, frozen=True):
    """Version and fingerprint of the package's files on the disk."""

    version: str | None
    """None if the package was removed."""
    fingerprint: str


def preload() -> None:
    """Import every module that the daemon may need later."""
    for package in _PRELOADED_PACKAGES:
        for path in sorted((PACKAGE_ROOT / package).rglob("*.py")):
            name = ".".join(("console", *path.relative_to(PACKAGE_ROOT).with_suffix("").parts))
            if path.stem != "__init__" and name not in _NOT_PRELOADED_MODULES:
                import_module(name)
    for name in _PRELOADED_LIBRARIES:
        with suppress(ImportError):
            import_module(name)


def read_installed(root: Path = PACKAGE_ROOT) -> InstalledPackage:
    """Return the package's version and fingerprint on the disk.

    Raises FileError, also if the storage does not answer in time.
    """
    version, fingerprint = hanging_storage.call(str(root), _read_version_and_fingerprint, str(root))
    return InstalledPackage(version, fingerprint)


def _read_version_and_fingerprint(root: str) -> tuple[str | None, str]:
    try:
        text = Path(root, "__init__.py").read_text("utf-8", "replace")
    except OSError:
        return None, ""
    match = _VERSION_PATTERN.search(text)
    return match[1] if match else "?", _fingerprint(root, _PRELOADED_PACKAGES)


def _fingerprint(root: str, packages: tuple[str, ...]) -> str:
    """Return a CRC-32 of the names, sizes and modification times of the modules, in hex."""
    checksum = 0
    for package in packages:
        for name, status in sorted(_list_modules(root, package)):
            line = f"{name} {status.st_size} {status.st_mtime_ns}\n"
            checksum = binascii.crc32(line.encode(), checksum)
    return f"{checksum:08x}"


def _list_modules(root: str, package: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the modules of a sub-package, with their paths relative to `root`."""
    with suppress(OSError), os.scandir(os.path.join(root, package)) as entries:
        for entry in entries:
            name = f"{package}/{entry.name}"
            if entry.name.endswith(".py"):
                with suppress(OSError):
                    yield name, entry.stat()
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _list_modules(root, name)


# --- the copy that shims run from ---------------------------------------------------------------


@cache
def _copy_name() -> str:
    """Return the copy's directory name, from the fingerprint at this process's first call."""
    return f"{__version__}-{_fingerprint(str(PACKAGE_ROOT), _COPIED_PACKAGES)}"


def shim_program(paths: Paths) -> str:
    """Return the path of the shim's script in the copy, which is made if it is missing.

    If the copy cannot be made, return the path in the package itself.
    """
    package_program = str(PACKAGE_ROOT / _SHIM_PROGRAM)
    copy = paths.runtime / _copy_name()
    program = copy / "console" / _SHIM_PROGRAM
    if not program.exists():
        try:
            _make_copy(copy)
        except (OSError, FileError):
            return package_program  # for example, on a full disk
    return str(program)


def _make_copy(target: Path) -> None:
    """Make the copy under a temporary name, then rename it. Raises OSError.

    It is not an error if another process has made the copy meanwhile.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        _copy_file(PACKAGE_ROOT / "__init__.py", draft / "console")
        for package in _COPIED_PACKAGES:
            for path in (PACKAGE_ROOT / package).rglob("*.py"):
                _copy_file(path, draft / "console" / path.parent.relative_to(PACKAGE_ROOT))
        os.rename(draft, target)
    except OSError:
        _remove_tree(draft)
        if not target.exists():
            raise


def _copy_file(path: Path, directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(directory / path.name, "xb") as file:
        file.write(path.read_bytes())


def _remove_tree(directory: Path) -> None:
    import shutil  # rarely needed

    shutil.rmtree(directory, ignore_errors=True)


def remove_unused_copies(paths: Paths) -> None:
    """Remove the copies that no shim uses, except this process's own."""
    used = {_copy_name(), *_find_used_copies(paths)}
    with suppress(OSError):
        for name in os.listdir(paths.runtime):
            if name not in used:
                _remove_tree(paths.runtime / name)


def _find_used_copies(paths: Paths) -> Iterator[str]:
    prefix = os.fsencode(paths.runtime) + b"/"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            for word in file.read(8192).split(b"\0")[3:6]:
                if word.startswith(prefix):
                    yield os.fsdecode(word[len(prefix) :].split(b"/")[0])


def find_interpreter() -> str:
    """Return an existing Python interpreter: this process's own, or its virtualenv's base.

    If both are gone, return `/proc/self/exe`.
    """
    for path in (sys.executable, getattr(sys, "_base_executable", "")):
        if path and os.access(path, os.X_OK):
            return path
    return "/proc/self/exe"
