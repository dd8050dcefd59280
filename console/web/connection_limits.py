"""How many connections are held, and for how long: a client without the key must not use them up.

A connection has a deadline for its first head, and one for its whole life unless it is a console's.
When there are too many, the oldest one that has not yet asked for anything is closed for the new
one: a browser asks at once.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from typing import Any

from aiohttp import web

HEAD_S = 10.0
"""From the connection to the end of the first head; and between two requests."""
LIFE_S = 300.0
"""The whole life of a connection that is no console's: long enough for a slow line."""
MOST = 64
"""Connections at one time, consoles aside."""
BACKLOG = 16
"""Connections that are accepted before others are closed."""
QUIET_S = 10.0
"""Between two lines of the log."""


class Doors:
    """The connections that are open, consoles aside."""

    def __init__(self) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.most = max(4, min(MOST, soft // 4))
        self._open: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._heard: set[asyncio.Transport] = set()

    def opened(self, transport: asyncio.Transport) -> None:
        """Count a new connection, and close another one if there are too many."""
        if len(self._open) >= self.most:
            oldest = next((one for one in self._open if one not in self._heard), None)
            self._end(oldest or next(iter(self._open)))
        later = asyncio.get_running_loop().call_later
        self._open[transport] = later(HEAD_S, self._end, transport)

    def heard(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that a whole head has arrived."""
        if isinstance(transport, asyncio.Transport) and (timer := self._open.get(transport)):
            if transport not in self._heard:
                timer.cancel()
                later = asyncio.get_running_loop().call_later
                self._open[transport] = later(LIFE_S, self._end, transport)
            self._heard.add(transport)

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """Forget a connection: it is gone, or it has become a console's."""
        if isinstance(transport, asyncio.Transport):
            self._heard.discard(transport)
            if timer := self._open.pop(transport, None):
                timer.cancel()

    def _end(self, transport: asyncio.Transport) -> None:
        self.closed(transport)
        transport.abort()


class Visitor(web.RequestHandler):
    """aiohttp's connection, counted."""

    __slots__ = ("_doors", "_line")

    def __init__(self, server: web.Server, doors: Doors, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._doors = doors
        self._line: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            self._line = transport
            self._doors.opened(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._doors.closed(self._line)
        super().connection_lost(exc)


class BriefLog(logging.Handler):
    """Writes one line now and then, without tracebacks: clients decide how much goes wrong."""

    def __init__(self, write: Any) -> None:
        super().__init__(logging.WARNING)
        self._write = write
        self._next, self._left_out = 0.0, 0

    def emit(self, record: logging.LogRecord) -> None:
        if (now := time.monotonic()) < self._next:
            self._left_out += 1
            return
        error = record.exc_info[1] if record.exc_info else None
        words = record.getMessage() + (f": {type(error).__name__}: {error}" if error else "")
        more = f" ({self._left_out} more before)" if self._left_out else ""
        self._next, self._left_out = now + QUIET_S, 0
        self._write(f"serve: {words[:300]}{more}")
