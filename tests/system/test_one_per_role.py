"""Concurrent callers start exactly one instance of every role, and one daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from contention import Round
from daemon_process import ROOT, Servant
from guard_harness import Arena, Make, dead, wait_for
from start_strategies import Strategy, seen

from console.core.model.commands import Command, Verb
from console.system.box import open_box
from console.system.daemon_role import ROLE_NAME
from console.system.guard.guard import Guard
from console.system.locks import ofd_lock

CALLERS, ROUNDS = 16, 3


def answers(a: Arena, strategy: Strategy, observe: Callable[[], list[int]]) -> list[list[object]]:
    """Release all callers at once and return their answers: exit code, PID, words."""
    callers = Round(a, strategy, CALLERS)
    callers.go()
    return callers.hear(lambda: most_one(observe()))


def most_one(living: list[int]) -> None:
    """Assert that at most one process lives, during the round."""
    assert len(living) <= 1, living


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["watchdog", "queue"])
def test_concurrent_callers_start_one_instance_of_any_role(make: Make, role: str) -> None:
    a = make()
    a.settings.roles[role] = a.settings.roles.pop("worker")

    def carry_out(verb: Verb) -> str:
        with open_box(a.settings, a.place / "state") as box:
            done = Guard(box).carry_out(Command(verb, role, f"caller:{os.getpid()}"))
        return json.dumps([done.code, done.pid, done.message])

    for number in range(1, ROUNDS + 1):
        replies = answers(a, lambda _: carry_out(Verb.ENSURE), lambda: seen(a))
        assert len(replies) == CALLERS and {code for code, *_ in replies} == {0}, replies
        assert {pid for _, pid, _ in replies} == {*seen(a)} and len(seen(a)) == 1, replies
        assert len(a.lines("starts")) == number and not a.duplicates
        assert json.loads(carry_out(Verb.KILL))[0] == 0 and not seen(a)


@pytest.mark.timeout(300)
def test_concurrent_callers_start_one_daemon(make: Make) -> None:
    a = make()
    servant = Servant(a)  # only counts daemons: the callers start them
    options = ["--config", str(servant.config), "--state-dir", str(a.place / "state")]

    def daemon(verb: str) -> str:
        line = [sys.executable, "-m", "console", *options, "daemon", verb]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        pid = re.search(r"PID (\d+)", done.stdout)
        return json.dumps([done.returncode, pid and int(pid[1]), done.stdout + done.stderr])

    try:
        for _ in range(2):
            replies = answers(a, lambda _: daemon("start"), servant.pids)
            assert len(replies) == CALLERS and {code for code, *_ in replies} == {0}, replies
            assert {pid for _, pid, _ in replies} == {*servant.pids()}, replies
            assert len(servant.pids()) == 1
            assert json.loads(daemon("stop"))[0] == 0 and not servant.pids()
            assert not ofd_lock.is_locked(a.box.paths.lease(ROLE_NAME))
    finally:
        daemon("stop")
        wait_for(lambda: all(dead(pid) for pid in servant.pids()))
