"""The console in a browser: accepted and refused clients, and Chromium's view and requests."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from http.client import HTTPConnection
from pathlib import Path

import aiohttp
import psutil
import pytest
from chromium_browser import CHROMIUM, chromium
from served_console import ENV, Served, gone, picture, refused, serving

from console.web.server import MAX_CONSOLES, STATIC_FILES


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve") / "box") as server:
        yield server


# --- refused clients ----------------------------------------------------------------------------


def test_server_listens_on_the_loopback_only(served: Served, tmp_path: Path) -> None:
    sockets = psutil.Process(served.process.pid).net_connections("inet")
    listening = [one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    code, words = refused(tmp_path / "box", "serve", "--host", "0.0.0.0")
    assert code == 2 and "No such option" in words


@pytest.mark.parametrize("path", ["/", "/page.js", "/console"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"},
        {"Host": "127.0.0.1.evil.test:80"},
        {"Host": "evil.test#127.0.0.1"},
        {"Host": "0.0.0.0:80"},
        {"Host": ""},
        {"Origin": "http://evil.test"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
    ids=lambda headers: "-".join(*headers.items()),
)
def test_request_with_a_foreign_host_or_origin_is_refused(
    served: Served, path: str, headers: dict[str, str]
) -> None:
    status, _, text = served.get(path, **headers)
    assert (status, text[:9]) == (403, "refused: ")


@pytest.mark.parametrize(
    "changed",
    [
        {"Sec_WebSocket_Protocol": None},
        {"Sec_WebSocket_Protocol": "rpa-console"},
        {"Sec_WebSocket_Protocol": "rpa-console, "},
        {"Sec_WebSocket_Protocol": f"rpa-console, {'A' * 43}"},
        {"Sec_WebSocket_Protocol": "rpa-console, \u00e9"},
        {"Origin": "http://evil.test"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": None},
        {"Host": "evil.test", "Origin": "http://evil.test"},
    ],
    ids=str,
)
async def test_handshake_without_key_or_origin_is_refused(
    served: Served, changed: dict[str, str | None]
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with served.open(**changed):
            pass
    assert refusal.value.status == 403
    assert served.consoles() == []


def test_server_serves_only_its_files_with_a_strict_policy(served: Served) -> None:
    for path in ("/../server.py", "/%2e%2e/server.py", "/vendor/", "/static/page.js"):
        assert served.get(path)[0] == 404
    for path in ("/", *STATIC_FILES):
        status, headers, text = served.get(path)
        assert status == 200 and served.key not in text
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    nonces = {served.get("/")[1]["Content-Security-Policy"] for _ in range(3)}
    assert len(nonces) == 3


def test_cached_file_gets_304_and_the_connection_stays_usable(served: Served) -> None:
    line = HTTPConnection(served.host, timeout=10)
    try:
        for path in STATIC_FILES:
            line.request("GET", path, headers={"Accept-Encoding": "gzip"})
            answer = line.getresponse()
            assert (answer.status, len(answer.read()) > 0) == (200, True)
            known = {"Accept-Encoding": "gzip", "If-None-Match": answer.headers["ETag"]}
            line.request("GET", path, headers=known)
            answer = line.getresponse()
            assert (answer.status, answer.headers["Transfer-Encoding"]) == (304, None)
            answer.read()
    finally:
        line.close()


def test_serve_reports_the_reason_it_cannot_start(served: Served, tmp_path: Path) -> None:
    code, words = refused(tmp_path / "a", "serve", "--port", served.host.partition(":")[2])
    assert code == 1 and "address already in use" in words
    code, words = refused(tmp_path / "b", "--read-only", "serve", "--writable")
    assert code == 1 and "read-only" in words
    script = "import sys; sys.modules['aiohttp'] = None; from console.cli.main import main; main()"
    line = [sys.executable, "-c", script, "--state-dir", str(tmp_path / "state"), "serve"]
    ran = subprocess.run(line, env=ENV, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 2 and "rpa-console[web]" in ran.stderr


# --- accepted clients ---------------------------------------------------------------------------


async def test_key_opens_a_read_only_console_that_ends_with_its_socket(
    served: Served,
) -> None:
    async with served.open() as socket:
        await picture(socket, "READ-ONLY", "DOWN", "Processes")
        (console,) = served.consoles()
        assert "--read-only" in console.cmdline()
        await socket.send_bytes(b"e")
        await picture(socket, "read-only: ", "was not sent")
    await gone([console])


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "localhost"])
async def test_loopback_host_with_a_forwarded_port_is_accepted(served: Served, host: str) -> None:
    assert served.get("/", Host=host)[0] == 200
    async with served.open(Host=host, Origin=f"http://{host}") as socket:
        await socket.receive()


async def _opened(served: Served, stack: AsyncExitStack) -> aiohttp.ClientWebSocketResponse:
    """Open a console, retrying while consoles of an earlier test still count."""
    while True:
        socket = await stack.enter_async_context(served.open())
        if (await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            return socket


async def _read_on(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Read and discard messages. The server disconnects a client that answers no ping."""
    async for _ in socket:
        pass


async def test_server_limits_the_number_of_consoles(served: Served) -> None:
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        for _ in range(MAX_CONSOLES):
            socket = await _opened(served, stack)
            reading = asyncio.create_task(_read_on(socket))
            stack.callback(reading.cancel)
        opened = served.consoles()
        async with served.open() as refused:
            message = await refused.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
            assert "already" in str(message.extra)
    await gone(opened)
    async with served.open() as again:
        await picture(again, "READ-ONLY")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_consoles_end_with_their_server(tmp_path: Path, end: signal.Signals) -> None:
    with serving(tmp_path / "box") as server:
        async with server.open() as socket:
            await picture(socket, "READ-ONLY")
            consoles = server.consoles()
            server.process.send_signal(end)
            await gone(consoles)
        assert server.process.wait(timeout=10) == (0 if end == signal.SIGTERM else -end)


async def test_writable_option_serves_a_writable_console(tmp_path: Path) -> None:
    with serving(tmp_path / "box", ("--no-daemon",), ("--writable",)) as server:
        async with server.open() as socket:
            assert "READ-ONLY" not in await picture(socket, "LIVE", "e ensure")


# --- Chromium -----------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_chromium_shows_the_console_and_requests_only_the_loopback(
    served: Served, tmp_path: Path
) -> None:
    async with chromium(tmp_path / "profile") as tab:
        await tab.open(f"http://{served.host}/")
        await tab.shows("Open the whole address")
        assert served.consoles() == []
        await tab.open(served.address)
        for text in ("READ-ONLY", "DOWN", "Processes"):
            await tab.shows(text, "document.querySelector('.xterm-rows')")
        assert await tab.run("location.href") == f"http://{served.host}/", "the key is still shown"
        await tab.reload()
        await tab.shows("READ-ONLY", "document.querySelector('.xterm-rows')")
        await tab.call(
            "Emulation.setDeviceMetricsOverride", width=500, height=300, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        await tab.run("new Promise(requestAnimationFrame)")
        await tab.shows("DOWN", "document.querySelector('.xterm-rows')")
        await tab.type("q")
        await tab.shows("No longer live: the console was left")
        assert tab.complaints == []
        assert len(tab.asked) > len(STATIC_FILES) and tab.left_loopback() == []
        assert await tab.run("document.fonts.size") == 0


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_other_pages_in_chromium_cannot_reach_the_console(
    served: Served, tmp_path: Path
) -> None:
    attempt = """new Promise((done) => {
        const socket = new WebSocket("ws://HOST/console", ["rpa-console", "KEY"]);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    })""".replace("HOST", served.host).replace("KEY", served.key)
    async with chromium(tmp_path / "profile") as tab:
        assert await tab.run(attempt) == "refused", "a page without an origin, which has the key"
        rebound = f"http://rebound.test:{served.host.partition(':')[2]}/"
        await tab.open(rebound)
        await tab.shows("refused: this is not a name")
        assert tab.statuses[rebound] == 403
        assert served.consoles() == []
