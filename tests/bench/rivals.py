"""Instances of supervisord and pm2, each with one sleeping program and its own home."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import peers
from tests.bench.machine import wait_for
from tests.bench.quiet import milliseconds

Timed = Callable[[], float]
SUPERVISORD = """
[unix_http_server]
file={home}/supervisor.sock
[supervisord]
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/supervisor.sock
[program:worker]
command=sleep 3600
startsecs=0
autostart=true
"""


@dataclass(frozen=True, slots=True)
class Rival:
    """The running daemons; one that is not available is not measured."""

    home: Path
    supervisor: bool
    pm2: bool

    def ctl(self, *words: str) -> float:
        """Run `supervisorctl`; return its milliseconds."""
        return milliseconds([str(peers.SUPERVISORCTL), "-c", str(self.home / "conf"), *words])

    def node(self, *words: str) -> float:
        """Run `pm2`; return its milliseconds."""
        return milliseconds([str(peers.PM2), *words], self.env)

    @property
    def env(self) -> Mapping[str, str]:
        return {**os.environ, "PM2_HOME": str(self.home / "pm2")}

    def asking(self) -> dict[str, Timed]:
        """Return the commands that list the processes: name -> timed call."""
        calls: dict[str, Timed] = {}
        if self.supervisor:
            calls["supervisorctl status"] = lambda: self.ctl("status")
        if self.pm2:
            calls["pm2 jlist"] = lambda: self.node("jlist")
        return calls

    def starting(self) -> dict[str, Timed]:
        """Return the commands that start a stopped program: name -> timed call.

        The stop before each start is not timed.
        """
        calls: dict[str, Timed] = {}
        if self.supervisor:
            calls["supervisorctl start"] = self._ctl_start
        if self.pm2:
            calls["pm2 start"] = self._node_start
        return calls

    def _ctl_start(self) -> float:
        self.ctl("stop", "worker")
        return self.ctl("start", "worker")

    def _node_start(self) -> float:
        self.node("stop", "worker")
        return self.node("start", "worker")


@contextmanager
def serving() -> Iterator[Rival]:
    """Run the daemons that are installed; end them afterwards."""
    with tempfile.TemporaryDirectory(prefix="rpa-console-bench-") as directory:
        home = Path(directory)
        with contextlib.ExitStack() as ends:
            supervisor = not peers.missing("supervisor") and ends.enter_context(_supervisord(home))
            pm2 = not peers.missing("pm2") and ends.enter_context(_pm2(home))
            yield Rival(home, supervisor, pm2)


@contextmanager
def _supervisord(home: Path) -> Iterator[bool]:
    (home / "conf").write_text(SUPERVISORD.format(home=home))
    line = [str(peers.SUPERVISORD), "-n", "-c", str(home / "conf")]
    daemon = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for((home / "supervisor.sock").exists, 20, "supervisord's socket")
        yield True
    finally:
        daemon.terminate()
        daemon.wait()


@contextmanager
def _pm2(home: Path) -> Iterator[bool]:
    rival = Rival(home, False, True)
    try:
        rival.node("start", "sleep", "--name", "worker", "--interpreter", "none", "--", "3600")
        yield True
    finally:
        rival.node("kill")
