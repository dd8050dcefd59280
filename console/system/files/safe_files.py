"""Reads files of bounded size that must be regular, and strict JSON.

Reads of files that other programs write use this module. Module `outside_files` writes files
outside the state directory.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from console.core.errors import ConsoleError
from console.core.model.logs import LogPage

MAX_NESTING_LEVELS = 100
"""More levels are an attack, and would cause a recursion error later."""
MAX_INT_DIGITS = 18
"""Integers of this length fit into an integer of the store."""
BLOCK_BYTES = 65_536


class JsonError(ValueError):
    """Unacceptable JSON. `truncated`: the bytes look like the beginning of valid JSON."""

    def __init__(self, reason: str, truncated: bool = False) -> None:
        super().__init__(reason)
        self.truncated = truncated


class FileProblem(StrEnum):
    MISSING = "missing"
    TRUNCATED = "half written"
    TOO_LARGE = "too large"
    PERMISSION_DENIED = "not permitted"
    NOT_REGULAR = "not a regular file"
    INVALID_JSON = "not JSON"
    FAILED = "failed"
    UNSAFE = "unsafe"
    NOT_RESPONDING = "does not answer"


class FileError(ConsoleError):
    """An unusable file: the kind of problem, and the reason as text."""

    def __init__(self, problem: FileProblem, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else str(problem))
        self.problem = problem


# --- JSON -----------------------------------------------------------------------------------


def decode_json(raw: bytes) -> object:
    """Return the JSON value in `raw`. Raises JsonError.

    The encoding is UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it. `NaN` and
    `Infinity`, as Python writes them, become None.
    """
    utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        is_truncated = error.reason in ("unexpected end of data", "truncated data")
        raise JsonError(
            f"not UTF-{16 if utf16 else 8} at byte {error.start}", is_truncated
        ) from None
    try:
        value = json.loads(
            text, parse_constant=_parse_constant, parse_int=_parse_int, parse_float=_parse_float
        )
    except json.JSONDecodeError as error:
        # At most a truncated literal, number or escape follows the error.
        is_truncated = len(text.rstrip()) - error.pos <= 5 or error.msg.startswith("Unterminated")
        raise JsonError(f"{error.msg} at line {error.lineno}", is_truncated) from None
    except RecursionError:
        raise JsonError("nested too deeply") from None
    _check_value(value)
    return value


def _parse_constant(_: str) -> None:
    return None


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INT_DIGITS:
        raise JsonError(f"a number of {len(digits)} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise JsonError("a number beyond all bounds")
    return value


def _check_value(value: object) -> None:
    """Raise JsonError for deep nesting and for text that cannot be encoded."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING_LEVELS):
        for item in level:
            if isinstance(item, str) and not item.isascii():
                _check_text(item)
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise JsonError("nested too deeply")


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JsonError("text with half a character (lone surrogate)") from None


# --- reading --------------------------------------------------------------------------------


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Yield a descriptor of a regular file, and its status. Never blocks on a FIFO. FileError."""
    with translate_errors():
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileError(FileProblem.NOT_REGULAR)
        with translate_errors():
            yield fd, status
    finally:
        os.close(fd)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Convert errors of the operating system to FileError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileError(FileProblem.MISSING) from None
    except PermissionError:
        raise FileError(FileProblem.PERMISSION_DENIED) from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a FIFO without a reader
            raise FileError(FileProblem.NOT_REGULAR) from None
        raise FileError(FileProblem.FAILED, (error.strerror or str(error)).lower()) from None
    except ValueError as error:  # a path with a NUL in it, text that cannot be encoded
        raise FileError(FileProblem.FAILED, str(error)) from None


def read_json(path: Path, limit: int = 1_000_000) -> tuple[object, float]:
    """Return the JSON value in a file of at most `limit` bytes, and its mtime. Raises FileError."""
    raw, mtime = read_bytes(path, limit)
    return decode_json_file(raw), mtime


def read_bytes(path: Path | str, limit: int = 1_000_000) -> tuple[bytes, float]:
    """Return the content of a file of at most `limit` bytes, and its mtime. Raises FileError."""
    with open_regular(Path(path)) as (fd, status), os.fdopen(fd, "rb", closefd=False) as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise FileError(FileProblem.TOO_LARGE, f"more than {limit} bytes")
    return raw, status.st_mtime


def decode_json_file(raw: bytes) -> object:
    """Return the JSON value in the content of a file. Raises FileError."""
    try:
        return decode_json(raw)
    except JsonError as error:
        raise FileError(
            FileProblem.TRUNCATED if error.truncated else FileProblem.INVALID_JSON, str(error)
        ) from None


def read_tail(path: Path, offset: int | None, limit_bytes: int = BLOCK_BYTES) -> LogPage:
    """Return at most `limit_bytes` of a log, from `offset`; its end if `offset` is None.

    An offset beyond the end means that the log was truncated or rotated: reading starts over at 0.
    With an `offset`, an unfinished last line is left out until it is finished or fills the whole
    page.
    """
    try:
        with open_regular(path) as (fd, status):
            size = status.st_size
            start = max(0, size - limit_bytes) if offset is None else max(0, offset)
            start = 0 if start > size else start
            raw = os.pread(fd, limit_bytes, start)
    except FileError as error:
        return LogPage(str(path), error=str(error))
    if offset is None and start > 0:
        lines = raw[raw.find(b"\n") + 1 :] or raw  # no line begins here: keep all
        start, raw = start + len(raw) - len(lines), lines
    elif offset is not None and len(raw) < limit_bytes:
        raw = raw[: raw.rfind(b"\n") + 1]
    elif offset is not None:
        raw = raw[: raw.rfind(b"\n") + 1] or raw
    return LogPage(str(path), split_lines(raw, start), start, start + len(raw), size)


def split_lines(raw: bytes, start: int) -> tuple[str, ...]:
    """Return the lines in a part of a log that begins at byte `start`."""
    lines = raw.decode("utf-8-sig" if start == 0 else "utf-8", errors="replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return tuple(line.removesuffix("\r") for line in lines)
