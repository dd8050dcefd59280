"""The daemon of an arena: started by the real command, and again after it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guard_harness import Arena, dead, pids, wait_for, words
from process_helpers import about_to_exec

ROOT = Path(__file__).parents[2]
OTHERS = ("canary", "queue", "watchdog", "pipeline")


def configure(a: Arena) -> Path:
    """Write the arena's configuration, with a restart policy without delay. Return its path."""
    role, path = a.settings.roles["worker"], a.place / "config.toml"
    path.write_text(
        f"outputs = {json.dumps(str(a.place / 'outputs'))}\n"
        f"[roles.worker]\nmatch = {json.dumps(role.match)}\n"
        f"command = {json.dumps(role.command)}\n"
        f"settle_s = {role.settle_s}\ngrace_s = {role.grace_s}\n"
        "[roles.worker.restart]\nbackoff_s = 0.1\nbackoff_max_s = 0.5\nlimit = 1000\nwindow_s = 5\n"
        + "".join(f"[monitors.{name}]\nenabled = false\n" for name in OTHERS)
    )
    return path


class Servant:
    """Starter of the daemon, which also counts the daemons that live at one time."""

    def __init__(self, a: Arena) -> None:
        self.config = configure(a)
        files = ["--config", str(self.config), "--state-dir", str(a.place / "state")]
        self._command = [sys.executable, "-m", "console", *files, "daemon"]
        self._asked: list[subprocess.Popen[bytes]] = []
        self.most = 0
        """The most daemons alive in one sample."""

    def pids(self) -> list[int]:
        """Return the PIDs of the living daemons: one, or none for a moment."""
        named = [pid for pid in pids() if self._is_named(pid)]
        # A fork of the daemon has the daemon's command line until its exec. The exec flag is read
        # first, then the command line again.
        living = [pid for pid in named if not about_to_exec(pid) and self._is_named(pid)]
        self.most = max(self.most, len(living))
        return living

    def _is_named(self, pid: int) -> bool:
        argv = words(pid)
        return os.fsencode(str(self.config)) in argv and b"run" in argv

    def see_to_it(self) -> None:
        """Start a daemon through two callers unless one lives or a start is under way."""
        self._asked = [one for one in self._asked if one.poll() is None]
        if not self._asked and not self.pids():
            # Two callers at once: the daemon is a role, so only one daemon may start.
            self._asked = [self._ask("start") for _ in range(2)]

    def _ask(self, verb: str) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        line = [*self._command, verb]
        return subprocess.Popen(line, cwd=ROOT, stdin=null, stdout=null, stderr=null)

    def leave(self) -> None:
        """Stop the daemon by the real command."""
        for one in self._asked:
            one.wait(60)
        self._ask("stop").wait(60)
        wait_for(lambda: not self.pids())


@contextmanager
def servant(a: Arena) -> Iterator[Servant]:
    """Run a daemon during the block."""
    made = Servant(a)
    made.see_to_it()
    try:
        wait_for(made.pids, 60)
        yield made
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            made.leave()
        assert all(dead(pid) for pid in made.pids())
