"""The interface between the user interface and the rest of the program: data and commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.model.commands import Command, Outcome
from console.core.model.logs import LogPage, LogSearchResult
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import Record, field
from console.core.trends import Trends

if TYPE_CHECKING:
    from console.core.handover.model import Handover

Publish = Callable[[Snapshot], None]
Feed = Callable[[Publish], Coroutine[Any, Any, None]]
"""A coroutine that runs until it is cancelled and publishes each new snapshot."""


async def _empty_log_page(role: str, stream: str, end_offset: int) -> LogPage:
    return LogPage("", (), 0, end_offset, end_offset)


async def _no_log_match(
    role: str, stream: str, word: str, start: int, direction: int
) -> LogSearchResult:
    return LogSearchResult(None, None)


class LogReader(Record, frozen=True):
    """Functions that read the output of a role; the first arguments are role and `err` or `out`."""

    read: Callable[[str, str, int | None], Awaitable[LogPage]]
    """(role, stream, offset) -> the lines from an offset on; None: the tail."""
    read_before: Callable[[str, str, int], Awaitable[LogPage]] = _empty_log_page
    """(role, stream, end offset) -> the lines that end at an offset."""
    find: Callable[[str, str, str, int, int], Awaitable[LogSearchResult]] = _no_log_match
    """(role, stream, word, offset, direction) -> the next match from an offset on, in newer (1) or
    older (-1) lines."""


class ConsolePorts(Record, frozen=True):
    """All functions and settings that the user interface gets from the composition root."""

    feeds: Mapping[str, Feed]
    """Monitor name -> the feed that follows or runs it; each feed runs in a background worker."""
    submit: Callable[[Command], Awaitable[Outcome]]
    log_reader: LogReader
    clock: Callable[[], Moment]
    initial_snapshot: Snapshot | None = None
    """The snapshot of the first frame, before any feed has published one."""
    actor: str = ""
    read_only: bool = False
    theme: str = "dark"
    theme_directories: tuple[Path, ...] = ()
    """Directories read after the shipped themes; a later theme replaces one of the same name."""
    ascii: bool = False
    key_overrides: Mapping[str, str] = field(default_factory=dict)
    """Command id -> key, for remapped commands."""
    build_handover: Callable[[Snapshot, Moment], Awaitable[Handover]] | None = None
    """(snapshot, since) -> the hand-over, with the events since that moment."""
    last_viewed: Moment | None = None
    """The last time before now that this console was viewed; None: never."""
    load_trends: Callable[[Moment | None], Awaitable[Trends]] | None = None
    """(until) -> the trends of the day until a moment; None: until now. Without this function
    there are no graphs."""
    load_past: Callable[[Moment, int], Awaitable[Snapshot | None]] | None = None
    """(moment, direction) -> the snapshot at the moment (0), or at the event before (-1) or after
    (1) it; None if no data of that time exists."""
