"""Creates a box in its own directory: the configuration and the directories that it writes to."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import tomli_w

from console.demo.reaper import DEMO_ENV_MARKER, marker_value

SCRIPTS_DIR = Path(__file__).resolve().parent


def find_free_port() -> int:
    """Return a loopback port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def create_box(directory: Path, port: int, python: str = sys.executable) -> Path:
    """Create a box whose queue server listens on `port`; return the path of its configuration.

    Raises OSError.
    """
    directory = directory.absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    config = directory / "config.toml"
    config.write_text(tomli_w.dumps(build_config(directory, port, python)), encoding="utf-8")
    for name in ("outputs", "state", "queue"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    return config


def build_config(directory: Path, port: int, python: str) -> dict[str, object]:
    """Return the content of the configuration file."""
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
        "trickle": ("task_generator.py", ["--server", url]),
    }
    roles = {
        name: {
            "match": script,
            # Other boxes run scripts of the same names. The marker separates the processes: a
            # role matches those of its own box only.
            "match_env": {DEMO_ENV_MARKER: marker_value(directory)},
            # No module in the caller's PYTHONPATH may shadow a module that the scripts import.
            "env": {DEMO_ENV_MARKER: marker_value(directory), "PYTHONPATH": ""},
            "command": [python, str(SCRIPTS_DIR / script), *options],
            "cwd": str(directory),
            "count": 1,
        }
        for name, (script, options) in arguments.items()
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
