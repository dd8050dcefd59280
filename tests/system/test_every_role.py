"""Exactly one of every role: what holds for the worker holds for the others and our own daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from arena import Arena, Make, dead, wait_for
from battle import Round
from servant import ROOT, Servant
from strategies import Strategy, seen

from console.core.model.commands import Command, Verb
from console.system.box import open_box
from console.system.daemon_role import ROLE_NAME
from console.system.guard.guard import Guard
from console.system.locks import ofd_lock

CALLERS, ROUNDS = 16, 3


def answers(a: Arena, strategy: Strategy, observe: Callable[[], list[int]]) -> list[list[object]]:
    """What all callers, released at one moment, are told: exit code, PID, words."""
    callers = Round(a, strategy, CALLERS)
    callers.go()
    return callers.hear(lambda: most_one(observe()))


def most_one(living: list[int]) -> None:
    """Meanwhile, too."""
    assert len(living) <= 1, living


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["watchdog", "queue"])
def test_contention_for_a_role_of_another_name(make: Make, role: str) -> None:
    a = make()
    a.settings.roles[role] = a.settings.roles.pop("worker")

    def carry_out(verb: Verb) -> str:
        with open_box(a.settings, a.place / "state") as box:
            done = Guard(box).carry_out(Command(verb, role, f"caller:{os.getpid()}"))
        return json.dumps([done.code, done.pid, done.message])

    for number in range(1, ROUNDS + 1):
        told = answers(a, lambda _: carry_out(Verb.ENSURE), lambda: seen(a))
        assert len(told) == CALLERS and {code for code, *_ in told} == {0}, told
        assert {pid for _, pid, _ in told} == {*seen(a)} and len(seen(a)) == 1, told
        assert len(a.lines("starts")) == number and not a.duplicates
        assert json.loads(carry_out(Verb.KILL))[0] == 0 and not seen(a)


@pytest.mark.timeout(300)
def test_contention_for_the_daemon(make: Make) -> None:
    a = make()
    servant = Servant(a)  # who only counts: nobody has it started but the callers
    options = ["--config", str(servant.config), "--state-dir", str(a.place / "state")]

    def daemon(verb: str) -> str:
        line = [sys.executable, "-m", "console", *options, "daemon", verb]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        pid = re.search(r"PID (\d+)", done.stdout)
        return json.dumps([done.returncode, pid and int(pid[1]), done.stdout + done.stderr])

    try:
        for _ in range(2):
            told = answers(a, lambda _: daemon("start"), servant.pids)
            assert len(told) == CALLERS and {code for code, *_ in told} == {0}, told
            assert {pid for _, pid, _ in told} == {*servant.pids()}, told
            assert len(servant.pids()) == 1
            assert json.loads(daemon("stop"))[0] == 0 and not servant.pids()
            assert not ofd_lock.is_locked(a.box.paths.lease(ROLE_NAME))
    finally:
        daemon("stop")
        wait_for(lambda: all(dead(pid) for pid in servant.pids()))
