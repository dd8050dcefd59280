"""One look at the process table: which process belongs to which role of a box."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from console.core import secret_redaction
from console.core.frozen import frozen, replace
from console.core.model import Identity, Instance, LookAlike, Process, Role
from console.core.processes import instances as grouping
from console.core.processes.instances import DEMO_VARIABLE, MARKS, Kinship, Scope
from console.system.accounts import user_ids, user_name
from console.system.processes import process_table, procfs, worker_registry
from console.system.processes.process_table import Table

MAX_LOOK_ALIKES = 20
"""Look-alikes that are named for each role."""
MAX_EXAMINED = 200
"""Processes of other users that are examined for each look."""


@frozen
class Survey:
    """What one look at the process table has found."""

    kinship: Kinship
    candidates: tuple[Process, ...]
    """Processes of the roles' users that may run a role's script, with their details."""
    foreign: tuple[Process, ...]
    """Processes of other users whose command line contains a role's script."""
    scope: Scope
    records: tuple[worker_registry.Record, ...]
    claims: Mapping[int, frozenset[str]]
    """PID -> the roles that this process belongs to by its match."""

    def stops(self, role: str) -> frozenset[int]:
        """The PIDs that belong to other roles only, and so to no tree of this one."""
        return frozenset(pid for pid, roles in self.claims.items() if role not in roles)

    def kept(
        self, members: Iterable[Identity], root: int, role: str, holders: Collection[int]
    ) -> list[Identity]:
        """The members of the role's tree below `root` that belong to it alone.

        Left out is what belongs to another role or is one of `holders` of the queue's port, with
        all below it. A root that holds the port is the queue itself.
        """
        spared = self.stops(role) | (set() if root in holders else set(holders))
        return [one for one in members if not self._below(one.pid, spared, root)]

    def _below(self, pid: int, spared: Collection[int], root: int) -> bool:
        """Whether a process is one of those spared, or below one, on the way up to `root`."""
        for one in (pid, *self.kinship.above(pid)):
            if one == root:
                return False
            if one in spared:
                return True
        return False

    def instances(self, role: Role) -> list[Instance]:
        """The role's instances: by their match, and by what was recorded of them earlier."""
        role = self._resolved(role)
        stop = self.stops(role.name)
        found = list(grouping.group(role, self.candidates, self.kinship, self.scope, stop))
        boxes = {one.identity: one.box for one in self.records}
        found = [_of_box(one, boxes, self.scope.box) for one in found]
        return found + self._recorded(role, found, stop)

    def _resolved(self, role: Role) -> Role:
        """The role as this look knows it, with the targets of its symbolic links."""
        return next((one for one in self.scope.roles if one.name == role.name), role)

    def _recorded(
        self, role: Role, found: Sequence[Instance], stop: Collection[int]
    ) -> list[Instance]:
        """Living workers of this role, or under the same rule, that it does not match any more."""
        same, seen = worker_registry.rule(role), {pid for one in found for pid in one.pids}
        more = []
        for record in self.records:
            root = self.kinship.by_pid.get(record.identity.pid)
            ours = (record.box, record.role) == (self.scope.box, role.name)
            if not (ours or record.rule == same):
                continue
            if root is None or root.identity != record.identity or root.pid in stop:
                continue
            above = self.kinship.above(root.pid)
            if root.state == "Z" or root.pid in seen or not seen.isdisjoint(above):
                continue
            one = Instance(role.name, self.kinship.tree(root, stop))
            more.append(_of_box(one, {root.identity: record.box}, self.scope.box))
        return more

    def look_alikes(self, role: Role, instances: Iterable[Instance]) -> tuple[LookAlike, ...]:
        """The processes that run the role's script and do not count, `MAX_LOOK_ALIKES` at most."""
        role = self._resolved(role)
        counted = {pid for one in instances for pid in one.pids} | self.claims.keys()
        found = [
            _look_alike(one, why)
            for one in self.candidates
            if one.pid not in counted
            and grouping.meets(one, role)
            and (why := grouping.exclusion(one, role, self.scope)) is not None
        ]
        named = (one for one in self.foreign if grouping.names(one.argv, role.match))
        found += [_look_alike(one, grouping.OTHER_USER) for one in islice(named, MAX_LOOK_ALIKES)]
        return tuple(found[:MAX_LOOK_ALIKES])


def survey(
    table: Table, roles: Sequence[Role], box: str, again: Iterable[int] = (), full: bool = False
) -> Survey:
    """Look at all processes. Raises ProcessError.

    `again`, `full`: see `Table.look`.
    """
    seen = table.look(again, full)
    own = own_lineage(seen)
    scope = Scope(box, roles, user_ids(roles))
    ours, foreign = _by_user(roles, scope, (one for one in seen if one.pid not in own))
    variables = {*MARKS, DEMO_VARIABLE, *(key for role in roles for key in role.match_env)}
    detailed = {
        one.pid: process_table.details(one, variables) for one in grouping.candidates(roles, ours)
    }
    kinship = Kinship(detailed.get(one.pid, one) for one in seen if one.pid not in own)
    candidates = tuple(detailed.values())
    claims = {
        one.pid: frozenset(role.name for role in roles if grouping.belongs(one, role, scope))
        for one in candidates
    }
    claims = {pid: names for pid, names in claims.items() if names}
    return Survey(kinship, candidates, tuple(foreign), scope, worker_registry.known(), claims)


def _by_user(
    roles: Sequence[Role], scope: Scope, processes: Iterable[Process]
) -> tuple[list[Process], list[Process]]:
    """Processes that name a role's script: those of the roles' users, and those of others.

    Another user's command line is not parsed: it may be long, and there may be many.
    """
    everybody = any(role.name not in scope.uids for role in roles)
    uids = set(scope.uids.values())
    ours: list[Process] = []
    foreign: list[Process] = []
    for one in grouping.named(roles, processes):
        if everybody or procfs.standing(one.pid)[0] in uids:
            ours.append(one)
        elif len(foreign) < MAX_EXAMINED:
            foreign.append(one)
    return ours, foreign


def own_lineage(processes: Iterable[Process]) -> set[int]:
    """Ourselves, and the shells above us: `sh -c "rpa-console ensure; …"` is not yet a worker."""
    own = grouping.lineage(os.getpid(), processes)
    return {one.pid for one in own if one.pid == os.getpid() or grouping.by_code(one.argv)}


def _of_box(instance: Instance, boxes: Mapping[Identity, str], own: str) -> Instance:
    """The instance with the state directory that runs it, if that is another one and exists."""
    box = boxes.get(instance.identity, instance.box)
    other = box if box not in (None, own) and os.path.isdir(str(box)) else None
    return replace(instance, box=other) if other != instance.box else instance


def _look_alike(one: Process, why: str) -> LookAlike:
    uid, _ = procfs.standing(one.pid)
    return LookAlike(
        one.identity,
        user_name(uid),
        why,
        secret_redaction.command_line(one.argv)[:500],
        _leasing_box(one),
    )


def _leasing_box(one: Process) -> str:
    """The state directory whose owner record names this process; only root can read it."""
    if os.geteuid() != 0:
        return ""
    marks = procfs.environment(one.pid, set(MARKS))
    box, name, _ = map(marks.get, MARKS)
    if not box or not name or os.sep in name:
        return ""
    from console.system.files.safe_files import FileError, read_json

    try:
        value, _ = read_json(Path(box) / "locks" / f"{name}.owner.json", worker_registry.MAX_BYTES)
    except FileError:
        return ""
    leased = isinstance(value, dict) and value.get("identity") == str(one.identity)
    return box if leased else ""
