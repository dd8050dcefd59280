"""Credentials for the queue server. They are sent with each request and never displayed."""

from __future__ import annotations

import os
from pathlib import Path

from console.system.config.schema import Queue
from console.system.host.json_http import HttpError

MAX_TOKEN_BYTES = 4096


def authorization_header(queue: Queue) -> dict[str, str]:
    """Return the Authorization header, or {} without credentials. Raises HttpError.

    The function is called for each request, because a token may change.
    """
    if queue.token_env is not None:
        value = os.environ.get(queue.token_env, "")
        return _bearer_header(value, f"the environment variable {queue.token_env}")
    if queue.token_file is not None:
        return _bearer_header(
            _read_token_file(Path(queue.token_file)), f"the file {queue.token_file}"
        )
    return _basic_header(queue.url)


def redact_credentials(error: HttpError, headers: dict[str, str]) -> HttpError:
    """Return the error without the credentials: a server may repeat them in its response."""
    message = str(error)
    for value in headers.values():
        message = message.replace(value.partition(" ")[2], "***")
    return HttpError(message, error.status)


def _bearer_header(value: str, source: str) -> dict[str, str]:
    token = value.strip()
    if not token:
        raise HttpError(f"no token for the queue server: {source} is empty or not set")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise HttpError(f"{source} holds no token: one word of printable ASCII is expected")
    return {"Authorization": f"Bearer {token}"}


def _read_token_file(path: Path) -> str:
    from console.system.files.safe_files import FileError, open_regular

    try:
        with open_regular(path) as (descriptor, _):
            return os.read(descriptor, MAX_TOKEN_BYTES).decode("ascii", "replace")
    except (FileError, OSError) as error:
        raise HttpError(f"no token for the queue server: {path}: {error}") from None


def _basic_header(url: str) -> dict[str, str]:
    """Return the header for `http://user:password@host`, percent-decoded (RFC 7617)."""
    from urllib.parse import unquote_to_bytes, urlsplit

    user_info, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return {}
    from base64 import b64encode

    user, _, password = user_info.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return {"Authorization": f"Basic {b64encode(pair).decode()}"}
