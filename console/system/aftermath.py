"""What a shim does once its worker is dead: the certificate, and an end to what was left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from console.system.guardian import Worker, moment, oom_kills, report, stat

_AFTER_KILL_S = 5.0


def settle(worker: Worker, status: int) -> None:
    """Tell the caller if it still listens, certify the death, end the leftovers."""
    if status >= 0:
        word = "killed" if killed(worker) else "exited"
        words = " | ".join(last_words(worker))
        report(status, f"{word} {': '.join(filter(None, (cause(worker)[2], words)))}")
        os.close(status)
    try:
        certify(worker)
    finally:
        end_leftovers(worker)


def last_words(worker: Worker, limit: int = 2_000) -> list[str]:
    """The last lines of its standard error."""
    try:
        with open(worker.spec["logs"]["err"], "rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that has been cut since is shorter than where the worker began.
            file.seek(max(worker.err_start if worker.err_start <= size else 0, size - limit))
            return file.read().decode("utf-8", "replace").splitlines()[-10:]
    except OSError:
        return []


def cause(worker: Worker) -> tuple[int | None, str | None, str]:
    """(exit code, signal name, in words)."""
    code = os.waitstatus_to_exitcode(worker.status)
    if code >= 0:
        words = f"exited with code {code}"
        if code == 0 and (left := list(leftovers(worker))):
            words += (
                f" and left PID {left[0]} in the background, which is ended: "
                "run it in the foreground"
            )
        return code, None, words
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL and oom_kills() > worker.oom_kills:
        return None, name, f"ended by {name}: the kernel ran out of memory here (OOM killer)"
    return None, name, f"ended by {name}"


def killed(worker: Worker) -> bool:
    """Whether somebody ended it, rather than its own fault or a want of memory."""
    ended = cause(worker)[1] in ("SIGKILL", "SIGTERM")
    return ended and oom_kills() <= worker.oom_kills


def certificate(worker: Worker) -> dict[str, Any]:
    """How it lived and died."""
    spec = worker.spec
    code, name, reason = cause(worker)
    return {
        "role": spec["role"],
        "identity": worker.identity,
        "token": spec["token"],
        "actor": spec["actor"],
        "started": [*worker.started, spec["boot"]],
        "moment": [*moment(), spec["boot"]],
        "reason": reason,
        "data": {
            "exit_code": code,
            "signal": name,
            "uptime_s": round(moment()[1] - worker.started[1], 3),
            "stderr": last_words(worker),
        },
    }


def certify(worker: Worker) -> None:
    """Write the death certificate into the ledger; into the log when that cannot be done.

    A state directory that was removed is not made again: the ledger is gone, and would be begun by
    a death.
    """
    spec, paper = worker.spec, certificate(worker)
    if not os.path.isdir(os.path.dirname(spec["store"])):
        return
    kept = keep(spec["certificates"], paper)
    try:
        from console.system.certificate import write

        write(spec["store"], paper, spec.get("redact", ()))
    except Exception as error:
        if not kept:
            with open(spec["logs"]["err"], "a", encoding="utf-8") as log:
                log.write(f"rpa-console: no certificate: {error!r}: {paper!r}\n")
    else:
        if kept:
            with contextlib.suppress(OSError):  # another process has taken it up
                os.unlink(kept)


def keep(directory: str, paper: dict[str, Any]) -> str | None:
    """Write a certificate to a file for the next process that opens the store; its name.

    None where that cannot be done. What is written does not depend on the package's other modules.
    """
    name = f"{directory}/{paper['token']}-{os.getpid()}.json"
    try:
        import json

        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(f"{name}.draft", "x", encoding="utf-8") as file:
            json.dump(paper, file)
        os.rename(f"{name}.draft", name)
    except (OSError, ImportError, ValueError):
        return None
    return name


def leftovers(worker: Worker) -> Iterator[int]:
    """Our children now: what the dead worker left behind comes to us, the subreaper.

    A child that only we can reap keeps its PID, so a signal to it cannot reach another process.
    Shims that the worker had started, and workers of killed ones, are other instances: they bear
    other marks. A process of another role, and one that holds the queue's port, stays.
    """
    own, spec = os.getpid(), worker.spec
    for name in os.listdir("/proc"):
        try:
            if not name.isdigit() or stat(int(name))[0] != own:
                continue
            if not belongs_elsewhere(name, spec["marks"]) and not claimed(name, spec):
                yield int(name)
        except (OSError, IndexError):
            continue


def claimed(pid: str, spec: dict[str, Any]) -> bool:
    """Whether a process runs another role's script, or holds the queue's port."""
    from console.core.matching import runs
    from console.system.sockets import holding

    with open(f"/proc/{pid}/cmdline", "rb") as file:
        argv = file.read(131_072).rstrip(b"\0").decode("utf-8", "replace").split("\0")
    if any(runs(argv, match, arguments) for match, arguments in spec["others"]):
        return True
    return spec["port"] is not None and bool(holding([int(pid)], spec["port"]))


def belongs_elsewhere(pid: str, marks: dict[str, str]) -> bool:
    """Whether a process is a shim, or bears another instance's marks."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read(8192).split(b"\0")
    if any(word.endswith(b"/console/system/shim.py") for word in words[3:6]):
        return True  # of whatever copy
    with open(f"/proc/{pid}/environ", "rb") as file:
        borne = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
    return any(
        borne.get(os.fsencode(k), os.fsencode(v)) != os.fsencode(v) for k, v in marks.items()
    )


def end_leftovers(worker: Worker) -> None:
    """End what the worker left behind, generation by generation: politely, then not."""
    asked: dict[int, int] = {}
    deadline = moment()[1] + worker.spec["grace_s"]
    while moment()[1] < deadline + _AFTER_KILL_S:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        living = list(leftovers(worker))
        if not living:
            return
        number = signal.SIGKILL if moment()[1] > deadline else signal.SIGTERM
        for pid in living:
            if asked.get(pid) != number:
                asked[pid] = number
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
