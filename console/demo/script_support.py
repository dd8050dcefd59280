"""Helpers of the box's scripts: HTTP requests, atomic file writes, start-up and exit."""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

MAX_RESPONSE_BYTES = 64 << 20


class RequestFailed(Exception):
    """Raised if the server gives no usable answer.

    `status` is the HTTP status of the answer; None if there was none.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def call_server(
    server: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    method: str = "",
    headers: dict[str, str] | None = None,
    timeout_s: float = 5.0,
) -> dict[str, Any]:
    """Send one request, never through a proxy; return the JSON object of the response.

    Raises RequestFailed.
    """
    payload = None if body is None else json.dumps(body).encode()
    all_headers = {"Content-Type": "application/json", "Connection": "close"} | (headers or {})
    connection: http.client.HTTPConnection | None = None
    try:
        connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=timeout_s)
        connection.request(
            method or ("POST" if body is not None else "GET"), path, payload, all_headers
        )
        response = connection.getresponse()
        response_body = _read_body(response, time.monotonic() + timeout_s)
        if response.status != 200:
            raise RequestFailed(f"HTTP {response.status} for {path}", response.status)
        value = json.loads(response_body)
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise RequestFailed(f"{type(error).__name__}: {error}") from error
    finally:
        if connection is not None:
            connection.close()
    if not isinstance(value, dict):
        raise RequestFailed(f"a JSON object was expected for {path}")
    return value


def _read_body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Return the whole body.

    Raises ValueError if it is larger than `MAX_RESPONSE_BYTES`, TimeoutError if it is not complete
    when the monotonic clock reaches `deadline`.
    """
    text = bytearray()
    while chunk := response.read1(1 << 16):
        text += chunk
        if len(text) > MAX_RESPONSE_BYTES:
            raise ValueError("answer too large")
        if time.monotonic() > deadline:
            raise TimeoutError("answer too slow")
    return bytes(text)


def as_number(value: object) -> float | None:
    """Return the value as a finite float; None if it is not a finite number or is a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def write_atomically(path: Path, text: str) -> None:
    """Replace the file atomically: a reader sees the old text or the new text, never a part.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def set_up_script(level: str = "INFO") -> None:
    """Log to stderr, and exit with code 0 at SIGTERM or SIGINT, also during a blocking call."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(message)s"
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _exit_on_signal)


def _exit_on_signal(signum: int, _frame: FrameType | None) -> None:
    """Raise SystemExit at the current point of the program, so that `finally` clauses run."""
    signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(0)


def server_url(text: str) -> str:
    """Return `text` without trailing slashes if it is an http://host[:port] address.

    Raises ArgumentTypeError otherwise.
    """
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise argparse.ArgumentTypeError(f"not an http:// address: {text!r}")
    return text.rstrip("/")


def seconds(text: str) -> float:
    """Return `text` as a positive, finite number of seconds.

    Raises ArgumentTypeError or ValueError otherwise.
    """
    value = as_number(float(text))
    if value is None or value <= 0:
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return value
