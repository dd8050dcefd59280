"""A task queue over HTTP that behaves, quirks included, like the one the console is made for."""

from __future__ import annotations

import argparse
import logging
import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from . import queue_handlers, script_support, task_store
else:  # run by path, with this directory on the search path
    import queue_handlers
    import script_support
    import task_store

LARGEST_BODY = 1 << 20
DRAINED = 16 << 20  # of a refused body, so that its sender gets to read the refusal
log = logging.getLogger("queue")


class Door(BaseHTTPRequestHandler):
    """Reads one request, has it answered, and never lets a bad one out as a traceback."""

    server: QueueServer
    protocol_version = "HTTP/1.1"
    error_content_type = "application/json"
    error_message_format = '{"error": "malformed request", "code": %(code)d}'
    timeout = 15.0
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        try:
            answer = queue_handlers.respond(self.server.book, self._request())
        except queue_handlers.Refused as refusal:
            answer = queue_handlers.reply({"error": str(refusal)}, refusal.status)
        except OSError:
            raise  # the connection's own end
        except Exception:
            log.exception("%s %s failed", self.command, self.path)
            answer = queue_handlers.reply({"error": "the server failed"}, 500)
        text = answer.text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _request(self) -> queue_handlers.Request:
        body = self._body()
        try:
            target = urlsplit(self.path)
        except ValueError as error:
            raise queue_handlers.Refused(404, "no such path") from error
        worker = self.headers.get("X-Worker-Name", "unknown")[:200]
        return queue_handlers.Request(
            self.command, target.path, parse_qs(target.query), body, worker
        )

    def _body(self) -> bytes:
        declared = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (declared.isascii() and declared.isdigit()):
            self.close_connection = True
            raise queue_handlers.Refused(400, "a body needs a plain Content-Length")
        length = int(declared) if len(declared) < 16 else DRAINED
        if length <= LARGEST_BODY:
            return self.rfile.read(length)
        self.close_connection = True
        left = min(length, DRAINED)
        while left > 0 and (chunk := self.rfile.read(min(left, 1 << 16))):
            left -= len(chunk)
        raise queue_handlers.Refused(400, "the body is larger than 1 MB")

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)


class QueueServer(ThreadingHTTPServer):
    """The loopback door to one book."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, book: task_store.Book) -> None:
        self.book = book
        super().__init__(("127.0.0.1", port), Door)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the name service as well
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("connection of %s ended", client_address, exc_info=True)


def serve(port: int, book: task_store.Book) -> None:
    """Answer until a signal ends it."""
    try:
        with QueueServer(port, book) as server:
            log.info("listening on 127.0.0.1:%d", server.server_port)
            server.serve_forever()
    finally:
        book.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--state", type=Path, help="where tasks are kept; in memory without")
    parser.add_argument("--lease-s", type=script_support.seconds, default=120.0)
    options = parser.parse_args()
    script_support.start()
    try:
        serve(options.port, task_store.Book(options.state, options.lease_s))
    except OSError as error:
        log.error("cannot serve: %s", error)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
