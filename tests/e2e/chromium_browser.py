"""A headless Chromium with a profile of its own, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--window-size=1300,800",
    "--host-resolver-rules=MAP rebound.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


async def until(condition: Callable[[], Awaitable[object]], seconds: float, what: str) -> None:
    """Wait until the condition holds, checking it every 50 ms."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - no other process sets an Event
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


class Tab:
    """The browser's only tab, and every network request that it made."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse) -> None:
        self._line = line
        self._session: dict[str, str] = {}
        self._calls = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.statuses: dict[str, int] = {}

    async def listen(self) -> None:
        async for message in self._line:
            said = message.json()
            if (number := said.get("id")) is not None:
                self._waiting.pop(number).set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.asked.append(told["url"])
        elif event == "Network.responseReceived":
            self.statuses[told["response"]["url"]] = told["response"]["status"]
        elif event == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        said = await self._ask(method, params)
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._calls += 1
        number = self._calls
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        await self._line.send_json(
            {"id": number, "method": method, "params": params, **self._session}
        )
        async with asyncio.timeout(15):
            return await answer

    async def attach(self) -> None:
        targets = (await self.call("Target.getTargets"))["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = await self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Network", "Log", "Runtime", "Page"):
            await self.call(f"{domain}.enable")

    async def open(self, address: str) -> None:
        await self.call("Page.navigate", url=address)

    async def reload(self) -> None:
        """Reload the page, and wait until the new page has replaced the old one."""
        await self.run("window.old = true")
        await self.call("Page.reload")

        async def renewed() -> bool:
            return await self.run("window.old === undefined") is True

        await until(renewed, 15, "the page is a new one")

    async def run(self, script: str) -> Any:
        """Evaluate a script and await a promise. Return None while the page changes."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        said = await self._ask("Runtime.evaluate", asked)
        return said.get("result", {}).get("result", {}).get("value")

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def shows(self, text: str, within: str = "document.body", seconds: float = 15) -> None:
        async def seen() -> bool:
            return text in (await self.run(f"{within}?.innerText") or "")

        await until(seen, seconds, f"{text!r} in the page")

    def left_loopback(self) -> list[str]:
        """Return the requested addresses outside the loopback."""
        return [url for url in self.asked if urlsplit(url).hostname not in ("127.0.0.1", None)]


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        where = profile / "DevToolsActivePort"

        async def listening() -> bool:
            return where.exists() and where.read_text().count("\n") == 1

        await until(listening, 20, "Chromium can be driven")
        port, path = where.read_text().split("\n")
        address = f"ws://127.0.0.1:{port}{path}"
        async with aiohttp.ClientSession() as client:
            async with client.ws_connect(address, max_msg_size=0) as line:
                tab = Tab(line)
                listener = asyncio.create_task(tab.listen())
                await tab.attach()
                yield tab
            await listener
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
