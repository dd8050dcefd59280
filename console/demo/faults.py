"""The faults that a live box can be given, each the way it happens in earnest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.demo.reaper import DEMO_MARK, MARK, Held, mark, members

ALONE = (
    '"$@" </dev/null >/dev/null 2>&1 & echo $!'  # nobody's child, so nobody restarts or reaps it
)


class NotThere(LookupError):
    """The process that a fault is meant for does not run in this box."""


@dataclass(frozen=True)
class Fault:
    """Something that can go wrong, and how to bring it about."""

    summary: str
    act: Callable[[Path], str]


def inject(name: str, directory: Path) -> str:
    """Give the box one fault; return one sentence that says what was done, and to which PID."""
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
    return FAULTS[name].act(directory)


def worker_crash(directory: Path) -> str:
    """End the worker as a crash does."""
    return f"The worker, PID {_strike(directory, 'worker', signal.SIGKILL)}, was killed."


def worker_hung(directory: Path) -> str:
    """Let the worker live without doing anything."""
    return f"The worker, PID {_strike(directory, 'worker', signal.SIGSTOP)}, was stopped."


def two_workers(directory: Path) -> str:
    """Start one more worker behind every supervisor's back."""
    role = _config(directory)["roles"]["worker"]
    answer = subprocess.run(
        ["/bin/sh", "-c", ALONE, "sh", *role["command"]],
        cwd=role.get("cwd", directory),
        env={**os.environ, MARK: mark(directory), DEMO_MARK: mark(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
        timeout=10,
    )
    return f"One more worker was started, PID {int(answer.stdout)}."


def queue_down(directory: Path) -> str:
    """End the queue server as a crash does."""
    return f"The queue server, PID {_strike(directory, 'queue', signal.SIGKILL)}, was killed."


def watchdog_dead(directory: Path) -> str:
    """End the watchdog as a crash does."""
    return f"The watchdog, PID {_strike(directory, 'watchdog', signal.SIGKILL)}, was killed."


def pipeline_half(directory: Path) -> str:
    """End the pipeline in the middle of writing its status."""
    pid = _strike(directory, "pipeline", signal.SIGKILL)
    status = Path(_config(directory)["outputs"]) / "realtime_pipeline_status.json"
    whole = status.read_bytes() if status.exists() else json.dumps({"generated_at": ""}).encode()
    status.write_bytes(whole[: len(whole) // 2])
    return f"The pipeline, PID {pid}, was killed and left half of {status.name}."


FAULTS: dict[str, Fault] = {
    "worker-crash": Fault("kill the worker", worker_crash),
    "worker-hung": Fault("stop the worker: alive, and doing nothing", worker_hung),
    "two-workers": Fault("start a second worker outside of any supervision", two_workers),
    "queue-down": Fault("kill the queue server", queue_down),
    "pipeline-half": Fault("kill the pipeline, and leave half a status file", pipeline_half),
    "watchdog-dead": Fault("kill the watchdog", watchdog_dead),
}


def _strike(directory: Path, role: str, signum: signal.Signals) -> int:
    """Signal the role's process and, if that ends it, see it gone; return its PID."""
    with _process(directory, role) as held:
        if not held.send(signum):
            raise NotThere(f"the {role} ended by itself just now")
        if signum == signal.SIGKILL:
            held.ended(5.0)
        return held.pid


@contextmanager
def _process(directory: Path, role: str) -> Iterator[Held]:
    """The role's oldest process, held."""
    script = _config(directory)["roles"][role]["match"]
    found = members(directory)
    try:
        held = next((held for held in found if runs(held.argv, script)), None)
        if held is None:
            raise NotThere(f"no {role} runs in {directory}")
        yield held
    finally:
        for one in found:
            one.release()


def runs(argv: list[str], script: str) -> bool:
    """Whether this is Python running the script itself, not a program that merely names it."""
    if not argv or not Path(argv[0]).name.startswith("python"):
        return False
    named = next((word for word in argv[1:] if not word.startswith("-")), "")
    return Path(named).name == script


def _config(directory: Path) -> dict[str, Any]:
    """The box's configuration."""
    return tomllib.loads((directory / "config.toml").read_text(encoding="utf-8"))
