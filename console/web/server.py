"""One page and its WebSocket on the loopback; a console of its own for each who has the key."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

from console.web.access_control import PROTOCOL, make_key, refuse_console, refuse_page
from console.web.connection_limits import BACKLOG, HEAD_S, BriefLog, Doors, Visitor
from console.web.pty_session import Size, Terminal, parse_size

HOST = "127.0.0.1"
MOST = 4
"""Consoles at one time."""
BEAT_S = 5.0
"""The longest silence: the page knows by it that the line still holds."""
LONGEST_BYTES = 65_536
"""Of one message from a browser."""

STATIC = Path(__file__).with_name("static")
FILES = {
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/icon.svg": "icon.svg",
    "/xterm.css": "vendor/xterm.css",
    "/xterm.js": "vendor/xterm.js",
    "/addon-fit.js": "vendor/addon-fit.js",
    "/addon-unicode11.js": "vendor/addon-unicode11.js",
}
"""All that is ever served beside the page."""
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


class Front:
    """What a browser sees of us."""

    def __init__(self, command: Sequence[str], key: str) -> None:
        self.command = tuple(command)
        self.key = key
        self.sockets: set[web.WebSocketResponse] = set()
        self.doors = Doors()

    def application(self) -> web.Application:
        """The routes, every one of them behind the gate."""
        application = web.Application(middlewares=[self.guard])
        application.router.add_get("/", _page)
        application.router.add_get("/console", self.console)
        for address, name in FILES.items():
            application.router.add_get(address, _file(STATIC / name))
        application.on_response_prepare.append(_dress)
        application.on_shutdown.append(self.hang_up)
        return application

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Hand on what comes from a page of this machine's loopback."""
        self.doors.heard(request.transport)
        reason = refuse_page(request.headers.get("Host"), request.headers.get("Origin"))
        if reason:
            return web.Response(status=403, text=f"refused: {reason}\n")
        return await handler(request)

    async def console(self, request: web.Request) -> web.StreamResponse:
        """A console for whoever has the key, until either side leaves."""
        origin, offered = (request.headers.get(f) for f in ("Origin", "Sec-WebSocket-Protocol"))
        if reason := refuse_console(origin, offered, self.key):
            return web.Response(status=403, text=f"refused: {reason}\n")
        self.doors.closed(request.transport)  # it is a console's from here on
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,), heartbeat=2 * BEAT_S, max_msg_size=LONGEST_BYTES
        )
        await socket.prepare(request)
        if len(self.sockets) >= MOST:
            full = f"{MOST} consoles are open already: close one".encode()
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=full)
            return socket
        self.sockets.add(socket)
        try:
            size = parse_size(request.query.get("size", "")) or Size()
            await _connect(socket, await Terminal.open(self.command, size))
        finally:
            self.sockets.discard(socket)
        return socket

    async def hang_up(self, _: web.Application) -> None:
        """Close every WebSocket: its console goes with it."""
        words = b"rpa-console serve has ended"
        closing = (s.close(code=WSCloseCode.GOING_AWAY, message=words) for s in self.sockets)
        await asyncio.gather(*closing)


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall("Server", None)


async def _page(request: web.Request) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    text = (STATIC / "index.html").read_text("utf-8").replace("{nonce}", nonce)
    headers = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _file(path: Path) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Gives one file, compressed, unless the browser has it.

    aiohttp's own FileResponse would end a compressed 304 with an empty chunk, which the browser
    takes for the start of its next answer.
    """
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()

    async def give(request: web.Request) -> web.Response:
        if tag in (known.value for known in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": f'"{tag}"'})
        response = web.Response(body=body, content_type=TYPES[path.suffix], charset="utf-8")
        response.etag = tag
        response.enable_compression()
        return response

    return give


async def _connect(socket: web.WebSocketResponse, terminal: Terminal) -> None:
    """Until either leaves. From the browser, binary messages are keys and text messages sizes."""
    showing = asyncio.create_task(_show(terminal, socket))
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                terminal.type(message.data)
            elif message.type is WSMsgType.TEXT and (size := parse_size(message.data)):
                terminal.resize(size)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        await terminal.close()


async def _show(terminal: Terminal, socket: web.WebSocketResponse) -> None:
    while True:
        try:
            async with asyncio.timeout(BEAT_S):
                drawn = await terminal.read()
        except TimeoutError:
            await socket.send_str("")
            continue
        if not drawn:
            break
        await socket.send_bytes(drawn)
    await socket.close(message=b"the console was left")


async def serve(
    command: Sequence[str],
    port: int,
    announce: Callable[[str, int], None],
    log: Callable[[str], None],
) -> None:
    """Serve `command` until a signal; `announce(address, port)` when it can be opened.

    `log` gets a line now and then of what goes wrong. Raises OSError when the port cannot be had.
    """
    logging.basicConfig(handlers=[BriefLog(log)], force=True)
    loop, key, stop = asyncio.get_running_loop(), make_key(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    front = Front(command, key)
    runner = web.AppRunner(front.application(), access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    assert runner.server is not None
    visit = partial(Visitor, runner.server, front.doors, access_log=None, keepalive_timeout=HEAD_S)
    try:
        listener = await loop.create_server(visit, HOST, port, backlog=BACKLOG)
        bound = listener.sockets[0].getsockname()[1]
        announce(f"http://{HOST}:{bound}/#{key}", bound)
        await stop.wait()
        listener.close()
    finally:
        await runner.cleanup()
