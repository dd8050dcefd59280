"""Surveys the process table: which process belongs to which role of a box."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from console.core import secret_redaction
from console.core.model.processes import Identity, Instance, LookAlike, Process
from console.core.model.roles import Role
from console.core.processes import instances as grouping
from console.core.processes.instances import DEMO_VARIABLE, ENV_MARKERS, BoxScope, ProcessForest
from console.core.records import Record, replace
from console.system.accounts import role_user_ids, user_name
from console.system.processes import process_table, procfs, worker_registry
from console.system.processes.process_table import ProcessTable

MAX_LOOK_ALIKES = 20
"""Look-alikes reported for each role."""
MAX_FOREIGN_PROCESSES = 200
"""Processes of other users that are examined in each survey."""


class Survey(Record, frozen=True):
    """The result of one survey of the process table."""

    forest: ProcessForest
    candidates: tuple[Process, ...]
    """Processes of the roles' users that may run a role's script, with details."""
    foreign_processes: tuple[Process, ...]
    """Processes of other users whose command line contains a role's script."""
    scope: BoxScope
    worker_records: tuple[worker_registry.WorkerRecord, ...]
    roles_by_pid: Mapping[int, frozenset[str]]
    """PID -> the roles that this process belongs to by its match."""

    def other_role_pids(self, role_name: str) -> frozenset[int]:
        """Return the PIDs that belong only to other roles, and so to no tree of this role."""
        return frozenset(pid for pid, roles in self.roles_by_pid.items() if role_name not in roles)

    def without_protected(
        self,
        members: Iterable[Identity],
        root_pid: int,
        role_name: str,
        port_holders: Collection[int],
    ) -> list[Identity]:
        """Return those members of the role's tree below `root_pid` that belong to it alone.

        A process is left out, with its descendants, if it belongs to another role or is one of the
        `port_holders` of the queue's port. If the root holds that port, it is the queue server, and
        no port holder is left out.
        """
        protected_pids = self.other_role_pids(role_name) | (
            set() if root_pid in port_holders else set(port_holders)
        )
        return [
            identity
            for identity in members
            if not self._is_protected(identity.pid, protected_pids, root_pid)
        ]

    def _is_protected(self, pid: int, protected_pids: Collection[int], root_pid: int) -> bool:
        """Return True if the process or an ancestor of it below `root_pid` is protected."""
        for ancestor_pid in (pid, *self.forest.ancestor_pids(pid)):
            if ancestor_pid == root_pid:
                return False
            if ancestor_pid in protected_pids:
                return True
        return False

    def find_instances(self, role: Role) -> list[Instance]:
        """Return the role's instances: those that match, then those from worker records."""
        role = self._resolved_role(role)
        excluded_pids = self.other_role_pids(role.name)
        instances = list(
            grouping.group_instances(role, self.candidates, self.forest, self.scope, excluded_pids)
        )
        boxes = {record.identity: record.box for record in self.worker_records}
        instances = [_with_box(instance, boxes, self.scope.box) for instance in instances]
        return instances + self._recorded_instances(role, instances, excluded_pids)

    def _resolved_role(self, role: Role) -> Role:
        """Return the role as in this survey's scope, with symbolic links resolved."""
        return next(
            (scope_role for scope_role in self.scope.roles if scope_role.name == role.name), role
        )

    def _recorded_instances(
        self, role: Role, matched: Sequence[Instance], excluded_pids: Collection[int]
    ) -> list[Instance]:
        """Return living workers that no longer match, but have a record.

        The record is of this role, or has the same matching rule.
        """
        rule, covered_pids = (
            worker_registry.matching_rule(role),
            {pid for instance in matched for pid in instance.pids},
        )
        recorded = []
        for record in self.worker_records:
            root = self.forest.by_pid.get(record.identity.pid)
            is_own = (record.box, record.role) == (self.scope.box, role.name)
            if not (is_own or record.rule == rule):
                continue
            if root is None or root.identity != record.identity or root.pid in excluded_pids:
                continue
            ancestor_pids = self.forest.ancestor_pids(root.pid)
            if (
                root.state == "Z"
                or root.pid in covered_pids
                or not covered_pids.isdisjoint(ancestor_pids)
            ):
                continue
            instance = Instance(role.name, self.forest.descendants_of(root, excluded_pids))
            recorded.append(_with_box(instance, {root.identity: record.box}, self.scope.box))
        return recorded

    def find_look_alikes(self, role: Role, instances: Iterable[Instance]) -> tuple[LookAlike, ...]:
        """Return the role's look-alikes, at most `MAX_LOOK_ALIKES`.

        They are processes that run the role's script and do not count as instances.
        """

        role = self._resolved_role(role)
        counted = {pid for one in instances for pid in one.pids} | self.roles_by_pid.keys()
        look_alikes = [
            _build_look_alike(one, reason)
            for one in self.candidates
            if one.pid not in counted
            and grouping.matches_role(one, role)
            and (reason := grouping.exclusion_reason(one, role, self.scope)) is not None
        ]
        foreign = (
            one for one in self.foreign_processes if grouping.has_leading_word(one.argv, role.match)
        )
        look_alikes += [
            _build_look_alike(one, grouping.OTHER_USER_REASON)
            for one in islice(foreign, MAX_LOOK_ALIKES)
        ]
        return tuple(look_alikes[:MAX_LOOK_ALIKES])


def take_survey(
    table: ProcessTable,
    roles: Sequence[Role],
    box_name: str,
    refresh_pids: Iterable[int] = (),
    full: bool = False,
) -> Survey:
    """Survey all processes. Raises ProcessError.

    `refresh_pids`, `full`: see `ProcessTable.scan`.
    """
    processes = table.scan(refresh_pids, full)
    excluded_pids = self_and_shell_pids(processes)
    scope = BoxScope(box_name, roles, role_user_ids(roles))
    ours, foreign = _split_by_user(
        roles, scope, (process for process in processes if process.pid not in excluded_pids)
    )
    variables = {*ENV_MARKERS, DEMO_VARIABLE, *(key for role in roles for key in role.match_env)}
    detailed = {
        process.pid: process_table.with_details(process, variables)
        for process in grouping.filter_candidates(roles, ours)
    }
    forest = ProcessForest(
        detailed.get(process.pid, process)
        for process in processes
        if process.pid not in excluded_pids
    )
    candidates = tuple(detailed.values())
    roles_by_pid = {
        process.pid: frozenset(
            role.name for role in roles if grouping.belongs_to_role(process, role, scope)
        )
        for process in candidates
    }
    roles_by_pid = {pid: names for pid, names in roles_by_pid.items() if names}
    return Survey(
        forest, candidates, tuple(foreign), scope, worker_registry.read_live_records(), roles_by_pid
    )


def _split_by_user(
    roles: Sequence[Role], scope: BoxScope, processes: Iterable[Process]
) -> tuple[list[Process], list[Process]]:
    """Return the processes that name a role's script: of the roles' users, and of other users.

    Other users' command lines are not parsed, since they may be long and many.
    """
    all_users = any(role.name not in scope.uids for role in roles)
    uids = set(scope.uids.values())
    ours: list[Process] = []
    foreign: list[Process] = []
    for process in grouping.filter_named(roles, processes):
        if all_users or procfs.read_uid_and_nesting(process.pid)[0] in uids:
            ours.append(process)
        elif len(foreign) < MAX_FOREIGN_PROCESSES:
            foreign.append(process)
    return ours, foreign


def self_and_shell_pids(processes: Iterable[Process]) -> set[int]:
    """Return the PIDs of this process and of its ancestors that run inline shell code.

    `sh -c "rpa-console ensure; …"` is not a worker.
    """
    ancestors = grouping.lineage(os.getpid(), processes)
    return {
        process.pid
        for process in ancestors
        if process.pid == os.getpid() or grouping.runs_inline_code(process.argv)
    }


def _with_box(
    instance: Instance, boxes_by_identity: Mapping[Identity, str], own_box: str
) -> Instance:
    """Return the instance with `box` set if another, existing state directory runs it."""
    box = boxes_by_identity.get(instance.identity, instance.box)
    other_box = box if box not in (None, own_box) and os.path.isdir(str(box)) else None
    return replace(instance, box=other_box) if other_box != instance.box else instance


def _build_look_alike(process: Process, reason: str) -> LookAlike:
    uid, _ = procfs.read_uid_and_nesting(process.pid)
    return LookAlike(
        process.identity,
        user_name(uid),
        reason,
        secret_redaction.redact_command_line(process.argv)[:500],
        _read_leasing_box(process),
    )


def _read_leasing_box(process: Process) -> str:
    """Return the state directory whose owner record names this process, or an empty string.

    Only root can read it.
    """
    if os.geteuid() != 0:
        return ""
    markers = procfs.read_environment(process.pid, set(ENV_MARKERS))
    box, role_name, _ = map(markers.get, ENV_MARKERS)
    if not box or not role_name or os.sep in role_name:
        return ""
    from console.system.files.safe_files import FileError, read_json

    try:
        value, _ = read_json(
            Path(box) / "locks" / f"{role_name}.owner.json", worker_registry.MAX_RECORD_BYTES
        )
    except FileError:
        return ""
    is_owner = isinstance(value, dict) and value.get("identity") == str(process.identity)
    return box if is_owner else ""
