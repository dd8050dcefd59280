"""Lays out a box in a directory of its own: its configuration, and room for what it writes."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import tomli_w

from console.demo.reaper import DEMO_MARK, mark

SCRIPTS = Path(__file__).resolve().parent


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_box(directory: Path, port: int, python: str = sys.executable) -> Path:
    """Make a box whose queue listens on the port; return the path of its configuration."""
    directory = directory.absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    config = directory / "config.toml"
    config.write_text(tomli_w.dumps(settings(directory, port, python)), encoding="utf-8")
    for room in ("outputs", "state", "queue"):
        (directory / room).mkdir(mode=0o700, exist_ok=True)
    return config


def settings(directory: Path, port: int, python: str) -> dict[str, object]:
    """The configuration's content."""
    url, outputs = f"http://127.0.0.1:{port}", str(directory / "outputs")
    arguments: dict[str, tuple[str, list[str]]] = {
        "worker": ("rpa_worker.py", ["--server", url, "--interval", "0.2"]),
        "watchdog": (
            "task_watchdog.py",
            ["--server", url, "--interval", "5", "--auto-recover", "--outputs", outputs],
        ),
        "queue": (
            "task_queue_server.py",
            ["--port", str(port), "--state", str(directory / "queue")],
        ),
        "pipeline": (
            "realtime_pipeline.py",
            ["--server", url, "--interval", "5", "--outputs", outputs],
        ),
        "trickle": ("task_trickle.py", ["--server", url]),
    }
    roles = {
        name: {
            "match": script,
            # Other boxes' programs bear the same names: without the mark they are none of ours,
            # and with it none of theirs.
            "match_env": {DEMO_MARK: mark(directory)},
            # No module in the caller's PYTHONPATH is imported in place of one that they need.
            "env": {DEMO_MARK: mark(directory), "PYTHONPATH": ""},
            "command": [python, str(SCRIPTS / script), *words],
            "cwd": str(directory),
            "count": 1,
        }
        for name, (script, words) in arguments.items()
    }
    return {
        "outputs": outputs,
        "screen": {"box": "demo"},
        "queue": {"url": url},
        "roles": roles,
        "monitors": {
            "canary": {"every_s": 60},
            "pipeline": {"every_s": 5},
            "watchdog": {"every_s": 5, "stale_s": 30},
        },
    }
