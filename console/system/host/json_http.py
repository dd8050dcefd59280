"""The one gate for foreign HTTP: one request, one deadline, one size, strict JSON, no detours."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from console.core.frozen import frozen
from console.core.text.formatting import visible
from console.system.files.safe_files import BadJson, decode

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse
    from urllib.parse import SplitResult

    from _typeshed import WriteableBuffer


CHUNK = 65_536
"""Bytes that a streamed answer is read by."""


@frozen
class Answer:
    """A JSON answer with a status of success."""

    status: int
    data: object
    elapsed_s: float


@frozen
class Tail:
    """The end of a JSON answer that was read as a stream and not kept whole."""

    raw: bytes
    """The last bytes of the body."""
    size: int
    """Bytes of the whole body."""
    words: int
    """How often the counted word occurred in the whole body."""
    elapsed_s: float


class HttpError(Exception):
    """No usable answer, and why in a few words; `status` when the server gave one."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def fetch(
    url: str,
    *,
    method: str = "GET",
    body: object | None = None,
    headers: Mapping[str, str] = {},
    deadline_s: float = 3.0,
    limit: int = 1_000_000,
) -> Answer:
    """Ask once and answer within `deadline_s`, whatever the server does. Raises HttpError.

    Blocking. Redirects, compression and more than `limit` bytes are refused; proxies are ignored.
    """
    from http.client import HTTPResponse

    began = time.monotonic()
    with _explained(deadline_s), closing(_connect(url, began + deadline_s)) as wire:
        _send(wire, url, method, body, headers)
        # Typed for a socket, used for its makefile alone.
        with closing(HTTPResponse(wire, method=method)) as response:  # type: ignore[arg-type]
            response.begin()
            raw = _read(response, limit)
        data = _value(response, raw)
    return Answer(response.status, data, time.monotonic() - began)


def fetch_tail(
    url: str,
    *,
    headers: Mapping[str, str] = {},
    deadline_s: float = 3.0,
    limit: int = 8_000_000,
    keep: int = 262_144,
    word: bytes = b"",
) -> Tail:
    """Read an answer to its end and return its last `keep` bytes. Raises HttpError.

    Blocking. At most `keep` bytes and one chunk are in memory; an answer of more than `limit`
    bytes is refused, before it is read where the server announces its length.
    """
    from http.client import HTTPResponse

    began = time.monotonic()
    with _explained(deadline_s), closing(_connect(url, began + deadline_s)) as wire:
        _send(wire, url, "GET", None, headers)
        with closing(HTTPResponse(wire, method="GET")) as response:  # type: ignore[arg-type]
            response.begin()
            raw, size, words = _read_tail(response, limit, keep, word)
        if not 200 <= response.status < 300:
            _value(response, raw)
    return Tail(raw, size, words, time.monotonic() - began)


def knock(url: str, headers: Mapping[str, str], deadline_s: float) -> int | None:
    """The status with which a GET is answered within `deadline_s`; None without an answer.

    Blocking. Nothing but the first line is read, and no module is needed to read the rest.
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
        with closing(_connect(url, time.monotonic() + deadline_s)) as wire:
            wire.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
            with closing(wire.makefile("rb")) as answer:
                version, status = answer.readline(1000).split(None, 2)[:2]
        if version.startswith(b"HTTP/1."):
            return int(status)
    return None


class _Wire(io.RawIOBase):
    """A connection whose every wait ends at one common deadline. Raises TimeoutError."""

    def __init__(self, sock: socket.socket, ends: float) -> None:
        self._sock = sock
        self._ends = ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(_left(self._ends))
        return self._sock.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._ends))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        self._sock.close()
        super().close()


def _left(ends: float) -> float:
    """Seconds left until the monotonic time `ends`. Raises TimeoutError."""
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _connect(url: str, ends: float) -> _Wire:
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError("not an http:// address")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    failure: OSError = OSError("no address")
    places = _resolve(parts.hostname, port, ends)
    for index, (family, kind, protocol, _, address) in enumerate(places):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(ends) / (len(places) - index))
            sock.connect(address)
            # Head and body leave as two pieces: the second must not wait for the first's receipt.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Wire(_secure(sock, parts, ends), ends)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def _secure(sock: socket.socket, parts: SplitResult, ends: float) -> socket.socket:
    if parts.scheme == "http":
        return sock
    import ssl

    sock.settimeout(_left(ends))
    return ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)


def _resolve(host: str, port: int, ends: float) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """The host's addresses. A resolver cannot be interrupted: it is left to end by itself."""
    import socket
    from threading import Thread

    with suppress(OSError, ValueError):  # a number needs no resolver, and no thread
        return _addresses(host, port, socket.AI_NUMERICHOST)
    found: list[list[tuple[int, int, int, str, tuple[str, int]]]] = []
    failed: list[Exception] = []

    def look() -> None:
        try:
            found.append(_addresses(host, port))
        except (OSError, ValueError) as error:
            failed.append(error)

    thread = Thread(target=look, name="resolver", daemon=True)
    thread.start()
    thread.join(_left(ends))
    if failed:
        raise HttpError(f"cannot resolve {visible(host, 100)}")
    if not found:
        raise TimeoutError
    return found[0]


def _addresses(
    host: str, port: int, flags: int = 0
) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Raises OSError, ValueError."""
    import socket

    # What is plain ASCII is not to load the tables of all other writings.
    name = host.encode() if host.isascii() else host
    return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)  # type: ignore[return-value]


def _send(
    wire: _Wire, url: str, method: str, body: object | None, headers: Mapping[str, str]
) -> None:
    import json
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    asked = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    raw = None if body is None else json.dumps(body, allow_nan=False).encode()
    own = {"Accept": "application/json", "Connection": "close"}
    if raw is not None:
        own["Content-Type"] = "application/json"
    # Only for writing a well-formed request: it never opens a connection of its own.
    writer = HTTPConnection(parts.hostname or "", parts.port)
    writer.sock = wire
    writer.request(method, asked, raw, {**own, **headers})


def _read(response: HTTPResponse, limit: int) -> bytes:
    """The whole body of an answer that may be read. Raises HttpError, IncompleteRead."""
    promised = _accept(response)
    raw = b"" if promised is not None and promised > limit else response.read(limit + 1)
    if len(raw) > limit or (promised is not None and promised > limit):
        raise HttpError(f"answer larger than {limit}", response.status)
    if promised is not None and len(raw) < promised:
        raise HttpError("answer cut short", response.status)
    return raw


def _read_tail(
    response: HTTPResponse, limit: int, keep: int, word: bytes
) -> tuple[bytes, int, int]:
    """The body's last bytes, its size, and how often `word` occurs in it. Raises HttpError."""
    promised = _accept(response)
    raw, size, words, edge = b"", 0, 0, b""
    if promised is not None and promised > limit:
        raise HttpError(f"answer larger than {limit}", response.status)
    while chunk := response.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise HttpError(f"answer larger than {limit}", response.status)
        if word:
            words += (edge + chunk).count(word)
            edge = chunk[-(len(word) - 1) :] if len(word) > 1 else b""
        raw = (raw + chunk)[-keep:]
    if promised is not None and size < promised:
        raise HttpError("answer cut short", response.status)
    return raw, size, words


def _accept(response: HTTPResponse) -> int | None:
    """The announced length of a body that may be read. Raises HttpError."""
    if 300 <= response.status < 400:
        raise HttpError("redirect refused", response.status)
    if response.getheader("Content-Encoding", "identity").strip().lower() != "identity":
        raise HttpError("compressed answer refused", response.status)
    return response.length


def _value(response: HTTPResponse, raw: bytes) -> object:
    """The JSON of a successful answer, else HttpError with what the server says instead."""
    status = response.status
    if not 200 <= status < 300:
        said = visible(" ".join(raw[:400].decode(errors="replace").split()), 120)
        raise HttpError(f"{status}: {said or visible(response.reason, 120)}", status)
    if not raw.strip():
        raise HttpError(f"{status}: empty answer", status)
    try:
        return decode(raw)
    except BadJson as error:
        kind = visible(response.getheader("Content-Type", "no type").split(";")[0].strip(), 60)
        if "json" in kind:
            raise HttpError(f"bad JSON: {error}", status) from None
        raise HttpError(f"not JSON ({kind})", status) from None


@contextmanager
def _explained(deadline_s: float) -> Iterator[None]:
    """Whatever goes wrong on the way, as an HttpError of a few words."""
    from http.client import HTTPException, IncompleteRead, InvalidURL, RemoteDisconnected

    try:
        yield
    except TimeoutError:
        raise HttpError(f"timed out after {deadline_s:g} s") from None
    except ConnectionRefusedError:
        raise HttpError("refused") from None
    except RemoteDisconnected:
        raise HttpError("closed without an answer") from None
    except ConnectionError:
        raise HttpError("connection reset") from None
    except IncompleteRead:
        raise HttpError("answer cut short") from None
    except OSError as error:
        raise HttpError(visible((error.strerror or str(error)).lower(), 120)) from None
    except (ValueError, TypeError, InvalidURL) as error:
        raise HttpError(f"cannot ask: {visible(str(error), 120)}") from None
    except HTTPException as error:
        raise HttpError(f"not HTTP ({type(error).__name__})") from None
