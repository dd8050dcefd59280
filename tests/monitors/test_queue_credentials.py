"""Credentials for the queue server are sent only to the queue server and never shown."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from console.monitors._queue_client import request_json
from console.system.config.loader import ConfigError, parse
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError

PASSWORD = "s3cret%2Fp%40ss"


class Server:
    """A server that answers by path and keeps the Authorization header of each request."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append(self.headers.get("Authorization"))
                moved, refused = self.path == "/moved", self.path == "/refused"
                self.send_response(302 if moved else 401 if refused else 200)
                if moved:
                    self.send_header("Location", f"{server.url}/stolen")
                body = str(self.headers.get("Authorization")).encode() if refused else b"{}"
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.server.shutdown()
    one.thread.join()
    one.server.server_close()


def settings(**queue: str) -> Settings:
    return parse({"queue": queue}, "c.toml", Path("/base"))


def test_url_with_user_and_password_sends_basic_credentials(server: Server) -> None:
    configured = settings(url=f"http://bot:{PASSWORD}@127.0.0.1:{server.port}/")
    assert request_json(configured, "/api/stats") == {}
    assert server.seen == ["Basic " + b64encode(b"bot:s3cret/p@ss").decode()]
    assert configured.queue.address == f"http://127.0.0.1:{server.port}/"


def test_url_without_credentials_sends_no_header(server: Server) -> None:
    assert settings(url=server.url).queue.address == server.url
    request_json(settings(url=server.url), "/")
    assert server.seen == [None]


def test_token_is_read_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_TOKEN", "abc-1")
    request_json(settings(url=server.url, token_env="QUEUE_TOKEN"), "/")
    assert server.seen == ["Bearer abc-1"]


def test_token_file_is_read_at_each_request(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    configured = settings(url=server.url, token_file=str(file))
    for token in ("one", "two"):
        file.write_text(token + "\n")
        request_json(configured, "/")
    assert server.seen == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("content", ["", "two words", "a\r\nX-Evil: 1", "ü", "\x00"])
def test_invalid_token_is_refused_without_being_shown(
    server: Server, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(HttpError) as refused:
        request_json(settings(url=server.url, token_file=str(file)), "/")
    assert str(file) in str(refused.value)
    assert not content.strip() or content not in str(refused.value)
    assert server.seen == []


def test_missing_token_file_is_named(server: Server) -> None:
    with pytest.raises(HttpError, match="/base/none: missing"):
        request_json(settings(url=server.url, token_file="none"), "/")


def test_redirect_is_refused_and_sends_no_credentials(server: Server) -> None:
    configured = settings(url=f"http://bot:{PASSWORD}@127.0.0.1:{server.port}")
    with pytest.raises(HttpError, match="redirect refused"):
        request_json(configured, "/moved")
    assert len(server.seen) == 1


def test_credentials_repeated_by_the_server_are_redacted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_TOKEN", "plainword")
    with pytest.raises(HttpError) as refused:
        request_json(settings(url=server.url, token_env="QUEUE_TOKEN"), "/refused")
    assert "401" in str(refused.value)
    assert "plainword" not in str(refused.value)


def test_several_credentials_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml: queue: found several credentials"):
        settings(url="http://a:b@h", token_env="X")
    with pytest.raises(ConfigError, match=r"queue: found several"):
        settings(token_env="X", token_file="y")
