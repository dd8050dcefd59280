"""Writing outside the state directory: the one way to it.

Other users and other programs may write in these directories. No symbolic link is followed below
the configured directory, neither as a file nor as a directory. A file with a second hard link, or
of another owner, is refused. Modes do not depend on the umask. Files on storage that may stop
answering are written by a process of their own (`foreign`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from console.core.frozen import frozen
from console.core.text.formatting import visible
from console.system.files import hanging_storage, safe_files
from console.system.files.safe_files import FileError, Problem, explained
from console.system.path_resolution import walk

PRIVATE, GROUP, PUBLIC = 0o600, 0o640, 0o644
"""Modes of files: with words of a worker in them, for programs of the group, for everybody."""
_DIRECTORY = 0o755
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OVERFLOW_UID = 65534
"""The kernel's answer for an owner that has no number in our user namespace."""


@frozen
class Door:
    """Files below one directory. `trusted`: users besides root and ourselves."""

    root: Path
    trusted: frozenset[int] = frozenset()

    def append(self, path: Path | str, line: str, max_bytes: int = 1_000_000) -> None:
        """Add a line to a log, which becomes NAME.1 when it would get too long. FileError."""
        append_rotating(self.root / path, line, max_bytes, root=self.root, trusted=self.trusted)

    def write(self, path: Path | str, text: str, mode: int = PRIVATE) -> None:
        """Put a whole file in place. Raises FileError."""
        write_atomically(self.root / path, text, mode, root=self.root, trusted=self.trusted)

    def remove(self, path: Path | str) -> None:
        """Remove a file; a missing one is removed already. Raises FileError."""
        root, names = _parted(self.root / path, self.root)
        hanging_storage.call(root, _remove, root, names, self.trusted)

    def read_json(self, path: Path | str, limit: int = 1_000_000) -> tuple[object, float]:
        """The JSON value in a file, and its mtime. Raises FileError."""
        whole = os.path.join(self.root, path)
        raw, mtime = hanging_storage.call(
            os.path.dirname(whole), safe_files.read_bytes, whole, limit
        )
        return safe_files.decode_file(raw), mtime

    def warning(self, patience_s: float = hanging_storage.PATIENCE_S) -> str | None:
        """What is unsafe about the directory, or None; None as well while it does not answer."""
        base = os.path.normpath(self.root)
        with suppress(FileError):
            found: str | None = hanging_storage.call(
                base, _unsafe, base, self.trusted, patience_s=patience_s
            )
            return found
        return None


def write_atomically(
    path: Path,
    text: str,
    mode: int = PRIVATE,
    *,
    root: Path | None = None,
    trusted: frozenset[int] = frozenset(),
) -> None:
    """Put `text` in place whole, or leave the old file as it was. Raises FileError."""
    with explained():
        raw = text.encode()
    base, names = _parted(path, root or path.parent)
    hanging_storage.call(base, _write, base, names, trusted, raw, mode)


def append_rotating(
    path: Path,
    line: str,
    max_bytes: int = 1_000_000,
    *,
    root: Path | None = None,
    trusted: frozenset[int] = frozenset(),
) -> None:
    """Add one line to a log; a log that would exceed `max_bytes` becomes NAME.1 first.

    One process writes a log. A line that does not fit on the disk is taken back whole. Raises
    FileError.
    """
    raw = visible(line).encode() + b"\n"
    base, names = _parted(path, root or path.parent)
    hanging_storage.call(base, _append, base, names, trusted, raw, max_bytes)


def _parted(path: Path, root: Path) -> tuple[str, tuple[str, ...]]:
    """The directory that is taken as it is configured, and the names below it."""
    whole, base = os.path.normpath(path), os.path.normpath(root)
    if whole.startswith(base.rstrip("/") + "/"):
        return base, tuple(whole[len(base) :].strip("/").split("/"))
    return os.path.dirname(whole), (os.path.basename(whole),)


# --- what is done there -------------------------------------------------------------------------


def _write(
    base: str, names: tuple[str, ...], trusted: frozenset[int], raw: bytes, mode: int
) -> None:
    name = names[-1]
    draft = f".{name}.{os.urandom(4).hex()}"
    with explained(), _entered(base, names[:-1], trusted) as place:
        try:
            # By descriptor: a full disk is an error here, not a file cut short in silence.
            with os.fdopen(os.open(draft, _NEW, mode, dir_fd=place), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, name, src_dir_fd=place, dst_dir_fd=place)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=place)


def _append(
    base: str, names: tuple[str, ...], trusted: frozenset[int], raw: bytes, max_bytes: int
) -> None:
    name = names[-1]
    with explained(), _entered(base, names[:-1], trusted) as place:
        if not _appended(name, place, trusted, raw, max_bytes):
            os.replace(name, f"{name}.1", src_dir_fd=place, dst_dir_fd=place)
            _appended(name, place, trusted, raw, max(max_bytes, len(raw)))


def _remove(base: str, names: tuple[str, ...], trusted: frozenset[int]) -> None:
    entered = _entered(base, names[:-1], trusted, make=False)
    with explained(), suppress(FileNotFoundError), entered as place:
        os.unlink(names[-1], dir_fd=place)


def _appended(name: str, place: int, trusted: frozenset[int], raw: bytes, max_bytes: int) -> bool:
    """Append `raw` unless that would make a longer file than `max_bytes` of one that has lines."""
    try:
        fd = os.open(name, _APPEND, dir_fd=place)
    except FileNotFoundError:
        fd = os.open(name, _APPEND | os.O_CREAT | os.O_EXCL, GROUP, dir_fd=place)
        os.fchmod(fd, GROUP)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise FileError(Problem.UNSAFE, f"{name} is a symbolic link") from None
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileError(Problem.IRREGULAR)
        if status.st_nlink > 1:
            raise FileError(Problem.UNSAFE, f"{name} has a second hard link")
        if not _ours(status, trusted):
            raise FileError(Problem.UNSAFE, f"{name} belongs to uid {status.st_uid}")
        if status.st_size and status.st_size + len(raw) > max_bytes:
            return False
        if os.write(fd, raw) < len(raw):
            os.ftruncate(fd, status.st_size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return True
    finally:
        os.close(fd)


# --- directories --------------------------------------------------------------------------------


@contextmanager
def _entered(
    base: str, names: tuple[str, ...], trusted: frozenset[int], make: bool = True
) -> Iterator[int]:
    """A descriptor of the directory `base`/`names`; missing ones are made. Raises OSError."""
    if _euid() == 0 and (reason := _refusal(base, trusted)):
        raise FileError(Problem.UNSAFE, reason)
    if make:
        _make(base)
    place = os.open(base, _ENTER)
    try:
        for name in names:
            if make:
                _mkdir(name, place)
            try:
                below = os.open(name, _ENTER | os.O_NOFOLLOW, dir_fd=place)
            except NotADirectoryError:
                raise FileError(Problem.UNSAFE, f"{name} is a link or no directory") from None
            place, before = below, place
            os.close(before)
            status = os.fstat(place)
            if _euid() == 0 and not _ours(status, trusted):
                raise FileError(Problem.UNSAFE, f"{base}/{name} belongs to uid {status.st_uid}")
        yield place
    finally:
        os.close(place)


def _make(base: str) -> None:
    """Make a directory and those above it that are missing. Raises OSError."""
    if not os.path.isdir(base):
        parent = os.path.dirname(base)
        if parent != base:
            _make(parent)
        _mkdir(base, None)


def _mkdir(name: str, place: int | None) -> None:
    try:
        os.mkdir(name, _DIRECTORY, dir_fd=place)
    except FileExistsError:
        if place is None and not os.path.isdir(name):  # below `base`, entering it tells
            raise
        return
    made = os.open(name, _ENTER | os.O_NOFOLLOW, dir_fd=place)
    try:
        os.fchmod(made, _DIRECTORY)  # whatever the umask
    finally:
        os.close(made)


def unsafe_directory(path: Path | str, trusted: frozenset[int] = frozenset()) -> str | None:
    """Why a directory is unsafe to write to, in words that name it; None where it is safe.

    Unsafe: others may write in it or in a directory above it, and no sticky bit keeps them from
    replacing what is there; or it belongs to a user other than root and ourselves; or it does not
    answer.
    """
    base = os.path.normpath(os.path.abspath(path))
    try:
        found: str | None = hanging_storage.call(base, _unsafe, base, trusted)
    except FileError as error:
        return str(error)
    return found


def _unsafe(base: str, trusted: frozenset[int]) -> str | None:
    if _euid() == 0 and (reason := _refusal(base, trusted)):
        return f"{reason}; nothing is written to {base}"
    return next((words for _, words in _findings(base, trusted)), None)


def _refusal(base: str, trusted: frozenset[int]) -> str | None:
    """Why root writes nothing to a directory: another user could send it elsewhere."""
    return next((words for severe, words in _findings(base, trusted) if severe), None)


def _findings(base: str, trusted: frozenset[int]) -> Iterator[tuple[bool, str]]:
    """(whether root must not write below it, words) for each unsafe directory on the way."""
    way = list(_way(base))
    whole = os.path.isdir(base)
    for number, (name, status) in enumerate(way):
        last = whole and number == len(way) - 1
        if not _ours(status, trusted | {0}):
            yield True, f"{name} belongs to uid {status.st_uid}, who can replace what is in it"
        elif status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            yield not last, f"every user can write to {name}: run chmod o-w {name}"


def _way(base: str) -> Iterator[tuple[str, os.stat_result]]:
    """The directories that are passed on the way to `base`, links resolved, `base` last."""
    with suppress(OSError):
        for reached in walk(base):
            status = os.lstat(reached)
            if stat.S_ISDIR(status.st_mode):
                yield reached, status


def _ours(status: os.stat_result, trusted: frozenset[int]) -> bool:
    owner = status.st_uid
    return owner == _euid() or owner in trusted or (owner == _OVERFLOW_UID and _mapped())


def _mapped() -> bool:
    """Whether we are in a user namespace, where owners outside have no number of their own."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _euid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
