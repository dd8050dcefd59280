"""`status` observes the box itself, and does not rely on the daemon's older observations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store.store import Store

Wait = Callable[..., Any]
SELDOM = {"queue": {"every_s": 300}, "canary": {"enabled": False}}


class Server(BaseHTTPRequestHandler):
    """A queue server without any tasks."""

    def do_GET(self) -> None:
        raw = json.dumps({"status": "ok", "queue_size": 0, "completed": 1, "inflight": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(box: Any) -> Iterator[None]:
    port = urlsplit(box.document("status")["queue"]["url"]).port
    assert port is not None
    server = ThreadingHTTPServer(("127.0.0.1", port), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def queue(box: Any) -> str:
    return str(box.document("status")["queue"]["state"])


def test_status_shows_a_queue_change_between_daemon_observations(box: Any, wait_for: Wait) -> None:
    box.write(monitors=SELDOM)
    with served(box):
        assert box.run("daemon", "start").returncode == 0
        wait_for(lambda: queue(box) == "ok", 30)
    wait_for(lambda: queue(box) == "failing", 30)  # the daemon's next run is in 5 minutes
    assert any("refused" in one for one in box.document("status")["reasons"])
    with served(box):
        wait_for(lambda: queue(box) == "ok", 30)


def written(file: Path) -> tuple[int, int, int]:
    """Return the file attributes that a write changes and a read does not."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def test_status_reads_the_pipeline_file_and_never_writes_it(box: Any) -> None:
    assert box.document("status")["pipeline"]["generated_at"] is None
    outputs = box.directory / "outputs"
    assert not list(outputs.glob("*pipeline*"))
    outputs.mkdir(exist_ok=True)
    file = outputs / "realtime_pipeline_status.json"
    file.write_text(json.dumps({"generated_at": datetime.now().isoformat(), "seasonality": []}))
    before = written(file)
    told = box.document("status")["pipeline"]
    assert told["generated_at"] is not None and told["state"] == "ok"
    assert written(file) == before


def test_sample_with_a_future_wall_clock_does_not_hide_later_ones(box: Any, wait_for: Wait) -> None:
    """The daemon's samples supersede one taken while the clock was an hour ahead."""
    box.write(monitors={"queue": {"every_s": 1}, "canary": {"enabled": False}})
    assert box.run("daemon", "start").returncode == 0
    wait_for(lambda: queue(box) == "failing", 30)
    assert box.run("daemon", "stop").returncode == 0
    store = Store(box.state / "store.sqlite")
    (last,) = store.samples("queue", limit=1)
    ahead = Moment(last.moment.at + 3600, last.moment.tick, last.moment.boot)
    store.add_samples([Sample("queue", ahead, {"size": 0, "status": "ok"})])
    store.close()
    assert box.run("daemon", "start").returncode == 0
    wait_for(lambda: len([*looks(box, last.id)]) > 3, 30)
    assert queue(box) == "failing"


def looks(box: Any, after: int) -> list[Sample]:
    store = Store(box.state / "store.sqlite")
    found = [one for one in store.samples("queue") if one.id > after]
    store.close()
    return found
