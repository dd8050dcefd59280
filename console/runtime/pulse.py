"""What the sentry asks once a second, for next to nothing: came somebody, was somebody stopped?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import field

from console.core.frozen import slotted
from console.core.instances import candidates
from console.core.model import Identity, Instance
from console.runtime.ledger import Hearsay
from console.system import proc
from console.system.box import Box
from console.system.proc import ProcessError

SETTLED_S = 2.0
"""Who is older than this, and was looked at, does not become an instance under the same name."""
AT_ONCE = 32
"""Instances whose state is read at one pulse."""


@slotted
class Pulse:
    """Compares the box with the instances that are known."""

    box: Box
    known: Callable[[], list[Instance]]
    _turn: int = 0
    _strangers: set[tuple[Identity, tuple[str, ...]]] = field(default_factory=set)
    """Young processes that look like instances, and are another box's."""
    _hearsay: Hearsay = field(default_factory=Hearsay)

    def hint(self) -> bool:
        """Whether there may be news: asked for so little that no thread is worth it."""
        return self.box.table.stirred() or self._hearsay.anything(self.box)

    def news(self) -> bool:
        """Whether the instances are others than those we know."""
        if self._hearsay.of_the_dead(self.box, {one.identity for one in self.known()}):
            return True
        return self._somebody_came() and self._others()

    def _somebody_came(self) -> bool:
        """Whether a process that nobody has told us of might be an instance: seldom so."""
        known = {pid for one in self.known() for pid in one.pids}
        with contextlib.suppress(ProcessError):
            new = candidates(self.box.roles, self.box.table.newcomers())
            unknown = {(one.identity, one.argv) for one in new if one.pid not in known}
            came, now = bool(unknown - self._strangers), self.box.now()
            aged = (one for one in new if now.since(one.started) > SETTLED_S)
            self._strangers = {(one.identity, one.argv) for one in aged} & unknown
            return came
        return False

    def _others(self) -> bool:
        with contextlib.suppress(ProcessError):
            seen = self.box.observe(self.box.roles)
            now = {i.identity for one in seen for i in one.instances}
            return now != {instance.identity for instance in self.known()}
        return False

    def stopped(self) -> bool:
        """Whether an instance was stopped (SIGSTOP) or went on since it was looked at last.

        Where there are very many, a part of them at each pulse.
        """
        known = self.known()
        turns = max(1, -(-len(known) // AT_ONCE))
        self._turn = (self._turn + 1) % turns
        return any(
            (now := proc.stat_of(one.pid)) is not None
            and (now[0] == "T") is not (one.root.state == "T")
            for one in known[self._turn :: turns]
        )
