"""Safe writes outside the state directory; all such writes of the program use this module.

Other users and other programs may write in these directories. No symbolic link is followed below
the configured directory, neither as a file nor as a directory. A file with a second hard link, or
of another owner, is refused. Modes do not depend on the umask. Files on storage that may hang are
written by a process of their own (`hanging_storage`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from console.core.records import Record
from console.core.text.formatting import sanitize_text
from console.system.files import hanging_storage, safe_files
from console.system.files.safe_files import FileError, FileProblem, translate_errors
from console.system.path_resolution import walk_path

PRIVATE_MODE, GROUP_MODE, PUBLIC_MODE = 0o600, 0o640, 0o644
"""File modes: for text from a worker, for programs of the group, for all users."""
_DIRECTORY_MODE = 0o755
_APPEND_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OVERFLOW_UID = 65534
"""The kernel reports this uid for an owner that is not mapped in our user namespace."""


class OutsideDirectory(Record, frozen=True):
    """The files below one directory. `trusted_uids`: users besides root and the current user."""

    root: Path
    trusted_uids: frozenset[int] = frozenset()

    def append(self, path: Path | str, line: str, max_bytes: int = 1_000_000) -> None:
        """Append a line to a log, renamed to NAME.1 when it would get too long. FileError."""
        append_rotating(
            self.root / path, line, max_bytes, root=self.root, trusted_uids=self.trusted_uids
        )

    def write(self, path: Path | str, text: str, mode: int = PRIVATE_MODE) -> None:
        """Write a whole file atomically. Raises FileError."""
        write_atomically(
            self.root / path, text, mode, root=self.root, trusted_uids=self.trusted_uids
        )

    def remove(self, path: Path | str) -> None:
        """Remove a file, if it exists. Raises FileError."""
        root, names = _split_path(self.root / path, self.root)
        hanging_storage.call(root, _remove, root, names, self.trusted_uids)

    def read_json(self, path: Path | str, limit: int = 1_000_000) -> tuple[object, float]:
        """Return the JSON value in a file, and the file's mtime. Raises FileError."""
        full_path = os.path.join(self.root, path)
        raw, mtime = hanging_storage.call(
            os.path.dirname(full_path), safe_files.read_bytes, full_path, limit
        )
        return safe_files.decode_json_file(raw), mtime

    def safety_warning(self, timeout_s: float = hanging_storage.OPERATION_TIMEOUT_S) -> str | None:
        """Return the reason why the directory is unsafe; None if it is safe or does not respond."""
        base = os.path.normpath(self.root)
        with suppress(FileError):
            reason: str | None = hanging_storage.call(
                base, _unsafe_reason, base, self.trusted_uids, timeout_s=timeout_s
            )
            return reason
        return None


def write_atomically(
    path: Path,
    text: str,
    mode: int = PRIVATE_MODE,
    *,
    root: Path | None = None,
    trusted_uids: frozenset[int] = frozenset(),
) -> None:
    """Replace the file by one with `text`; on failure the old one remains. Raises FileError."""
    with translate_errors():
        raw = text.encode()
    base, names = _split_path(path, root or path.parent)
    hanging_storage.call(base, _write, base, names, trusted_uids, raw, mode)


def append_rotating(
    path: Path,
    line: str,
    max_bytes: int = 1_000_000,
    *,
    root: Path | None = None,
    trusted_uids: frozenset[int] = frozenset(),
) -> None:
    """Append one line to a log. A log that would exceed `max_bytes` is renamed to NAME.1 first.

    A log must have one writing process only. A line that does not fit on the disk is removed
    whole. Raises FileError.
    """
    raw = sanitize_text(line).encode() + b"\n"
    base, names = _split_path(path, root or path.parent)
    hanging_storage.call(base, _append, base, names, trusted_uids, raw, max_bytes)


def _split_path(path: Path, root: Path) -> tuple[str, tuple[str, ...]]:
    """Split `path` into the directory in which links are followed, and the names below it."""
    full_path, base = os.path.normpath(path), os.path.normpath(root)
    if full_path.startswith(base.rstrip("/") + "/"):
        return base, tuple(full_path[len(base) :].strip("/").split("/"))
    return os.path.dirname(full_path), (os.path.basename(full_path),)


# --- operations ---------------------------------------------------------------------------------


def _write(
    base: str, path_parts: tuple[str, ...], trusted_uids: frozenset[int], raw: bytes, mode: int
) -> None:
    name = path_parts[-1]
    draft = f".{name}.{os.urandom(4).hex()}"
    with translate_errors(), _open_directory(base, path_parts[:-1], trusted_uids) as directory_fd:
        try:
            # fsync reports a full disk; without it the file could be truncated without an error.
            with os.fdopen(os.open(draft, _CREATE_FLAGS, mode, dir_fd=directory_fd), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=directory_fd)


def _append(
    base: str, path_parts: tuple[str, ...], trusted_uids: frozenset[int], raw: bytes, max_bytes: int
) -> None:
    name = path_parts[-1]
    with translate_errors(), _open_directory(base, path_parts[:-1], trusted_uids) as directory_fd:
        if not _append_if_fits(name, directory_fd, trusted_uids, raw, max_bytes):
            os.replace(name, f"{name}.1", src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
            _append_if_fits(name, directory_fd, trusted_uids, raw, max(max_bytes, len(raw)))


def _remove(base: str, path_parts: tuple[str, ...], trusted_uids: frozenset[int]) -> None:
    entered = _open_directory(base, path_parts[:-1], trusted_uids, create=False)
    with translate_errors(), suppress(FileNotFoundError), entered as directory_fd:
        os.unlink(path_parts[-1], dir_fd=directory_fd)


def _append_if_fits(
    name: str, directory_fd: int, trusted_uids: frozenset[int], raw: bytes, max_bytes: int
) -> bool:
    """Append `raw`; return False if that would make a file with content exceed `max_bytes`."""
    try:
        fd = os.open(name, _APPEND_FLAGS, dir_fd=directory_fd)
    except FileNotFoundError:
        fd = os.open(name, _APPEND_FLAGS | os.O_CREAT | os.O_EXCL, GROUP_MODE, dir_fd=directory_fd)
        os.fchmod(fd, GROUP_MODE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise FileError(FileProblem.UNSAFE, f"{name} is a symbolic link") from None
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileError(FileProblem.NOT_REGULAR)
        if status.st_nlink > 1:
            raise FileError(FileProblem.UNSAFE, f"{name} has a second hard link")
        if not _is_trusted_owner(status, trusted_uids):
            raise FileError(FileProblem.UNSAFE, f"{name} belongs to uid {status.st_uid}")
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
def _open_directory(
    base: str, path_parts: tuple[str, ...], trusted_uids: frozenset[int], create: bool = True
) -> Iterator[int]:
    """Yield a descriptor of the directory `base`/`path_parts`, created if `create`.

    Raises OSError, FileError.
    """
    if _euid() == 0 and (reason := _root_write_refusal(base, trusted_uids)):
        raise FileError(FileProblem.UNSAFE, reason)
    if create:
        _make_directories(base)
    directory_fd = os.open(base, _DIRECTORY_FLAGS)
    try:
        for name in path_parts:
            if create:
                _make_directory(name, directory_fd)
            try:
                child_fd = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=directory_fd)
            except NotADirectoryError:
                raise FileError(FileProblem.UNSAFE, f"{name} is a link or no directory") from None
            directory_fd, parent_fd = child_fd, directory_fd
            os.close(parent_fd)
            status = os.fstat(directory_fd)
            if _euid() == 0 and not _is_trusted_owner(status, trusted_uids):
                raise FileError(FileProblem.UNSAFE, f"{base}/{name} belongs to uid {status.st_uid}")
        yield directory_fd
    finally:
        os.close(directory_fd)


def _make_directories(base: str) -> None:
    """Create a directory and its missing parents. Raises OSError."""
    if not os.path.isdir(base):
        parent = os.path.dirname(base)
        if parent != base:
            _make_directories(parent)
        _make_directory(base, None)


def _make_directory(name: str, parent_fd: int | None) -> None:
    try:
        os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent_fd)
    except FileExistsError:
        if parent_fd is None and not os.path.isdir(name):  # below `base`, opening it fails
            raise
        return
    fd = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent_fd)
    try:
        os.fchmod(fd, _DIRECTORY_MODE)  # independent of the umask
    finally:
        os.close(fd)


def unsafe_directory_reason(
    path: Path | str, trusted_uids: frozenset[int] = frozenset()
) -> str | None:
    """Return the reason why a directory is unsafe to write to; None if it is safe.

    A directory is unsafe if other users may write to it or to a directory above it, and no sticky
    bit prevents them from replacing its content; if it belongs to a user other than root and the
    current user; or if it does not respond.
    """
    base = os.path.normpath(os.path.abspath(path))
    try:
        reason: str | None = hanging_storage.call(base, _unsafe_reason, base, trusted_uids)
    except FileError as error:
        return str(error)
    return reason


def _unsafe_reason(base: str, trusted_uids: frozenset[int]) -> str | None:
    if _euid() == 0 and (reason := _root_write_refusal(base, trusted_uids)):
        return f"{reason}; nothing is written to {base}"
    return next((reason for _, reason in _unsafe_ancestors(base, trusted_uids)), None)


def _root_write_refusal(base: str, trusted_uids: frozenset[int]) -> str | None:
    """Return the reason why root must not write to a directory; None if it may.

    Another user could redirect the write to another place.
    """
    return next(
        (reason for severe, reason in _unsafe_ancestors(base, trusted_uids) if severe), None
    )


def _unsafe_ancestors(base: str, trusted_uids: frozenset[int]) -> Iterator[tuple[bool, str]]:
    """Yield (True if root must not write below it, reason) for each unsafe directory on the way."""
    directories = list(_directories_on_path(base))
    exists = os.path.isdir(base)
    for number, (name, status) in enumerate(directories):
        last = exists and number == len(directories) - 1
        if not _is_trusted_owner(status, trusted_uids | {0}):
            yield True, f"{name} belongs to uid {status.st_uid}, who can replace what is in it"
        elif status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            yield not last, f"every user can write to {name}: run chmod o-w {name}"


def _directories_on_path(base: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the directories on the path to `base`, with links resolved; `base` is the last."""
    with suppress(OSError):
        for reached in walk_path(base):
            status = os.lstat(reached)
            if stat.S_ISDIR(status.st_mode):
                yield reached, status


def _is_trusted_owner(status: os.stat_result, trusted_uids: frozenset[int]) -> bool:
    owner = status.st_uid
    return (
        owner == _euid()
        or owner in trusted_uids
        or (owner == _OVERFLOW_UID and _is_in_user_namespace())
    )


def _is_in_user_namespace() -> bool:
    """Return True in a user namespace, where uids from outside it may be unmapped."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _euid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
