"""Injects faults into a running box, each in the way it happens in production."""

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

from console.demo.reaper import (
    BOX_ENV_MARKER,
    DEMO_ENV_MARKER,
    HeldProcess,
    hold_box_processes,
    marker_value,
)

# The shell exits at once: the process is no supervisor's child, so none restarts or reaps it.
DETACH_SCRIPT = '"$@" </dev/null >/dev/null 2>&1 & echo $!'


class ProcessNotRunning(LookupError):
    """Raised if the process that a fault targets does not run in this box."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault: its summary, and the function that injects it into a box."""

    summary: str
    apply: Callable[[Path], str]


def inject(name: str, directory: Path) -> str:
    """Inject one fault into the box; return a sentence with what was done and the PID.

    Raises ValueError for an unknown name, ProcessNotRunning if the target does not run.
    """
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
    return FAULTS[name].apply(directory)


def worker_crash(directory: Path) -> str:
    """Kill the worker with SIGKILL, as in a crash."""
    return f"The worker, PID {_signal_role(directory, 'worker', signal.SIGKILL)}, was killed."


def worker_hung(directory: Path) -> str:
    """Stop the worker with SIGSTOP: it stays alive and does nothing."""
    return f"The worker, PID {_signal_role(directory, 'worker', signal.SIGSTOP)}, was stopped."


def two_workers(directory: Path) -> str:
    """Start one more worker, outside of every supervisor."""
    role = _read_config(directory)["roles"]["worker"]
    answer = subprocess.run(
        ["/bin/sh", "-c", DETACH_SCRIPT, "sh", *role["command"]],
        cwd=role.get("cwd", directory),
        env={
            **os.environ,
            BOX_ENV_MARKER: marker_value(directory),
            DEMO_ENV_MARKER: marker_value(directory),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
        timeout=10,
    )
    return f"One more worker was started, PID {int(answer.stdout)}."


def queue_down(directory: Path) -> str:
    """Kill the queue server with SIGKILL, as in a crash."""
    return f"The queue server, PID {_signal_role(directory, 'queue', signal.SIGKILL)}, was killed."


def watchdog_dead(directory: Path) -> str:
    """Kill the watchdog with SIGKILL, as in a crash."""
    return f"The watchdog, PID {_signal_role(directory, 'watchdog', signal.SIGKILL)}, was killed."


def pipeline_half(directory: Path) -> str:
    """Kill the pipeline and leave half of its status file, as if it died while writing."""
    pid = _signal_role(directory, "pipeline", signal.SIGKILL)
    status = Path(_read_config(directory)["outputs"]) / "realtime_pipeline_status.json"
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


def _signal_role(directory: Path, role: str, signum: signal.Signals) -> int:
    """Send a signal to the role's oldest process; return its PID.

    After SIGKILL, wait up to 5 s for its end. Raises ProcessNotRunning.
    """
    with _hold_role_process(directory, role) as held:
        if not held.send(signum):
            raise ProcessNotRunning(f"the {role} ended by itself just now")
        if signum == signal.SIGKILL:
            held.has_ended(5.0)
        return held.pid


@contextmanager
def _hold_role_process(directory: Path, role: str) -> Iterator[HeldProcess]:
    """Hold the role's oldest process, as a context manager. Raises ProcessNotRunning."""
    script = _read_config(directory)["roles"][role]["match"]
    processes = hold_box_processes(directory)
    try:
        held = next((held for held in processes if is_running_script(held.argv, script)), None)
        if held is None:
            raise ProcessNotRunning(f"no {role} runs in {directory}")
        yield held
    finally:
        for process in processes:
            process.release()


def is_running_script(argv: list[str], script: str) -> bool:
    """Return True if `argv` is Python running the script itself.

    A program that merely has the script among its arguments does not count.
    """
    if not argv or not Path(argv[0]).name.startswith("python"):
        return False
    script_path = next((word for word in argv[1:] if not word.startswith("-")), "")
    return Path(script_path).name == script


def _read_config(directory: Path) -> dict[str, Any]:
    """Return the box's configuration."""
    return tomllib.loads((directory / "config.toml").read_text(encoding="utf-8"))
