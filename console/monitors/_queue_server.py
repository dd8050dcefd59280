"""How the monitors ask the queue server: one bounded request, in a thread of theirs."""

from __future__ import annotations

from console.system.http import fetch
from console.system.settings import Settings


def ask(
    settings: Settings,
    path: str,
    *,
    body: object | None = None,
    deadline_s: float | None = None,
    limit: int = 1_000_000,
) -> object:
    """The JSON at `path`; with a body it is posted. It takes its time. Raises HttpError."""
    return fetch(
        settings.queue.url.rstrip("/") + path,
        method="GET" if body is None else "POST",
        body=body,
        deadline_s=min(deadline_s or settings.queue.timeout_s, settings.queue.timeout_s),
        limit=limit,
    ).data
