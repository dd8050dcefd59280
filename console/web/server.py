"""Serves a page and its WebSocket on the loopback interface; each client has its own console."""

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

from console.web.access_control import SUBPROTOCOL, console_refusal, make_key, page_refusal
from console.web.connection_limits import (
    HEAD_TIMEOUT_S,
    LISTEN_BACKLOG,
    ConnectionLimiter,
    LimitedRequestHandler,
    ThrottledLogHandler,
)
from console.web.pty_session import PtySession, TerminalSize, parse_size

HOST = "127.0.0.1"
MAX_CONSOLES = 4
"""Maximum of simultaneous consoles."""
HEARTBEAT_INTERVAL_S = 5.0
"""Longest time between two messages to the page, which detects a lost connection by it."""
MAX_MESSAGE_BYTES = 65_536
"""Size limit of one message from a browser."""

STATIC_DIR = Path(__file__).with_name("static")
STATIC_FILES = {
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/icon.svg": "icon.svg",
    "/xterm.css": "vendor/xterm.css",
    "/xterm.js": "vendor/xterm.js",
    "/addon-fit.js": "vendor/addon-fit.js",
    "/addon-unicode11.js": "vendor/addon-unicode11.js",
}
"""URL path -> file in `STATIC_DIR`. No other files are served, except the page itself."""
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


class ConsoleServer:
    """The web application: its routes, checks and open consoles."""

    def __init__(self, command: Sequence[str], key: str) -> None:
        self.command = tuple(command)
        self.key = key
        self.sockets: set[web.WebSocketResponse] = set()
        self.limiter = ConnectionLimiter()

    def build_application(self) -> web.Application:
        """Return the application, in which `check_request` protects every route."""
        application = web.Application(middlewares=[self.check_request])
        application.router.add_get("/", _serve_page)
        application.router.add_get("/console", self.handle_console)
        for address, name in STATIC_FILES.items():
            application.router.add_get(address, _file_handler(STATIC_DIR / name))
        application.on_response_prepare.append(_add_security_headers)
        application.on_shutdown.append(self.close_sockets)
        return application

    @web.middleware
    async def check_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass on requests that `page_refusal` accepts; answer all others with status 403."""
        self.limiter.mark_request_received(request.transport)
        reason = page_refusal(request.headers.get("Host"), request.headers.get("Origin"))
        if reason:
            return web.Response(status=403, text=f"refused: {reason}\n")
        return await handler(request)

    async def handle_console(self, request: web.Request) -> web.StreamResponse:
        """Run a console over a WebSocket for a client with the key, until either side closes it."""
        origin, offered = (
            request.headers.get(header) for header in ("Origin", "Sec-WebSocket-Protocol")
        )
        if reason := console_refusal(origin, offered, self.key):
            return web.Response(status=403, text=f"refused: {reason}\n")
        self.limiter.release(request.transport)  # the connection now belongs to a console
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            heartbeat=2 * HEARTBEAT_INTERVAL_S,
            max_msg_size=MAX_MESSAGE_BYTES,
        )
        await socket.prepare(request)
        if len(self.sockets) >= MAX_CONSOLES:
            message = f"{MAX_CONSOLES} consoles are open already: close one".encode()
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=message)
            return socket
        self.sockets.add(socket)
        try:
            size = parse_size(request.query.get("size", "")) or TerminalSize()
            await _relay(socket, await PtySession.open(self.command, size))
        finally:
            self.sockets.discard(socket)
        return socket

    async def close_sockets(self, _: web.Application) -> None:
        """Close every WebSocket, which also ends its console."""
        message = b"rpa-console serve has ended"
        closing = (s.close(code=WSCloseCode.GOING_AWAY, message=message) for s in self.sockets)
        await asyncio.gather(*closing)


async def _add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall("Server", None)


async def _serve_page(request: web.Request) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    text = (STATIC_DIR / "index.html").read_text("utf-8").replace("{nonce}", nonce)
    headers = {"Content-Security-Policy": PAGE_CSP.format(nonce=nonce), "Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _file_handler(path: Path) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that serves one file, compressed and with an ETag.

    aiohttp's FileResponse would end a compressed 304 response with an empty chunk, which the
    browser takes for the start of the next response.
    """
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()

    async def give(request: web.Request) -> web.Response:
        if digest in (etag.value for etag in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": f'"{digest}"'})
        response = web.Response(body=body, content_type=CONTENT_TYPES[path.suffix], charset="utf-8")
        response.etag = digest
        response.enable_compression()
        return response

    return give


async def _relay(socket: web.WebSocketResponse, session: PtySession) -> None:
    """Relay between WebSocket and terminal until either side closes, then close the session.

    Binary messages from the browser contain keys, text messages contain sizes.
    """
    output_task = asyncio.create_task(_relay_output(session, socket))
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                session.send_keys(message.data)
            elif message.type is WSMsgType.TEXT and (size := parse_size(message.data)):
                session.resize(size)
    finally:
        output_task.cancel()
        await asyncio.gather(output_task, return_exceptions=True)
        await session.close()


async def _relay_output(session: PtySession, socket: web.WebSocketResponse) -> None:
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_INTERVAL_S):
                output = await session.read()
        except TimeoutError:
            await socket.send_str("")
            continue
        if not output:
            break
        await socket.send_bytes(output)
    await socket.close(message=b"the console was left")


async def serve(
    command: Sequence[str],
    port: int,
    announce: Callable[[str, int], None],
    log: Callable[[str], None],
) -> None:
    """Serve `command` until SIGINT, SIGTERM or SIGHUP.

    `announce(url, port)` is called when the server accepts connections. `log` gets errors, as
    throttled lines. Raises OSError if the port cannot be bound.
    """
    logging.basicConfig(handlers=[ThrottledLogHandler(log)], force=True)
    loop, key, stop = asyncio.get_running_loop(), make_key(), asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, stop.set)
    server = ConsoleServer(command, key)
    runner = web.AppRunner(server.build_application(), access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    assert runner.server is not None
    protocol_factory = partial(
        LimitedRequestHandler,
        runner.server,
        server.limiter,
        access_log=None,
        keepalive_timeout=HEAD_TIMEOUT_S,
    )
    try:
        listener = await loop.create_server(protocol_factory, HOST, port, backlog=LISTEN_BACKLOG)
        bound_port = listener.sockets[0].getsockname()[1]
        announce(f"http://{HOST}:{bound_port}/#{key}", bound_port)
        await stop.wait()
        listener.close()
    finally:
        await runner.cleanup()
