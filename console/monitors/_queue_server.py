"""How the monitors ask the queue server: one bounded request, off the event loop."""

from __future__ import annotations

from functools import partial

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
    request = partial(
        fetch,
        settings.queue.url.rstrip("/") + path,
        method="GET" if body is None else "POST",
        body=body,
        deadline_s=min(deadline_s or settings.queue.timeout_s, settings.queue.timeout_s),
        limit=limit,
    )
    return (await aside(request)).data
