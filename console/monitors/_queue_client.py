"""How the monitors ask the queue server: one bounded request, in a thread of theirs."""

from __future__ import annotations

from console.system.config.credentials import authorization, scrubbed
from console.system.config.schema import Settings
from console.system.host import json_http
from console.system.host.json_http import HttpError, Tail, fetch, fetch_tail


def ask(
    settings: Settings,
    path: str,
    *,
    body: object | None = None,
    deadline_s: float | None = None,
    limit: int = 1_000_000,
) -> object:
    """The JSON at `path`; with a body it is posted. It takes its time. Raises HttpError."""
    headers = authorization(settings.queue)
    try:
        return fetch(
            settings.queue.address.rstrip("/") + path,
            method="GET" if body is None else "POST",
            body=body,
            headers=headers,
            deadline_s=min(deadline_s or settings.queue.timeout_s, settings.queue.timeout_s),
            limit=limit,
        ).data
    except HttpError as error:
        raise scrubbed(error, headers) from None


def knock(settings: Settings, path: str, deadline_s: float) -> bool:
    """Whether the server answers a GET with success in time, at the cost of one request."""
    try:
        headers = authorization(settings.queue)
    except HttpError:
        return False
    status = json_http.knock(settings.queue.address.rstrip("/") + path, headers, deadline_s)
    return status is not None and 200 <= status < 300


def tail(settings: Settings, path: str, *, limit: int, keep: int, word: bytes) -> Tail:
    """The end of a list that is too long to be kept. It takes its time. Raises HttpError."""
    headers = authorization(settings.queue)
    try:
        return fetch_tail(
            settings.queue.address.rstrip("/") + path,
            headers=headers,
            deadline_s=settings.queue.timeout_s,
            limit=limit,
            keep=keep,
            word=word,
        )
    except HttpError as error:
        raise scrubbed(error, headers) from None
