"""A running `rpa-console serve`, and helpers for its clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import aiohttp
import psutil
import pyte
from chromium_browser import until

from console.demo.environment import create_box, find_free_port
from console.demo.reaper import stop_and_remove_box

ROOT = Path(__file__).resolve().parents[2]
ENV = os.environ | {"PYTHONPATH": str(ROOT)}
Socket = aiohttp.ClientWebSocketResponse


@dataclass(frozen=True)
class Served:
    """A running `rpa-console serve`."""

    address: str
    process: subprocess.Popen[str]

    @property
    def key(self) -> str:
        return self.address.partition("#")[2]

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://").partition("/")[0]

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        line = HTTPConnection(self.host, timeout=10)
        try:
            line.putrequest("GET", path, skip_host="Host" in headers)
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            line.close()

    def consoles(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    @asynccontextmanager
    async def open(self, **changed: str | None) -> AsyncIterator[Socket]:
        """Open a console as the page does, with the given headers changed."""
        given = {
            "Origin": f"http://{self.host}",
            "Sec-WebSocket-Protocol": f"rpa-console, {self.key}",
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        headers = {name: value for name, value in given.items() if value is not None}
        async with aiohttp.ClientSession() as client:
            url = f"http://{self.host}/console?size=120x40"
            async with client.ws_connect(url, headers=headers) as socket:
                yield socket


def command(config: Path) -> list[str]:
    state = config.parent / "state"
    return [sys.executable, "-m", "console", "--config", str(config), "--state-dir", str(state)]


@contextmanager
def serving(
    directory: Path, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> Iterator[Served]:
    line = [*command(create_box(directory, find_free_port())), *before, "serve", *after]
    with subprocess.Popen(line, env=ENV, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield Served(process.stdout.readline().strip(), process)
        finally:
            process.terminate()
            process.wait(timeout=15)
            stop_and_remove_box(directory)


def refused(directory: Path, *words: str) -> tuple[int, str]:
    """Run a command that must print nothing, and return its exit code and standard error."""
    line = [*command(create_box(directory, find_free_port())), *words]
    ran = subprocess.run(line, env=ENV, capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout == ""
    return ran.returncode, ran.stderr


async def picture(socket: Socket, *texts: str) -> str:
    """Return the console's screen once all of the texts are on it."""
    screen = pyte.Screen(120, 40)
    stream = pyte.ByteStream(screen)
    async with asyncio.timeout(15):
        while not all(text in "\n".join(screen.display) for text in texts):
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
            if message.type is aiohttp.WSMsgType.BINARY:
                stream.feed(message.data.replace(b"\x1b[<u", b""))  # pyte would print the u
    return "\n".join(screen.display)


async def gone(processes: list[psutil.Process]) -> None:
    async def ended() -> bool:
        return not any(one.is_running() for one in processes)

    await until(ended, 5, f"gone: {processes}")
