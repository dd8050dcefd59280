"""HTTP requests of the monitors to the queue server. Each blocks its thread, with a timeout."""

from __future__ import annotations

from console.system.config.credentials import authorization_header, redact_credentials
from console.system.config.schema import Settings
from console.system.host import json_http
from console.system.host.json_http import HttpError, ResponseTail, fetch_json, fetch_tail


def request_json(
    settings: Settings,
    path: str,
    *,
    body: object | None = None,
    deadline_s: float | None = None,
    max_bytes: int = 1_000_000,
) -> object:
    """Return the JSON at `path`; with a `body`, POST it. Blocks. Raises HttpError."""
    headers = authorization_header(settings.queue)
    try:
        return fetch_json(
            settings.queue.address.rstrip("/") + path,
            method="GET" if body is None else "POST",
            body=body,
            headers=headers,
            timeout_s=min(deadline_s or settings.queue.timeout_s, settings.queue.timeout_s),
            max_bytes=max_bytes,
        ).data
    except HttpError as error:
        raise redact_credentials(error, headers) from None


def is_reachable(settings: Settings, path: str, deadline_s: float) -> bool:
    """Return True if a GET is answered with status 2xx within `deadline_s`. Costs one request."""
    try:
        headers = authorization_header(settings.queue)
    except HttpError:
        return False
    status = json_http.fetch_status(settings.queue.address.rstrip("/") + path, headers, deadline_s)
    return status is not None and 200 <= status < 300


def request_tail(
    settings: Settings, path: str, *, max_bytes: int, kept_bytes: int, counted_word: bytes
) -> ResponseTail:
    """Return the end of a list that is too long to be kept. Blocks. Raises HttpError."""
    headers = authorization_header(settings.queue)
    try:
        return fetch_tail(
            settings.queue.address.rstrip("/") + path,
            headers=headers,
            timeout_s=settings.queue.timeout_s,
            max_bytes=max_bytes,
            tail_bytes=kept_bytes,
            counted_word=counted_word,
        )
    except HttpError as error:
        raise redact_credentials(error, headers) from None
