"""What the composition root hands to the screen: everything it may ask of the world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.frozen import frozen
from console.core.model import Command, Found, LogPage, Moment, Outcome, Snapshot
from console.core.trends import Trends

if TYPE_CHECKING:
    from console.core.handover.model import Handover

Publish = Callable[[Snapshot], None]
Feed = Callable[[Publish], Coroutine[Any, Any, None]]
"""Runs until cancelled and publishes a snapshot whenever there is news."""


async def _nothing_before(role: str, stream: str, end: int) -> LogPage:
    return LogPage("", (), 0, end, end)


async def _nothing_found(role: str, stream: str, word: str, start: int, way: int) -> Found:
    return Found(None, None)


@frozen
class Logs:
    """How the screen reads the output of roles; each is asked with role and `err` or `out`."""

    read: Callable[[str, str, int | None], Awaitable[LogPage]]
    """From which offset on; None: the tail."""
    before: Callable[[str, str, int], Awaitable[LogPage]] = _nothing_before
    """The lines that end at an offset."""
    find: Callable[[str, str, str, int, int], Awaitable[Found]] = _nothing_found
    """A word, from an offset on, newer (1) or older (-1)."""


@frozen
class Wiring:
    """The seams of the console."""

    feeds: Mapping[str, Feed]
    """Monitor name -> follow or run it; each becomes one background worker."""
    submit: Callable[[Command], Awaitable[Outcome]]
    logs: Logs
    clock: Callable[[], Moment]
    first: Snapshot | None = None
    """What is known before any feed says it, so that the first frame is no empty one."""
    actor: str = ""
    read_only: bool = False
    theme: str = "dark"
    theme_directories: tuple[Path, ...] = ()
    """Searched after the shipped themes; a theme of the same name replaces an earlier one."""
    ascii: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    """Command id -> key, for those that are remapped."""
    handover: Callable[[Snapshot, Moment], Awaitable[Handover]] | None = None
    """What a colleague must know of a snapshot, and what happened since a moment."""
    looked: Moment | None = None
    """When somebody last looked at this console, before now; None: never."""
    trends: Callable[[Moment | None], Awaitable[Trends]] | None = None
    """The day until a moment, or until now; without it there are no graphs."""
    past: Callable[[Moment, int], Awaitable[Snapshot | None]] | None = None
    """What was known at a moment, or at the event before (-1) or after (1) it; None: nothing."""
