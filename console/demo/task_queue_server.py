"""A task queue over HTTP that behaves, quirks included, like the one the console is made for."""

from __future__ import annotations

import argparse
import logging
import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING or __package__:
    from . import queue_handlers, script_support, task_store
else:  # run by path: its own directory is on the search path
    import queue_handlers
    import script_support
    import task_store

MAX_BODY_BYTES = 1 << 20
MAX_DRAINED_BYTES = 16 << 20  # of a refused body are read, so that its sender reads the refusal
log = logging.getLogger("queue")


class QueueRequestHandler(BaseHTTPRequestHandler):
    """The HTTP handler of one connection. Answers every error as JSON, never by a traceback."""

    server: QueueServer
    protocol_version = "HTTP/1.1"
    error_content_type = "application/json"
    error_message_format = '{"error": "malformed request", "code": %(code)d}'
    timeout = 15.0
    wbufsize = -1  # buffered: header and body are sent together

    def do_GET(self) -> None:
        try:
            response = queue_handlers.handle_request(self.server.store, self._read_request())
        except queue_handlers.RequestError as refusal:
            response = queue_handlers.json_response({"error": str(refusal)}, refusal.status)
        except OSError:
            raise  # the connection has failed
        except Exception:
            log.exception("%s %s failed", self.command, self.path)
            response = queue_handlers.json_response({"error": "the server failed"}, 500)
        body = response.body.encode()
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _read_request(self) -> queue_handlers.Request:
        body = self._read_body()
        try:
            target = urlsplit(self.path)
        except ValueError as error:
            raise queue_handlers.RequestError(404, "no such path") from error
        worker = self.headers.get("X-Worker-Name", "unknown")[:200]
        return queue_handlers.Request(
            self.command, target.path, parse_qs(target.query), body, worker
        )

    def _read_body(self) -> bytes:
        content_length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (
            content_length.isascii() and content_length.isdigit()
        ):
            self.close_connection = True
            raise queue_handlers.RequestError(400, "a body needs a plain Content-Length")
        length = int(content_length) if len(content_length) < 16 else MAX_DRAINED_BYTES
        if length <= MAX_BODY_BYTES:
            return self.rfile.read(length)
        self.close_connection = True
        remaining = min(length, MAX_DRAINED_BYTES)
        while remaining > 0 and (chunk := self.rfile.read(min(remaining, 1 << 16))):
            remaining -= len(chunk)
        raise queue_handlers.RequestError(400, "the body is larger than 1 MB")

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)


class QueueServer(ThreadingHTTPServer):
    """The HTTP server of one task store, on the loopback interface."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, store: task_store.TaskStore) -> None:
        self.store = store
        super().__init__(("127.0.0.1", port), QueueRequestHandler)

    def server_bind(self) -> None:
        # Not HTTPServer.server_bind, which also queries the name service.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("connection of %s ended", client_address, exc_info=True)


def serve(port: int, store: task_store.TaskStore) -> None:
    """Serve requests until a signal ends the process, then close the store."""
    try:
        with QueueServer(port, store) as server:
            log.info("listening on 127.0.0.1:%d", server.server_port)
            server.serve_forever()
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--state", type=Path, help="where tasks are kept; in memory without")
    parser.add_argument("--lease-s", type=script_support.seconds, default=120.0)
    options = parser.parse_args()
    script_support.set_up_script()
    try:
        serve(options.port, task_store.TaskStore(options.state, options.lease_s))
    except OSError as error:
        log.error("cannot serve: %s", error)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
