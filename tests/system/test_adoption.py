"""Who is a role's worker, among real processes: under every launcher, and none that only says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from arena import STARTED, Make, dead, kill, wait_for, words

from console.core.model import Verb

ROOT = Path(__file__).parents[2]


@contextmanager
def running(argv: Sequence[str], **env: str) -> Iterator[int]:
    """A process in a session of its own; ended by its PID."""
    pid = os.posix_spawnp(argv[0], argv, {**os.environ, **env}, setsid=True)
    STARTED.append(pid)
    try:
        yield pid
    finally:
        kill(pid)
        wait_for(lambda: dead(pid))


def test_a_console_is_nobodys_worker(make: Make) -> None:
    """Even for a role that no configuration may have."""
    a = make(match="console")
    line = [sys.executable, "-m", "console", "--state-dir", str(a.place / "state"), "daemon", "run"]
    with running(line, PYTHONPATH=str(ROOT)) as pid:
        wait_for(a.box.paths.heartbeat.exists)
        assert b"console" in words(pid) and not a.look().instances
        assert a.do(Verb.KILL, dry_run=True).message == "worker: would do nothing"
        assert a.do(Verb.KILL).message == "worker: nothing to end" and not dead(pid)
