"""SIGKILL at random moments to callers, shims, workers and daemons."""

from __future__ import annotations

import random
import time

from arena import Arena, holds_open, kill, pids
from servant import Servant
from strategies import seen
from tally import Tally

MOST_S = 12.0
"""The longest that a round of murder lasts."""


def shims(a: Arena) -> list[int]:
    """Shims of the worker, and of the daemon where there is one."""
    return [pid for pid in pids() if holds_open(pid, a.place)]


class Murderer:
    """Kills somebody now and then; each look at the round is a chance."""

    def __init__(self, a: Arena, dice: random.Random, tally: Tally, servant: Servant) -> None:
        self.a, self.dice, self.tally, self.servant = a, dice, tally, servant
        self.callers: list[int] = []
        self.strikes, self.until = 0, 0.0

    def begin(self, callers: list[int]) -> None:
        """A round begins; how many are killed in it is a matter of chance."""
        self.callers = list(callers)
        self.strikes = self.dice.randint(5, 40)
        self.until = time.monotonic() + MOST_S

    @property
    def over(self) -> bool:
        """Nobody is killed any more in this round."""
        return self.strikes <= 0 or time.monotonic() > self.until

    def perhaps(self) -> None:
        """Kill, or not."""
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
