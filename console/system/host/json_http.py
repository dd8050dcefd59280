"""HTTP client for JSON: one request, with one deadline, a size limit, strict JSON, no redirects.

All HTTP requests of the console to other programs use this module.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from console.core.errors import ConsoleError
from console.core.records import Record
from console.core.text.formatting import sanitize_text
from console.system.files.safe_files import JsonError, decode_json

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse
    from urllib.parse import SplitResult

    from _typeshed import WriteableBuffer


CHUNK_BYTES = 65_536
"""Size of the chunks in which a streamed response is read."""


class JsonResponse(Record, frozen=True):
    """A JSON response with a 2xx status."""

    status: int
    data: object
    elapsed_s: float


class ResponseTail(Record, frozen=True):
    """The last bytes of a response body that was read as a stream and not kept whole."""

    raw: bytes
    """The last bytes of the body."""
    body_bytes: int
    """Size of the whole body in bytes."""
    word_count: int
    """Occurrences of the counted word in the whole body."""
    elapsed_s: float


class HttpError(ConsoleError):
    """A request without a usable response; the message is short. `status` is None if unknown."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def fetch_json(
    url: str,
    *,
    method: str = "GET",
    body: object | None = None,
    headers: Mapping[str, str] = {},
    timeout_s: float = 3.0,
    max_bytes: int = 1_000_000,
) -> JsonResponse:
    """Send one request and return its JSON response within `timeout_s`. Raises HttpError.

    The call blocks. Redirects, compressed bodies and bodies of more than `max_bytes` are refused.
    Proxy settings are ignored.
    """
    from http.client import HTTPResponse

    began = time.monotonic()
    with _translate_errors(timeout_s), closing(_connect(url, began + timeout_s)) as connection:
        _send_request(connection, url, method, body, headers)
        # The parameter's type is socket, but HTTPResponse calls only its makefile().
        with closing(HTTPResponse(connection, method=method)) as response:  # type: ignore[arg-type]
            response.begin()
            raw = _read_body(response, max_bytes)
        data = _parse_json(response, raw)
    return JsonResponse(response.status, data, time.monotonic() - began)


def fetch_tail(
    url: str,
    *,
    headers: Mapping[str, str] = {},
    timeout_s: float = 3.0,
    max_bytes: int = 8_000_000,
    tail_bytes: int = 262_144,
    counted_word: bytes = b"",
) -> ResponseTail:
    """Read a response to its end and return its last `tail_bytes`. Raises HttpError.

    The call blocks. At most `tail_bytes` and one chunk are in memory. A body of more than
    `max_bytes` is refused, before reading if the server announces its length.
    """
    from http.client import HTTPResponse

    began = time.monotonic()
    with _translate_errors(timeout_s), closing(_connect(url, began + timeout_s)) as connection:
        _send_request(connection, url, "GET", None, headers)
        with closing(HTTPResponse(connection, method="GET")) as response:  # type: ignore[arg-type]
            response.begin()
            raw, size, word_count = _read_tail(response, max_bytes, tail_bytes, counted_word)
        if not 200 <= response.status < 300:
            _parse_json(response, raw)
    return ResponseTail(raw, size, word_count, time.monotonic() - began)


def fetch_status(url: str, headers: Mapping[str, str], timeout_s: float) -> int | None:
    """Return the status of a GET response within `timeout_s`, or None without a response.

    The call blocks. Only the status line is read, so `http.client` is not imported.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    lines = [
        f"GET {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Accept: application/json",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    with suppress(HttpError, OSError, ValueError):
        with closing(_connect(url, time.monotonic() + timeout_s)) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
            with closing(connection.makefile("rb")) as reader:
                version, status = reader.readline(1000).split(None, 2)[:2]
        if version.startswith(b"HTTP/1."):
            return int(status)
    return None


class _DeadlineSocket(io.RawIOBase):
    """A connection whose operations share one deadline. They raise TimeoutError."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(_remaining_s(self._deadline))
        return self._sock.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_remaining_s(self._deadline))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        self._sock.close()
        super().close()


def _remaining_s(deadline: float) -> float:
    """Return the seconds left until the monotonic time `deadline`. Raises TimeoutError."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _connect(url: str, deadline: float) -> _DeadlineSocket:
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError("not an http:// address")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    failure: OSError = OSError("no address")
    addresses = _resolve(parts.hostname, port, deadline)
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_remaining_s(deadline) / (len(addresses) - index))
            sock.connect(address)
            # Head and body are sent separately; the body must not wait for the head's ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _DeadlineSocket(_wrap_tls(sock, parts, deadline), deadline)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def _wrap_tls(sock: socket.socket, parts: SplitResult, deadline: float) -> socket.socket:
    if parts.scheme == "http":
        return sock
    import ssl

    sock.settimeout(_remaining_s(deadline))
    return ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)


def _resolve(
    host: str, port: int, deadline: float
) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Return the host's addresses. Raises HttpError, TimeoutError.

    A resolver call cannot be interrupted, so it runs in a thread that is abandoned on a timeout.
    """
    import socket
    from threading import Thread

    with suppress(OSError, ValueError):  # numeric addresses need no resolver and no thread
        return _addresses(host, port, socket.AI_NUMERICHOST)
    results: list[list[tuple[int, int, int, str, tuple[str, int]]]] = []
    errors: list[Exception] = []

    def look() -> None:
        try:
            results.append(_addresses(host, port))
        except (OSError, ValueError) as error:
            errors.append(error)

    thread = Thread(target=look, name="resolver", daemon=True)
    thread.start()
    thread.join(_remaining_s(deadline))
    if errors:
        raise HttpError(f"cannot resolve {sanitize_text(host, 100)}")
    if not results:
        raise TimeoutError
    return results[0]


def _addresses(
    host: str, port: int, flags: int = 0
) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Return the host's stream addresses. Raises OSError, ValueError."""
    import socket

    # Python loads the IDNA codec and its Unicode tables for a str, but not for bytes.
    name = host.encode() if host.isascii() else host
    return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)  # type: ignore[return-value]


def _send_request(
    connection: _DeadlineSocket,
    url: str,
    method: str,
    body: object | None,
    headers: Mapping[str, str],
) -> None:
    import json
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    raw = None if body is None else json.dumps(body, allow_nan=False).encode()
    default_headers = {"Accept": "application/json", "Connection": "close"}
    if raw is not None:
        default_headers["Content-Type"] = "application/json"
    # HTTPConnection only formats the request: it never opens a connection of its own.
    writer = HTTPConnection(parts.hostname or "", parts.port)
    writer.sock = connection
    writer.request(method, target, raw, {**default_headers, **headers})


def _read_body(response: HTTPResponse, max_bytes: int) -> bytes:
    """Return the whole response body. Raises HttpError, IncompleteRead."""
    announced_bytes = _check_response(response)
    raw = (
        b""
        if announced_bytes is not None and announced_bytes > max_bytes
        else response.read(max_bytes + 1)
    )
    if len(raw) > max_bytes or (announced_bytes is not None and announced_bytes > max_bytes):
        raise HttpError(f"answer larger than {max_bytes}", response.status)
    if announced_bytes is not None and len(raw) < announced_bytes:
        raise HttpError("answer cut short", response.status)
    return raw


def _read_tail(
    response: HTTPResponse, max_bytes: int, tail_bytes: int, counted_word: bytes
) -> tuple[bytes, int, int]:
    """Return (last bytes of the body, body size, occurrences of the word). Raises HttpError."""
    announced_bytes = _check_response(response)
    raw, size, word_count, overlap = b"", 0, 0, b""
    if announced_bytes is not None and announced_bytes > max_bytes:
        raise HttpError(f"answer larger than {max_bytes}", response.status)
    while chunk := response.read(CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise HttpError(f"answer larger than {max_bytes}", response.status)
        if counted_word:
            word_count += (overlap + chunk).count(counted_word)
            overlap = chunk[-(len(counted_word) - 1) :] if len(counted_word) > 1 else b""
        raw = (raw + chunk)[-tail_bytes:]
    if announced_bytes is not None and size < announced_bytes:
        raise HttpError("answer cut short", response.status)
    return raw, size, word_count


def _check_response(response: HTTPResponse) -> int | None:
    """Return the announced body length, or None. Refuse redirects and compressed bodies.

    Raises HttpError.
    """
    if 300 <= response.status < 400:
        raise HttpError("redirect refused", response.status)
    if response.getheader("Content-Encoding", "identity").strip().lower() != "identity":
        raise HttpError("compressed answer refused", response.status)
    return response.length


def _parse_json(response: HTTPResponse, raw: bytes) -> object:
    """Return the JSON value of a 2xx response.

    Raises HttpError, which for any other status contains the beginning of the body.
    """
    status = response.status
    if not 200 <= status < 300:
        body_text = sanitize_text(" ".join(raw[:400].decode(errors="replace").split()), 120)
        raise HttpError(f"{status}: {body_text or sanitize_text(response.reason, 120)}", status)
    if not raw.strip():
        raise HttpError(f"{status}: empty answer", status)
    try:
        return decode_json(raw)
    except JsonError as error:
        content_type = sanitize_text(
            response.getheader("Content-Type", "no type").split(";")[0].strip(), 60
        )
        if "json" in content_type:
            raise HttpError(f"bad JSON: {error}", status) from None
        raise HttpError(f"not JSON ({content_type})", status) from None


@contextmanager
def _translate_errors(timeout_s: float) -> Iterator[None]:
    """Translate errors of sockets and `http.client` into HttpError with a short message."""
    from http.client import HTTPException, IncompleteRead, InvalidURL, RemoteDisconnected

    try:
        yield
    except TimeoutError:
        raise HttpError(f"timed out after {timeout_s:g} s") from None
    except ConnectionRefusedError:
        raise HttpError("refused") from None
    except RemoteDisconnected:
        raise HttpError("closed without an answer") from None
    except ConnectionError:
        raise HttpError("connection reset") from None
    except IncompleteRead:
        raise HttpError("answer cut short") from None
    except OSError as error:
        raise HttpError(sanitize_text((error.strerror or str(error)).lower(), 120)) from None
    except (ValueError, TypeError, InvalidURL) as error:
        raise HttpError(f"cannot ask: {sanitize_text(str(error), 120)}") from None
    except HTTPException as error:
        raise HttpError(f"not HTTP ({type(error).__name__})") from None
