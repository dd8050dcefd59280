"""A worker in state D survives SIGKILL; commands report it and never claim that it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from guard_harness import Make, dead, wait_for

from console.core.model.commands import Verb
from console.core.model.events import EventKind

FREEZER = Path("/sys/fs/cgroup/freezer")
"""Frozen processes are in state D, like a process that waits for an unresponsive disk."""


@pytest.fixture
def freezer() -> Iterator[Path]:
    """Create a freezer control group; thaw and remove it after the test."""
    group = FREEZER / f"rpa-console-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of the first version to freeze processes in: {error}")
    yield group
    (group / "freezer.state").write_text("THAWED")
    wait_for(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_kill_reports_a_worker_in_uninterruptible_sleep(make: Make, freezer: Path) -> None:
    a = make(grace_s=0.2)
    pid = a.ensure().pid
    assert pid is not None
    (freezer / "cgroup.procs").write_text(str(pid))
    (freezer / "freezer.state").write_text("FROZEN")
    wait_for(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n")

    for verb in (Verb.KILL, Verb.RESTART):
        outcome = a.do(verb)
        assert not outcome.done and outcome.code == 1
        assert f"PID {pid} is in uninterruptible sleep" in outcome.message
    assert not dead(pid) and not a.events(EventKind.ENDED, EventKind.DIED)
    assert a.ensure().pid == pid, "it is there, so no second one is started"
    assert len(a.lines("starts")) == 1

    (freezer / "freezer.state").write_text("THAWED")
    wait_for(lambda: dead(pid))
    (death,) = wait_for(a.deaths)
    assert death.data["signal"] in ("SIGTERM", "SIGKILL")  # both signals were pending
    wait_for(lambda: a.do(Verb.ENSURE).pid not in (None, pid))
    assert not a.duplicates
