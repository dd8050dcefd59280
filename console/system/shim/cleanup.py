"""Certifies a dead worker's end and terminates its leftovers. Runs in the shim."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from console.system.shim.worker import Worker, count_oom_kills, read_clocks, read_stat, send_report

_KILL_TIMEOUT_S = 5.0


def finish(worker: Worker, report_fd: int) -> None:
    """Report to the caller if `report_fd` is open, certify the death, end the leftovers."""
    if report_fd >= 0:
        kind = "killed" if was_killed(worker) else "exited"
        stderr_text = " | ".join(read_stderr_tail(worker))
        send_report(
            report_fd, f"{kind} {': '.join(filter(None, (death_cause(worker)[2], stderr_text)))}"
        )
        os.close(report_fd)
    try:
        certify_death(worker)
    finally:
        terminate_leftovers(worker)


def read_stderr_tail(worker: Worker, max_bytes: int = 2_000) -> list[str]:
    """Return the last ten lines, at most, of the worker's standard error."""
    try:
        with open(worker.spec["logs"]["err"], "rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that was emptied meanwhile may be shorter than the offset of the start.
            file.seek(
                max(worker.stderr_offset if worker.stderr_offset <= size else 0, size - max_bytes)
            )
            return file.read().decode("utf-8", "replace").splitlines()[-10:]
    except OSError:
        return []


def death_cause(worker: Worker) -> tuple[int | None, str | None, str]:
    """Return (exit code or None, signal name or None, description)."""
    code = os.waitstatus_to_exitcode(worker.wait_status)
    if code >= 0:
        description = f"exited with code {code}"
        if code == 0 and (leftovers := list(find_leftovers(worker))):
            description += (
                f" and left PID {leftovers[0]} in the background, which is ended: "
                "run it in the foreground"
            )
        return code, None, description
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL and count_oom_kills() > worker.oom_kills_at_start:
        return None, name, f"ended by {name}: the kernel ran out of memory here (OOM killer)"
    return None, name, f"ended by {name}"


def was_killed(worker: Worker) -> bool:
    """Return True if SIGKILL or SIGTERM ended the worker, and not the kernel's OOM killer."""
    by_signal = death_cause(worker)[1] in ("SIGKILL", "SIGTERM")
    return by_signal and count_oom_kills() <= worker.oom_kills_at_start


def build_certificate(worker: Worker) -> dict[str, Any]:
    """Return the death certificate: the worker's start, end, cause and last error output."""
    spec = worker.spec
    code, name, reason = death_cause(worker)
    return {
        "role": spec["role"],
        "identity": worker.identity,
        "token": spec["token"],
        "actor": spec["actor"],
        "started": [*worker.started, spec["boot"]],
        "moment": [*read_clocks(), spec["boot"]],
        "reason": reason,
        "data": {
            "exit_code": code,
            "signal": name,
            "uptime_s": round(read_clocks()[1] - worker.started[1], 3),
            "stderr": read_stderr_tail(worker),
        },
    }


def certify_death(worker: Worker) -> None:
    """Record the death certificate in the event log.

    If that fails, it remains in a file; if that fails too, it is appended to the worker's log.
    If the state directory was removed, nothing is written: the event log is lost, and a death must
    not create a new one.
    """
    spec, certificate = worker.spec, build_certificate(worker)
    if not os.path.isdir(os.path.dirname(spec["store"])):
        return
    saved_path = save_certificate(spec["certificates"], certificate)
    try:
        from console.system.shim.death_certificate import write_certificate

        write_certificate(spec["store"], certificate, spec.get("redact", ()))
    except Exception as error:
        if not saved_path:
            with open(spec["logs"]["err"], "a", encoding="utf-8") as log:
                log.write(f"rpa-console: no certificate: {error!r}: {certificate!r}\n")
    else:
        if saved_path:
            with contextlib.suppress(OSError):  # another process has imported the file
                os.unlink(saved_path)


def save_certificate(directory: str, certificate: dict[str, Any]) -> str | None:
    """Save a certificate in a file, which the next process that opens the store imports.

    Return the file's path, or None on failure. This needs no other module of the package.
    """
    path = f"{directory}/{certificate['token']}-{os.getpid()}.json"
    try:
        import json

        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(f"{path}.draft", "x", encoding="utf-8") as file:
            json.dump(certificate, file)
        os.rename(f"{path}.draft", path)
    except (OSError, ImportError, ValueError):
        return None
    return path


def find_leftovers(worker: Worker) -> Iterator[int]:
    """Yield the PIDs of the dead worker's leftovers.

    They are children of the shim, because the shim is the subreaper. Only the shim can reap them,
    so their PIDs are not reused and a signal cannot reach another process. Shims that the worker
    started, and workers whose shim was killed, are other instances with other environment markers.
    Those are left out, and so are processes of another role and holders of the queue's port.
    """
    own_pid, spec = os.getpid(), worker.spec
    for name in os.listdir("/proc"):
        try:
            if not name.isdigit() or read_stat(int(name))[0] != own_pid:
                continue
            if not belongs_to_other_instance(name, spec["marks"]) and not belongs_to_other_role(
                name, spec
            ):
                yield int(name)
        except (OSError, IndexError):
            continue


def belongs_to_other_role(pid: str, spec: dict[str, Any]) -> bool:
    """Return True if the process runs another role's script or holds the queue's port."""
    from console.core.processes.argv_matching import runs_script
    from console.system.processes.port_owners import find_port_holders

    with open(f"/proc/{pid}/cmdline", "rb") as file:
        argv = file.read(131_072).rstrip(b"\0").decode("utf-8", "replace").split("\0")
    if any(runs_script(argv, match, arguments) for match, arguments in spec["others"]):
        return True
    return spec["port"] is not None and bool(find_port_holders([int(pid)], spec["port"]))


def belongs_to_other_instance(pid: str, markers: dict[str, str]) -> bool:
    """Return True if the process is a shim, or has another instance's environment markers."""
    from console.core.processes.shim_program import is_shim

    with open(f"/proc/{pid}/cmdline", "rb") as file:
        argv = os.fsdecode(file.read(8192)).split("\0")
    if is_shim(argv):
        return True
    with open(f"/proc/{pid}/environ", "rb") as file:
        environment = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
    return any(
        environment.get(os.fsencode(variable), os.fsencode(value)) != os.fsencode(value)
        for variable, value in markers.items()
    )


def terminate_leftovers(worker: Worker) -> None:
    """End the worker's leftovers: SIGTERM, then SIGKILL after the grace period.

    Each round also signals the children of leftovers that have ended since.
    """
    sent_signals: dict[int, int] = {}
    deadline = read_clocks()[1] + worker.spec["grace_s"]
    while read_clocks()[1] < deadline + _KILL_TIMEOUT_S:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        living = list(find_leftovers(worker))
        if not living:
            return
        signum = signal.SIGKILL if read_clocks()[1] > deadline else signal.SIGTERM
        for pid in living:
            if sent_signals.get(pid) != signum:
                sent_signals[pid] = signum
                os.kill(pid, signum)
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
