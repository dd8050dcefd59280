"""Forces PID reuse in a PID namespace and counts wrong hits: `pid_reuse.py ROUNDS`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from console.system.processes import process_table
from console.system.processes.process_table import ProcessGone, ProcessHandle, ProcessTable

LAST = Path("/proc/sys/kernel/ns_last_pid")
SLEEP = ["/bin/sleep", "600"]


def spawn(pid: int) -> int:
    """Start a process under a chosen PID and return the PID."""
    LAST.write_text(str(pid - 1))
    return os.posix_spawn(SLEEP[0], SLEEP, os.environ)


def end(pid: int) -> None:
    """End a child and reap it, which frees its PID."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def main(rounds: int) -> int:
    """Run the rounds: in each, the target process dies and an unrelated process gets its PID.

    The kernel's clock ticks a hundred times a second, and only a start time in another tick
    distinguishes the two afterwards. In every other round both usually start in the same tick.
    Such a round uses only the handle that was opened before the death.
    """
    reused = hit = cached = same = 0
    table = ProcessTable()
    try:
        LAST.write_text("200")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 77
    for number in range(rounds):
        at_once = number % 2 == 1
        meant = spawn(300)
        identity = process_table.identify(meant)
        assert identity is not None
        early = ProcessHandle(identity)
        table.scan()
        end(meant)
        if not at_once:
            time.sleep(0.011)
        stranger = spawn(300)
        reused += stranger == meant
        twins = process_table.identify(stranger) == identity
        same += twins
        cached += not twins and any(p.identity == identity for p in table.scan())
        with contextlib.suppress(ProcessGone):
            early.send_signal(signal.SIGKILL)
        if not twins:
            with contextlib.suppress(ProcessGone):
                ProcessHandle(identity).send_signal(signal.SIGKILL)
        hit += os.waitpid(stranger, os.WNOHANG) != (0, 0)
        early.close()
        end(stranger)
    sys.stdout.write(f"reused {reused} hit {hit} cached {cached} same-tick {same}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
