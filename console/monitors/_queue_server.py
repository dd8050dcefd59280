"""How the monitors ask the queue server: one bounded request, off the event loop."""

from __future__ import annotations

from console.system.aside import aside
from console.system.http import fetch
from console.system.settings import Settings


async def ask(
    settings: Settings,
    path: str,
    *,
    body: object | None = None,
    deadline_s: float | None = None,
    limit: int = 1_000_000,
) -> object:
    """The JSON at `path`; with a body it is posted. Raises HttpError."""
    return await aside(told, settings, path, body=body, deadline_s=deadline_s, limit=limit)


def told(
    settings: Settings,
    path: str,
    *,
    body: object | None = None,
    deadline_s: float | None = None,
    limit: int = 1_000_000,
) -> object:
    """The same, for whoever asks for several things in a thread of his own."""
    return fetch(
        settings.queue.url.rstrip("/") + path,
        method="GET" if body is None else "POST",
        body=body,
        deadline_s=min(deadline_s or settings.queue.timeout_s, settings.queue.timeout_s),
        limit=limit,
    ).data
