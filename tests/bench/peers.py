"""Comparable programs: installed where possible, otherwise skipped with the reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
NODE = BIN.parent / "node"
FLOOR = [sys.executable, "-m", "tests.bench.floor"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A terminal program: its command, the text that shows it has painted, and its keys."""

    name: str
    argv: Sequence[str]
    ready: str
    quit: str = "q"
    key: str = "Down"
    whole: str = ""
    """Text that shows the whole screen is painted, where that comes after `ready`."""


FLOORS = (
    Peer("Textual", FLOOR, "worker 19"),
    Peer("Textual, still", [*FLOOR, "--still"], "worker 19"),
)
SCREENS = (
    Peer("htop", ["htop", "-d", "10"], "Load average"),
    Peer("btop", ["btop"], "mem"),
    # An arrow key sends Esc and more; Esc ends glances.
    Peer("glances", [str(BIN / "glances")], "TASKS", key="m"),
    Peer(
        "mprocs",
        [str(NODE / "node_modules/.bin/mprocs"), "sleep 3600", "sleep 3601"],
        "sleep 3600",
    ),
)
PM2 = NODE / "node_modules/.bin/pm2"
SUPERVISORD, SUPERVISORCTL = BIN / "supervisord", BIN / "supervisorctl"


def get() -> dict[str, str]:
    """Install the peers. Return peer -> reason for those that are not available."""
    packages = [name for name in ("htop", "btop") if shutil.which(name) is None]
    if packages and shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _try(["apt-get", "update", "-q"], environment)
        for package in packages:
            line = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
            _try(line, environment)
    for package in ("glances", "supervisor"):
        if not (BIN / {"supervisor": "supervisord"}.get(package, package)).exists():
            _try([sys.executable, "-m", "pip", "install", "-q", package])
    for package in ("pm2", "mprocs"):
        if shutil.which("npm") and not (NODE / "node_modules/.bin" / package).exists():
            _try(["npm", "install", "--silent", "--no-fund", "--no-audit",
                  "--prefix", str(NODE), package])  # fmt: skip
    return {name: reason for name in _PLACES if (reason := missing(name))}


_PLACES = {
    "htop": ("htop", "apt-get, as root"),
    "btop": ("btop", "apt-get, as root"),
    "glances": (str(BIN / "glances"), "pip"),
    "mprocs": (str(NODE / "node_modules/.bin/mprocs"), "npm"),
    "pm2": (str(PM2), "npm"),
    "supervisor": (str(SUPERVISORD), "pip"),
}


def missing(name: str) -> str:
    """Return the reason why a peer cannot be measured, or an empty string."""
    program, source = _PLACES[name]
    return "" if shutil.which(program) else f"could not be had from {source}"


def _try(argv: Sequence[str], env: dict[str, str] | None = None) -> None:
    """Run a command and ignore failures: the report lists missing peers."""
    try:
        subprocess.run(argv, env=env, capture_output=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired):
        pass


def screens() -> list[Peer]:
    """Return the floors and the installed terminal programs."""
    return [*FLOORS, *(peer for peer in SCREENS if not missing(peer.name))]


def versions() -> dict[str, str]:
    """Return name -> version of each installed peer."""
    found = {name: _version([program, "--version"]) for name, program in _TELLING.items()}
    for name in ("pm2", "mprocs"):  # `pm2 --version` would start a daemon
        manifest = NODE / "node_modules" / name / "package.json"
        found[name] = json.loads(manifest.read_text())["version"] if manifest.exists() else ""
    return {name: version for name, version in found.items() if version}


_TELLING = {
    "htop": "htop",
    "btop": "btop",
    "glances": str(BIN / "glances"),
    "supervisor": str(SUPERVISORD),
}


def _version(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stdout.replace(":", " ").split()
    return next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit()), "?")
