"""Limits connections in number and lifetime: clients without the key must not exhaust them.

A connection has a deadline for its first request head, and one for its lifetime unless it belongs
to a console. If there are too many connections, a new one replaces the oldest one without a
request: browsers send a request at once.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from typing import Any

from aiohttp import web

HEAD_TIMEOUT_S = 10.0
"""Time from the connection to the end of the first request head, and between two requests."""
CONNECTION_LIFETIME_S = 300.0
"""Lifetime of a connection without a console. It is long enough for a slow network."""
MAX_CONNECTIONS = 64
"""Maximum of simultaneous connections, without those of consoles."""
LISTEN_BACKLOG = 16
"""Length of the listen queue: asyncio accepts as many at once, before it closes any other."""
LOG_INTERVAL_S = 10.0
"""Minimum time between two lines of the log."""


class ConnectionLimiter:
    """The open connections, without those of consoles."""

    def __init__(self) -> None:
        soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.max_connections = max(4, min(MAX_CONNECTIONS, soft_limit // 4))
        self._expiry_timers: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._with_request: set[asyncio.Transport] = set()

    def add(self, transport: asyncio.Transport) -> None:
        """Add a new connection, and abort another one if there are too many."""
        if len(self._expiry_timers) >= self.max_connections:
            oldest = next(
                (
                    candidate
                    for candidate in self._expiry_timers
                    if candidate not in self._with_request
                ),
                None,
            )
            self._abort(oldest or next(iter(self._expiry_timers)))
        call_later = asyncio.get_running_loop().call_later
        self._expiry_timers[transport] = call_later(HEAD_TIMEOUT_S, self._abort, transport)

    def mark_request_received(self, transport: asyncio.BaseTransport | None) -> None:
        """Record that a whole request head has arrived, and start the lifetime deadline."""
        if isinstance(transport, asyncio.Transport) and (
            timer := self._expiry_timers.get(transport)
        ):
            if transport not in self._with_request:
                timer.cancel()
                call_later = asyncio.get_running_loop().call_later
                self._expiry_timers[transport] = call_later(
                    CONNECTION_LIFETIME_S, self._abort, transport
                )
            self._with_request.add(transport)

    def release(self, transport: asyncio.BaseTransport | None) -> None:
        """Remove a connection that is closed, or that now belongs to a console."""
        if isinstance(transport, asyncio.Transport):
            self._with_request.discard(transport)
            if timer := self._expiry_timers.pop(transport, None):
                timer.cancel()

    def _abort(self, transport: asyncio.Transport) -> None:
        self.release(transport)
        transport.abort()


class LimitedRequestHandler(web.RequestHandler):
    """aiohttp's connection handler, counted by a `ConnectionLimiter`."""

    __slots__ = ("_counted_transport", "_limiter")

    def __init__(self, server: web.Server, limiter: ConnectionLimiter, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._limiter = limiter
        self._counted_transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            self._counted_transport = transport
            self._limiter.add(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._limiter.release(self._counted_transport)
        super().connection_lost(exc)


class ThrottledLogHandler(logging.Handler):
    """A log handler that writes at most one line per `LOG_INTERVAL_S`, without tracebacks.

    Clients can cause any number of errors.
    """

    def __init__(self, write: Any) -> None:
        super().__init__(logging.WARNING)
        self._write = write
        self._next_at, self._suppressed_count = 0.0, 0

    def emit(self, record: logging.LogRecord) -> None:
        if (now := time.monotonic()) < self._next_at:
            self._suppressed_count += 1
            return
        error = record.exc_info[1] if record.exc_info else None
        message = record.getMessage() + (f": {type(error).__name__}: {error}" if error else "")
        suffix = f" ({self._suppressed_count} more before)" if self._suppressed_count else ""
        self._next_at, self._suppressed_count = now + LOG_INTERVAL_S, 0
        self._write(f"serve: {message[:300]}{suffix}")
