"""Rounds of many concurrent callers, with or without SIGKILL at random moments, and their counts.

Callers are forked from one small process and released together by a barrier (a pipe that is
closed). The counts come from the workers' own lock and log (see `guard_harness`) and from an
observer that samples the process table during the round, not from the code under test.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import select
import time
from collections.abc import Callable
from contextlib import ExitStack

from contention_counts import Tally
from daemon_process import servant
from guard_harness import Arena, dead, kill, wait_for, words
from random_kills import Murderer, shims
from start_strategies import Strategy, by_command_line, by_guard, by_state_directories, seen

from console.core.model.commands import Command, Verb
from console.system.guard.guard import Guard
from console.system.locks import ofd_lock

CALLERS = 64
OURS = (by_guard, by_command_line, by_state_directories)
"""The strategies that use the product."""
EVERY_S = 0.02
"""The interval of the observer's samples and of the chances to kill, in seconds."""


class Round:
    """The callers that one barrier releases."""

    def __init__(self, a: Arena, strategy: Strategy, callers: int) -> None:
        self.ready = os.pipe()
        self.barrier = os.pipe()
        self.answers = os.pipe()
        gc.freeze()  # the callers share these objects without copies
        self.callers = [self._fork(a, strategy) for _ in range(callers)]
        gc.unfreeze()
        os.close(self.answers[1])
        os.close(self.barrier[0])
        os.close(self.ready[1])
        waited = 0
        while waited < callers:
            waited += len(os.read(self.ready[0], callers))
        os.close(self.ready[0])

    def _fork(self, a: Arena, strategy: Strategy) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            gc.disable()
            os.close(self.barrier[1])
            os.write(self.ready[1], b".")
            os.read(self.barrier[0], 1)
            os.write(self.answers[1], strategy(a).encode() + b"\n")
            code = 0
        finally:
            os._exit(code)

    def go(self) -> None:
        """Release all callers at one moment."""
        os.close(self.barrier[1])

    def hear(self, meanwhile: Callable[[], None]) -> list[list[object]]:
        """Return every answer. Wait until the last caller has exited."""
        raw, due = b"", 0.0
        poll = select.poll()
        poll.register(self.answers[0], select.POLLIN | select.POLLHUP)
        while True:
            if time.monotonic() > due:
                meanwhile()
                due = time.monotonic() + EVERY_S
            if not poll.poll(EVERY_S * 1000):
                continue
            if not (chunk := os.read(self.answers[0], 65_536)):
                break
            raw += chunk
        os.close(self.answers[0])
        for pid in self.callers:
            os.waitpid(pid, 0)
        return [json.loads(line) for line in raw.splitlines()]


def fight(
    a: Arena,
    strategy: Strategy,
    rounds: int,
    callers: int = CALLERS,
    murder: random.Random | None = None,
) -> Tally:
    """Run rounds of contention and return the tally. No worker runs when a round begins.

    With `murder`, a daemon restarts workers at once. The daemon is killed at random, too.
    """
    tally, began = Tally(), time.monotonic()
    with ExitStack() as stack:
        murderer = None
        if murder is not None:
            murderer = Murderer(a, murder, tally, stack.enter_context(servant(a)))
        for _ in range(rounds):
            _one_round(a, strategy, callers, murderer, tally)
        if murderer is not None:
            tally.most_daemons = murderer.servant.most
    tally.starts = len(a.lines("starts"))
    if strategy in OURS:
        # If the shim was killed first, the next holder of the lease records the death.
        for box in a.boxes():
            for verb in (Verb.ENSURE, Verb.KILL):
                Guard(box).carry_out(Command(verb, "worker", "test"))
    tally.unexplained = a.unexplained()
    tally.seconds = time.monotonic() - began
    return tally


def _one_round(
    a: Arena, strategy: Strategy, callers: int, murderer: Murderer | None, tally: Tally
) -> None:
    before = len(a.duplicates)
    fighters = Round(a, strategy, callers)

    def watch() -> None:
        tally.looks += 1
        tally.most_at_once = max(tally.most_at_once, len(seen(a)))
        if murderer is not None:
            murderer.perhaps()

    fighters.go()
    if murderer is not None:
        murderer.begin(fighters.callers)
    answers = fighters.hear(watch)
    while murderer is not None and not murderer.over:
        watch()
        time.sleep(EVERY_S)
    tally.rounds += 1
    tally.callers += callers
    tally.unclear += sum(1 for code, pid, _ in answers if code == 0 and not pid)
    if murderer is None:
        tally.split_answers += len({pid for code, pid, _ in answers if code == 0}) > 1
        tally.unclear += callers - len(answers) + sum(1 for code, *_ in answers if code)
    if strategy in OURS:
        _heal(a, tally)
    else:
        while _about_to_begin(a, {pid for _, pid, _ in answers if pid}):
            watch()
        watch()
    tally.duplicate_rounds += len(a.duplicates) > before
    _rest(a, guarded=murderer is not None)


def _about_to_begin(a: Arena, answered: set[int]) -> bool:
    """Return True if a worker that a caller started lives and has not logged its start yet."""
    begun = {int(line.split()[0]) for line in a.lines("starts")}
    return any(not dead(pid) for pid in answered - begun)


def _heal(a: Arena, tally: Tally) -> None:
    """Run `ensure` once more and check that exactly one worker lives."""
    outcome = a.do(Verb.ENSURE)
    living = [pid for pid in seen(a) if not dead(pid)]
    if not outcome.done or living != [outcome.pid]:
        tally.not_healed += 1
        tally.notes.append(f"not healed: {outcome.message}; living: {living}")


def _rest(a: Arena, guarded: bool) -> None:
    """End the round's workers. Wait until the shims have recorded the deaths and exited."""

    def gone() -> bool:
        if guarded:  # an operator's kill: the daemon restarts a worker that only died
            a.do(Verb.KILL)
        living = seen(a)
        for pid in living:
            kill(pid)
        return not living and not any(b"worker" in words(pid) for pid in shims(a))

    wait_for(gone)
    leases = [a.box.paths.lease("worker"), *a.place.glob("state-*/locks/worker.lock")]
    wait_for(lambda: not any(map(ofd_lock.is_locked, leases)))
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
