"""Sends SIGKILL at random moments to callers, shims, workers and daemons."""

from __future__ import annotations

import random
import time

from contention_counts import Tally
from daemon_process import Servant
from guard_harness import Arena, holds_open, kill, pids
from start_strategies import seen

MOST_S = 12.0
"""The time after which a round's kills end, in seconds."""


def shims(a: Arena) -> list[int]:
    """Return the PIDs of the worker's shims, and of the daemon's shim if there is one."""
    return [pid for pid in pids() if holds_open(pid, a.place)]


class Murderer:
    """Sender of random SIGKILLs, with one chance for each sample of the round."""

    def __init__(self, a: Arena, dice: random.Random, tally: Tally, servant: Servant) -> None:
        self.a, self.dice, self.tally, self.servant = a, dice, tally, servant
        self.callers: list[int] = []
        self.strikes, self.until = 0, 0.0

    def begin(self, callers: list[int]) -> None:
        """Begin a round and choose its number of kills at random."""
        self.callers = list(callers)
        self.strikes = self.dice.randint(5, 40)
        self.until = time.monotonic() + MOST_S

    @property
    def over(self) -> bool:
        """True if this round's kills are over."""
        return self.strikes <= 0 or time.monotonic() > self.until

    def perhaps(self) -> None:
        """Kill a random process, or none, by chance."""
        self.servant.see_to_it()
        if self.over or self.dice.random() > 0.6:
            return
        kind = self.dice.choice(["callers", "daemons"] + ["shims"] * 3 + ["workers"] * 4)
        victims = {
            "callers": lambda: self.callers,
            "shims": lambda: shims(self.a),
            "workers": lambda: seen(self.a),
            "daemons": self.servant.pids,
        }[kind]()
        self.strikes -= bool(victims)
        for victim in self.dice.sample(victims, min(len(victims), 3 if kind == "callers" else 1)):
            kill(victim)
            self.tally.killed[kind] += 1
            if victim in self.callers:
                self.callers.remove(victim)
