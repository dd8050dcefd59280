"""The monitors' daemon of an arena: started as its users start it, and anew when it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena import Arena, dead, pids, wait_for, words
from beings import about_to_exec

ROOT = Path(__file__).parents[2]
OTHERS = ("canary", "queue", "watchdog", "pipeline")


def configure(a: Arena) -> Path:
    """The arena's configuration as a file, in which policy repairs at once and never gives up."""
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
    """Starts the daemon when it is gone, and counts how many there are."""

    def __init__(self, a: Arena) -> None:
        self.config = configure(a)
        files = ["--config", str(self.config), "--state-dir", str(a.place / "state")]
        self._command = [sys.executable, "-m", "console", *files, "daemon"]
        self._asked: list[subprocess.Popen[bytes]] = []
        self.most = 0
        """The most daemons that were seen alive at one look."""

    def pids(self) -> list[int]:
        """The daemons that live: one, or none for a moment."""
        named = [pid for pid in pids() if self._is_named(pid)]
        # A fork of the daemon bears its name until it executes: asked first whether it has yet to,
        # then for its name again.
        living = [pid for pid in named if not about_to_exec(pid) and self._is_named(pid)]
        self.most = max(self.most, len(living))
        return living

    def _is_named(self, pid: int) -> bool:
        argv = words(pid)
        return os.fsencode(str(self.config)) in argv and b"run" in argv

    def see_to_it(self) -> None:
        """Ask for one, by as many callers as have been needed so far, unless one lives."""
        self._asked = [one for one in self._asked if one.poll() is None]
        if not self._asked and not self.pids():
            # Two who ask at once: the daemon is a role like any other, and one is enough.
            self._asked = [self._ask("start") for _ in range(2)]

    def _ask(self, verb: str) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        line = [*self._command, verb]
        return subprocess.Popen(line, cwd=ROOT, stdin=null, stdout=null, stderr=null)

    def leave(self) -> None:
        """End it, as its users do."""
        for one in self._asked:
            one.wait(60)
        self._ask("stop").wait(60)
        wait_for(lambda: not self.pids())


@contextmanager
def servant(a: Arena) -> Iterator[Servant]:
    """A daemon for the time of a block."""
    made = Servant(a)
    made.see_to_it()
    try:
        wait_for(made.pids, 60)
        yield made
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            made.leave()
        assert all(dead(pid) for pid in made.pids())
