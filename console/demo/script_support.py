"""What the box's scripts share: one bounded call, one whole write, one way to start and to end."""

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

LARGEST_ANSWER = 64 << 20


class NoAnswer(Exception):
    """The server did not give a usable answer; `status` is its HTTP status where there was one."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def call(
    server: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    method: str = "",
    headers: dict[str, str] | None = None,
    timeout: float = 5.0,
) -> dict[str, Any]:
    """Ask the server once, never through a proxy, and return the JSON object it answers."""
    payload = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Connection": "close"} | (headers or {})
    connection: http.client.HTTPConnection | None = None
    try:
        connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=timeout)
        connection.request(method or ("POST" if body is not None else "GET"), path, payload, sent)
        answer = connection.getresponse()
        text = _read(answer, time.monotonic() + timeout)
        if answer.status != 200:
            raise NoAnswer(f"HTTP {answer.status} for {path}", answer.status)
        value = json.loads(text)
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    finally:
        if connection is not None:
            connection.close()
    if not isinstance(value, dict):
        raise NoAnswer(f"a JSON object was expected for {path}")
    return value


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body, given up when it is too large or trickles past the deadline."""
    text = bytearray()
    while chunk := answer.read1(1 << 16):
        text += chunk
        if len(text) > LARGEST_ANSWER:
            raise ValueError("answer too large")
        if time.monotonic() > deadline:
            raise TimeoutError("answer too slow")
    return bytes(text)


def number(value: object) -> float | None:
    """The value as a finite float; None for anything that is no number (True is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def write_whole(path: Path, text: str) -> None:
    """Replace the file so that a reader meets the old text or the new, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def start(level: str = "INFO") -> None:
    """Log to stderr, and at SIGTERM or SIGINT end with exit code 0, whatever is waited for."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(message)s"
    )
    for number_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number_, _end)


def _end(signum: int, _frame: FrameType | None) -> None:
    """Leave from wherever the program is; every `finally` on the way still runs."""
    signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(0)


def server_url(text: str) -> str:
    """An argument that is an http://host[:port] address."""
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise argparse.ArgumentTypeError(f"not an http:// address: {text!r}")
    return text.rstrip("/")


def seconds(text: str) -> float:
    """An argument that is a positive, finite number of seconds."""
    value = number(float(text))
    if value is None or value <= 0:
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return value
