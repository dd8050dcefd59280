"""The one gate for reading files, foreign and own: bounded, regular, or a clear reason why not.

Writing outside the state directory is `door`'s.
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

from console.core.model import LogPage

DEEPEST = 100
"""Levels of nesting: more is an attack, and would end in a recursion error somewhere later."""
LONGEST_INT = 18
"""Digits: what fits a store's integer."""
BLOCK = 65_536


class BadJson(ValueError):
    """Bytes that are not the JSON we take. `cut`: they look like the beginning of good JSON."""

    def __init__(self, reason: str, cut: bool = False) -> None:
        super().__init__(reason)
        self.cut = cut


class Problem(StrEnum):
    MISSING = "missing"
    HALF = "half written"
    LARGE = "too large"
    DENIED = "not permitted"
    IRREGULAR = "not a regular file"
    BAD = "not JSON"
    FAILED = "failed"
    UNSAFE = "unsafe"
    SILENT = "does not answer"


class FileError(Exception):
    """A file that cannot be used: which problem it is, and a reason in words."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else str(problem))
        self.problem = problem


# --- JSON -----------------------------------------------------------------------------------


def decode(raw: bytes) -> object:
    """The JSON value in `raw`, strictly. Raises BadJson.

    UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it. `NaN` and `Infinity`, as
    Python writes them, are no numbers: null.
    """
    utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        cut = error.reason in ("unexpected end of data", "truncated data")
        raise BadJson(f"not UTF-{16 if utf16 else 8} at byte {error.start}", cut) from None
    try:
        value = json.loads(text, parse_constant=_no_number, parse_int=_whole, parse_float=_finite)
    except json.JSONDecodeError as error:
        # What is left after the fault is at most a cut literal, number or escape.
        cut = len(text.rstrip()) - error.pos <= 5 or error.msg.startswith("Unterminated")
        raise BadJson(f"{error.msg} at line {error.lineno}", cut) from None
    except RecursionError:
        raise BadJson("nested too deeply") from None
    _check(value)
    return value


def _no_number(_: str) -> None:
    return None


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > LONGEST_INT:
        raise BadJson(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise BadJson("a number beyond all bounds")
    return value


def _check(value: object) -> None:
    """Refuse what would break later: deep nesting, text that cannot be encoded. Level by level."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        for item in level:
            if isinstance(item, str) and not item.isascii():
                _check_text(item)
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise BadJson("nested too deeply")


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadJson("text with half a character (lone surrogate)") from None


# --- reading --------------------------------------------------------------------------------


@contextmanager
def regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor on a regular file, never waiting for a pipe's other end. Raises FileError."""
    with explained():
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileError(Problem.IRREGULAR)
        with explained():
            yield fd, status
    finally:
        os.close(fd)


@contextmanager
def explained() -> Iterator[None]:
    """The operating system's refusals as FileError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileError(Problem.MISSING) from None
    except PermissionError:
        raise FileError(Problem.DENIED) from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a pipe that nobody reads
            raise FileError(Problem.IRREGULAR) from None
        raise FileError(Problem.FAILED, (error.strerror or str(error)).lower()) from None
    except ValueError as error:  # a path with a NUL in it, text that cannot be encoded
        raise FileError(Problem.FAILED, str(error)) from None


def read_json(path: Path, limit: int = 1_000_000) -> tuple[object, float]:
    """The JSON value in a file of at most `limit` bytes, and its mtime. Raises FileError."""
    raw, mtime = read_bytes(path, limit)
    return decode_file(raw), mtime


def read_bytes(path: Path | str, limit: int = 1_000_000) -> tuple[bytes, float]:
    """The bytes of a file of at most `limit`, and its mtime. Raises FileError."""
    with regular(Path(path)) as (fd, status), os.fdopen(fd, "rb", closefd=False) as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise FileError(Problem.LARGE, f"more than {limit} bytes")
    return raw, status.st_mtime


def decode_file(raw: bytes) -> object:
    """The JSON value in the bytes of a file. Raises FileError."""
    try:
        return decode(raw)
    except BadJson as error:
        raise FileError(Problem.HALF if error.cut else Problem.BAD, str(error)) from None


def tail(path: Path, offset: int | None, limit_bytes: int = BLOCK) -> LogPage:
    """At most `limit_bytes` of a log: its end when `offset` is None, else what follows `offset`.

    An offset beyond the end means that the log was cut or rotated: it starts over. Following
    holds an unfinished last line back until it is finished or fills the whole window.
    """
    try:
        with regular(path) as (fd, status):
            size = status.st_size
            start = max(0, size - limit_bytes) if offset is None else max(0, offset)
            start = 0 if start > size else start
            raw = os.pread(fd, limit_bytes, start)
    except FileError as error:
        return LogPage(str(path), error=str(error))
    if offset is None and start > 0:
        whole = raw[raw.find(b"\n") + 1 :] or raw  # without a line's beginning, keep all
        start, raw = start + len(raw) - len(whole), whole
    elif offset is not None and len(raw) < limit_bytes:
        raw = raw[: raw.rfind(b"\n") + 1]
    elif offset is not None:
        raw = raw[: raw.rfind(b"\n") + 1] or raw
    return LogPage(str(path), lines_of(raw, start), start, start + len(raw), size)


def lines_of(raw: bytes, start: int) -> tuple[str, ...]:
    """The lines in a part of a log that begins at `start`."""
    lines = raw.decode("utf-8-sig" if start == 0 else "utf-8", errors="replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return tuple(line.removesuffix("\r") for line in lines)
