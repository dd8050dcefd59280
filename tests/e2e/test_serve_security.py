"""`serve` under attack by other users of the machine and by viewers with the key."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from served_console import ENV, Served, command, gone, picture, serving

from console.demo.environment import create_box, find_free_port
from console.demo.reaper import stop_and_remove_box
from console.web.connection_limits import HEAD_TIMEOUT_S


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """A server with 256 descriptors, and the file of its standard error."""
    directory, log = tmp_path / "box", tmp_path / "stderr"
    line = [*command(create_box(directory, find_free_port())), "serve"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            line, env=ENV, text=True, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (256, 256))
            yield Served(address, process), log
        finally:
            process.terminate()
            process.wait(timeout=15)
            stop_and_remove_box(directory)


def connect(served: Served, said: bytes) -> socket.socket:
    host, _, port = served.host.partition(":")
    line = socket.create_connection((host, int(port)), timeout=10)
    line.sendall(said)
    return line


def is_open(line: socket.socket) -> bool:
    line.settimeout(0)
    try:
        return line.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_half_sent_requests_do_not_block_other_clients(attacked: tuple[Served, Path]) -> None:
    served, log = attacked
    lines = [connect(served, b"GET / HT") for _ in range(300)]
    try:
        began = time.monotonic()
        for _ in range(5):
            assert served.get("/")[0] == 200
        assert time.monotonic() - began < 10
        assert psutil.Process(served.process.pid).num_fds() < 150
        deadline = time.monotonic() + HEAD_TIMEOUT_S + 30
        while any(map(is_open, lines)):
            assert time.monotonic() < deadline, "half-sent requests are held"
            time.sleep(0.5)
    finally:
        for line in lines:
            line.close()
    assert log.stat().st_size < 2_000, log.read_text("utf-8", "replace")[:500]


def test_slow_request_head_is_closed_at_the_deadline(attacked: tuple[Served, Path]) -> None:
    served, _ = attacked
    with connect(served, b"GET / HTTP/1.1\r\n") as line:
        deadline = time.monotonic() + HEAD_TIMEOUT_S + 30
        while is_open(line):
            assert time.monotonic() < deadline
            time.sleep(0.2)
            line.settimeout(5)
            try:
                line.sendall(b"X")
            except OSError:
                break


REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: {host}\r\nSec-WebSocket-Protocol: \xff\xfe\r\n\r\n",
    b"GET /console HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
    b"Sec-WebSocket-Protocol: rpa-console, \xff\xc3\xa9\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: \xff\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /page.js HTTP/1.1\r\nHost: {host}\r\nIf-None-Match: \xff\"\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: {host}\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x1b]0;PWN\x07\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 20_000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\n",
)  # fmt: skip


def test_malformed_requests_cause_no_server_error_or_traceback(
    attacked: tuple[Served, Path],
) -> None:
    served, log = attacked
    for request in REQUESTS:
        with connect(served, request.replace(b"{host}", served.host.encode())) as line:
            line.settimeout(HEAD_TIMEOUT_S + 15)
            status = line.recv(100).split(b" ")[1:2]
        assert not status or status[0][:1] in b"234", (request, status)
    with connect(served, REQUESTS[1].replace(b"{host}", served.host.encode())) as line:
        assert line.recv(20).startswith(b"HTTP/1.1 403")
    said = log.read_text("utf-8", "replace")
    assert "Traceback" not in said
    assert not [char for char in said if char != "\n" and not char.isprintable()]
    assert said.count("\n") < 15


async def test_size_report_in_the_input_does_not_resize_the_console(tmp_path: Path) -> None:
    with serving(tmp_path / "box") as served:
        async with served.open() as line:
            await picture(line, "READ-ONLY")
            (console,) = served.consoles()
            before = console.memory_info().rss
            await line.send_bytes(b"\x1b[48;20000000;20000000;1;1t")
            await line.send_bytes(b"\x1b[48;200000")
            await line.send_bytes(b"00;20000000;1;1t")
            await asyncio.sleep(2)
            assert console.memory_info().rss < before + 50 * 2**20
            await line.send_str("100x30")
            await picture(line, "w why")
        await gone([console])


async def test_browser_action_is_recorded_with_a_web_actor(tmp_path: Path) -> None:
    directory = tmp_path / "box"
    with serving(directory, ("--no-daemon",), ("--writable",)) as served:
        async with served.open() as line:
            await picture(line, "e ensure")
            await line.send_bytes(b"e")
            async with asyncio.timeout(60):
                while True:
                    ran = await asyncio.create_subprocess_exec(
                        *command(directory / "config.toml"), "events", env=ENV,
                        stdout=asyncio.subprocess.PIPE,
                    )  # fmt: skip
                    said = (await ran.communicate())[0].decode()
                    if "web:" in said:
                        break
                    await asyncio.sleep(0.3)
            assert "console:" not in said
