"""The process table by psutil, where there is no `/proc`."""

from __future__ import annotations

import psutil

from console.core.frozen import replace
from console.core.model import Identity, Moment, Process
from console.system import clock

_STATES = {"zombie": "Z", "stopped": "T", "disk-sleep": "D"}


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this PID now; None when there is none."""
    try:
        return Identity(pid, int(psutil.Process(pid).create_time() * 100), clock.boot_id())
    except psutil.Error:
        return None


def look(now: Moment) -> tuple[Process, ...]:
    """Every process."""
    found = []
    for process in psutil.process_iter(["ppid", "cmdline", "create_time", "status"]):
        info = process.info
        created = info["create_time"] or 0.0
        age = max(0.0, now.at - created)
        found.append(
            Process(
                Identity(process.pid, int(created * 100), now.boot),
                info["ppid"] or 0,
                tuple(info["cmdline"] or ()),
                Moment(created, now.tick - age, now.boot),
                _STATES.get(info["status"], "S"),
            )
        )
    return tuple(found)


def details(process: Process, wanted: set[str]) -> Process:
    """`process` with its working directory, program and the wanted variables, where readable."""
    try:
        target = psutil.Process(process.pid)
        env = {key: value for key, value in target.environ().items() if key in wanted}
        return replace(process, cwd=target.cwd(), exe=target.exe() or None, env=env)
    except psutil.Error:
        return process
