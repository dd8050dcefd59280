"""What the sentry asks once a second, for next to nothing: came somebody, was somebody stopped?

A thread costs more than most of the answers: it is called for those alone that may take long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import field

from console.core.frozen import slotted
from console.core.model import Identity, Instance, Process
from console.core.processes.instances import candidates, named
from console.runtime.supervision.role_events import Hearsay
from console.system.accounts import user_ids
from console.system.box import Box
from console.system.processes import procfs
from console.system.processes.procfs import ProcessError
from console.system.threads import aside

SETTLED_S = 2.0
"""Who is older than this, and was looked at, does not become an instance under the same name."""
AT_ONCE = 32
"""Instances whose state is read at one pulse."""


@slotted
class Pulse:
    """Compares the box with the instances that are known."""

    box: Box
    known: Callable[[], list[Instance]]
    newest: Callable[[], int]
    """The ledger's last line, as far as it has been read."""
    _turn: int = 0
    _strangers: set[tuple[Identity, tuple[str, ...]]] = field(default_factory=set)
    """Young processes that look like instances and are none."""
    _passed_over: dict[int, Process] = field(default_factory=dict)
    """Young processes that run no role."""
    _hearsay: Hearsay = field(default_factory=Hearsay)

    async def news(self) -> bool:
        """Whether the instances are others than those we know."""
        newest = self.newest()
        if self._hearsay.anything(newest) and await aside(self._of_the_dead, newest):
            return True
        table = self.box.table
        if not table.stirred():
            return False
        came = self._somebody_came() if table.brief else await aside(self._somebody_came)
        return came and await aside(self._others)

    def _of_the_dead(self, newest: int) -> bool:
        known = {one.identity for one in self.known()}
        return self._hearsay.of_the_dead(self.box, known, newest)

    def _somebody_came(self) -> bool:
        """Whether a process that nobody has told us of might be an instance: seldom so."""
        known = {pid for one in self.known() for pid in one.pids}
        with contextlib.suppress(ProcessError):
            new = self._worth_a_look(self.box.table.newcomers())
            ours = [one for one in new if one.pid not in known]
            unknown = {(one.identity, one.argv) for one in ours}
            came, now = bool(unknown - self._strangers), self.box.now()
            aged = (one for one in ours if now.since(one.started) > SETTLED_S)
            self._strangers = {(one.identity, one.argv) for one in aged} & unknown
            return came
        return False

    def _worth_a_look(self, young: Sequence[Process]) -> Sequence[Process]:
        """Those that may run a role. Who did not a second ago and is the same still does not: on a
        busy machine there are dozens of them at each pulse.
        """
        left = [one for one in young if self._passed_over.get(one.pid) is not one]
        found = candidates(self.box.roles, self._of_our_users(named(self.box.roles, left)))
        worth = {one.pid for one in found}
        self._passed_over = {one.pid: one for one in young if one.pid not in worth}
        return found

    def _of_our_users(self, processes: Sequence[Process]) -> list[Process]:
        """The processes of the roles' users: those of others cost one short read each."""
        roles = self.box.roles
        uids = user_ids(roles)
        if len(uids) < len(roles):
            return list(processes)
        return [one for one in processes if procfs.standing(one.pid)[0] in uids.values()]

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
            (now := procfs.stat_of(one.pid)) is not None
            and (now[0] == "T") is not (one.root.state == "T")
            for one in known[self._turn :: turns]
        )
