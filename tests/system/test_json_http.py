"""Tests of the HTTP client with real sockets and a misbehaving server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from console.system.host.json_http import HttpError, _resolve, fetch_json

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
Script = Callable[[socket.socket, bytes], None]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Run a server that passes one connection and its request to `script`. Yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                try:
                    script(connection, connection.recv(65536))
                except OSError:
                    pass  # the client has disconnected, as it should

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        finally:
            thread.join(15)


def says(raw: bytes) -> Script:
    return lambda connection, _: connection.sendall(raw)


def trickles(head: bytes, piece: bytes) -> Script:
    """Send `head` at once and then one byte every 20 ms, until the client disconnects."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        for index in range(1000):
            connection.sendall(piece[index % len(piece) :][:1])
            time.sleep(0.02)

    return script


def refused(script: Script, **how: object) -> HttpError:
    with serving(script) as url, pytest.raises(HttpError) as caught:
        fetch_json(url, **how)  # type: ignore[arg-type]
    return caught.value


def test_response_has_status_data_and_elapsed_time() -> None:
    with serving(says(OK + b"Content-Length: 8\r\n\r\n" + b'{"a": 1}')) as url:
        answer = fetch_json(url)
    assert (answer.status, answer.data) == (200, {"a": 1})
    assert 0 <= answer.elapsed_s < 3


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (OK + b"\r\n[1]", [1]),
        (HTML + b"\r\n\xef\xbb\xbf[1]", [1]),
        (CHUNKED + b"1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n", [1]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\nnull", None),
        (b"HTTP/1.0 201 Created\r\n\r\n1", 1),
    ],
)
def test_json_is_read_from_every_response_framing(raw: bytes, data: object) -> None:
    with serving(says(raw)) as url:
        assert fetch_json(url).data == data


def test_request_has_method_headers_and_json_body() -> None:
    asked: list[bytes] = []

    def script(connection: socket.socket, raw: bytes) -> None:
        while not raw.endswith(b"}"):
            raw += connection.recv(65536)
        asked.append(raw)
        connection.sendall(OK + b"\r\n{}")

    with serving(script) as url:
        fetch_json(url + "/x?a=b", method="POST", body={"n": 1}, headers={"X-Worker-Name": "w"})
    head, _, body = asked[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /api/x?a=b HTTP/1.1"
    assert {"Accept-Encoding: identity", "Connection: close", "X-Worker-Name: w"} <= set(lines)
    assert json.loads(body) == {"n": 1}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (HTML + b"\r\n<html>log in</html>", "not JSON (text/html)"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "not JSON (no type)"),
        (OK + b"\r\n{", "bad JSON: "),
        (OK + b"\r\n[1e999]", "bad JSON: a number beyond all bounds"),
        (OK + b"\r\n\xff", "bad JSON: not UTF-8 at byte 0"),
        (OK + b"Content-Length: 9\r\n\r\n[1]", "answer cut short"),
        (CHUNKED + b"3\r\n[1]\r\n5\r\n", "answer cut short"),
        (CHUNKED + b"zz\r\n[1]\r\n", "answer cut short"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "204: empty answer"),
        (b"HTTP/1.1 500 Oops\r\n\r\nIt \x1b[31mfell\n over", "500: It \\x1b[31mfell over"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404: Not Found"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://example.invalid/\r\n\r\n", "redirect refused"),
        (OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", "compressed answer refused"),
        (OK + b"Content-Length: 100000000\r\n\r\n", "answer larger than 1000"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "not HTTP (HTTPException)"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", "not HTTP (LineTooLong)"),
        (b"", "closed without an answer"),
    ],
)  # fmt: skip
def test_malformed_response_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    assert str(refused(says(raw), max_bytes=1000)).startswith(reason)


def test_error_carries_the_http_status() -> None:
    assert refused(says(b"HTTP/1.1 404 Not Found\r\n\r\n{}")).status == 404
    assert refused(says(b"")).status is None


@pytest.mark.parametrize(
    "script",
    [
        trickles(b"", b"HTTP/1.1 200 OK\r\n"),
        trickles(OK, b"X: y\r\n"),
        trickles(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        trickles(OK + b"\r\n", b" "),
        trickles(OK + b"Content-Length: 1000000\r\n\r\n", b" "),
        trickles(CHUNKED, b"1\r\n \r\n"),
        lambda connection, _: connection.recv(1),  # sends nothing
    ],
    ids=["status line", "header", "continue", "body", "long body", "chunks", "silence"],
)
def test_deadline_holds_against_a_slow_trickle(script: Script) -> None:
    began = time.monotonic()
    assert str(refused(script, timeout_s=0.3)) == "timed out after 0.3 s"
    assert time.monotonic() - began < 2


def test_oversized_response_is_not_read_whole() -> None:
    sent = [0]

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(OK + b"\r\n")
        block = b" " * 65536
        while sent[0] < 100_000_000:
            sent[0] += connection.send(block)

    tracemalloc.start()
    try:
        assert str(refused(script)) == "answer larger than 1000000"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert sent[0] < 50_000_000


def test_reset_connection_is_reported() -> None:
    def script(connection: socket.socket, _: bytes) -> None:
        linger = b"\x01\0\0\0\0\0\0\0"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    assert str(refused(script)) == "connection reset"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://127.0.0.1/", "not an http:// address"),
        ("http://", "not an http:// address"),
        ("http://127.0.0.1:99999/", "cannot ask: "),
        ("http://no-such-host.invalid/", "cannot resolve no-such-host.invalid"),
        ("http://a\0b/", "cannot resolve a\\x00b"),
        ("http://[::1/", "cannot ask: "),
    ],
)
def test_invalid_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(HttpError, match=f"^{reason}".replace("\\", "\\\\")):
        fetch_json(url)


@pytest.mark.parametrize(
    ("path", "value"), [("/a b", ""), ("/ü", ""), ("/a\x7f", ""), ("", "b\r\nX: y"), ("", "☃")]
)
def test_request_injection_is_refused(path: str, value: str) -> None:
    with serving(says(OK + b"\r\n1")) as url, pytest.raises(HttpError, match="cannot ask"):
        fetch_json(url + path, headers={"A": value})


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_closed_port_is_reported_as_refused(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HttpError, match="refused"):
        fetch_json(f"{scheme}://127.0.0.1:{port}/")


def test_tls_to_a_plain_http_server_fails() -> None:
    with serving(says(OK + b"\r\n1")) as url, pytest.raises(HttpError):
        fetch_json(url.replace("http:", "https:"))


def test_deadline_holds_against_a_silent_tls_server() -> None:
    script: Script = lambda connection, _: connection.recv(1)  # noqa: E731
    with serving(script) as url, pytest.raises(HttpError, match="timed out after"):
        fetch_json(url.replace("http:", "https:"), timeout_s=0.3)


def test_proxy_environment_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(says(OK + b"\r\n1")) as url:
        assert fetch_json(url).data == 1


def test_import_does_not_load_http_client() -> None:
    code = "import sys, console.system.host.json_http; sys.exit('http.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_numeric_address_needs_no_resolver() -> None:
    over = time.monotonic() - 1  # the deadline has passed: a resolver would not be waited for
    for number in ("127.0.0.1", "::1"):
        assert _resolve(number, 80, over)[0][4][:2] == (number, 80)
    with pytest.raises(TimeoutError):
        _resolve("localhost", 80, over)


def test_ascii_host_name_does_not_load_idna() -> None:
    code = "import sys; from console.system.host.json_http import HttpError, _resolve\n"
    code += "import time; _resolve('localhost', 80, time.monotonic() + 60)\n"
    code += "sys.exit('encodings.idna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
