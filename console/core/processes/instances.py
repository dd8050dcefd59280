"""Groups processes into instances of a role, by the structure of argv and by process trees.

An *instance* of a worker is a process tree, not a PID. A virtual environment's launcher and its
interpreter are one worker; so are `uv run`, `sh -c`, `timeout` or `sudo` and the programs that they
run. A command line that merely mentions the script (`vim rpa_worker.py`, `tail -f rpa_worker.log`)
is no instance.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from console.core.model.processes import Instance, Process
from console.core.model.roles import Role
from console.core.processes.argv_matching import (
    CONSOLE_SCRIPTS,
    has_leading_word,
    in_directory,
    match_error,
    may_run_script,
    runs_inline_code,
    runs_role,
    runs_script,
    script_stem,
)
from console.core.processes.shim_program import is_shim
from console.core.records import Record, field

__all__ = ["has_leading_word", "match_error", "may_run_script", "runs_inline_code", "runs_script"]

BOX_VARIABLE = "RPA_CONSOLE_BOX"
"""Environment variable of every process that a box starts: the state directory of that box."""
TOKEN_VARIABLE = "RPA_CONSOLE_TOKEN"
"""Environment variable of every leased worker: the token of its grant."""
ROLE_VARIABLE = "RPA_CONSOLE_ROLE"
"""Environment variable of every leased worker: its role. Each role counts its own tokens."""
ENV_MARKERS = (BOX_VARIABLE, ROLE_VARIABLE, TOKEN_VARIABLE)
DEMO_VARIABLE = "RPA_CONSOLE_DEMO"
"""Environment variable of every process of a demo. Such a process counts only for a role that
requires the variable in `match_env`."""
DETACHED_CHILDREN_WARNING = (
    "what an adopted worker has cut loose from itself cannot be told from a stranger's"
)
"""Warning about ending an adopted instance. A child that has neither our environment markers nor
its parents cannot be attributed to any worker."""
LEASE_FD_VARIABLE = "RPA_CONSOLE_LEASE_FD"
"""Environment variable of every leased worker: the file descriptor that holds its lease."""


class BoxScope(Record, frozen=True):
    """Criteria besides the command line for whether a process belongs to a role of a box."""

    box: str
    """The box's state directory."""
    roles: Sequence[Role] = ()
    """All roles of the box."""
    uids: Mapping[str, int] = field(default_factory=dict)
    """Role -> UID whose processes count. For a role that is missing, all users' processes count."""


def filter_named(roles: Iterable[Role], processes: Iterable[Process]) -> list[Process]:
    """Return the processes whose command line contains the name of some role's script.

    The cost is one search per process, independent of the content of the command line.
    """
    stems = {script_stem(role.match) for role in roles}
    search = re.compile("|".join(re.escape(stem) for stem in stems)).search
    return [process for process in processes if stems and search("\0".join(process.argv))]


def filter_candidates(roles: Iterable[Role], processes: Iterable[Process]) -> tuple[Process, ...]:
    """Return the processes that may run some role's script.

    Details are worth reading only for these few.
    """
    roles = tuple(roles)
    matches = {role.match for role in roles}
    named = filter_named(roles, processes)
    return tuple(
        process
        for process in named
        if any(may_run_script(process.argv, match) for match in matches)
    )


def matches_role(process: Process, role: Role) -> bool:
    """Return True if a living process meets the role's script, directory and environment rules."""
    if process.state == "Z" or not runs_role(process, role):
        return False
    if not in_directory(process, role):
        return False
    if not all(process.env.get(key) == value for key, value in role.match_env.items()):
        return False
    # Shell code may call the console and then run the worker: the shell belongs to the worker.
    return runs_inline_code(process.argv) or not any(
        runs_role(process, console_role) for console_role in _CONSOLE_ROLES
    )


_CONSOLE_ROLES = tuple(Role("console", match) for match in CONSOLE_SCRIPTS)
OTHER_USER_REASON = "another user's process"


def exclusion_reason(process: Process, role: Role, scope: BoxScope) -> str | None:
    """Return why a process that runs the role's script does not count for it; None if it counts.

    Our environment markers decide between roles of one box only if both roles match: a child
    inherits the markers of the worker that started it.
    """
    uid = scope.uids.get(role.name)
    if uid is not None and process.uid != uid:
        return OTHER_USER_REASON
    if process.in_container and not role.containers:
        return "in a container"
    if DEMO_VARIABLE in process.env and DEMO_VARIABLE not in role.match_env:
        return "part of a demo"
    marked_role = process.env.get(ROLE_VARIABLE)
    if process.env.get(BOX_VARIABLE) != scope.box or marked_role in (None, role.name):
        return None
    other = next((known for known in scope.roles if known.name == marked_role), None)
    if other is not None and matches_role(process, other):
        return f"the process of role {marked_role}"
    return None


def belongs_to_role(process: Process, role: Role, scope: BoxScope) -> bool:
    """Return True if a process matches the role and is not excluded."""
    return matches_role(process, role) and exclusion_reason(process, role, scope) is None


class ProcessForest:
    """The parents and children among the processes of one observation.

    A list that was read while it changed can hold a parent that is younger than its child (another
    process with a reused PID) or a loop. Such links are left out. A shim has no parent here: its
    worker is an instance of its own, whichever process requested the start.
    """

    def __init__(self, processes: Iterable[Process]) -> None:
        self.by_pid = {process.pid: process for process in processes}
        self._parents: dict[int, int] = {}
        self._children: dict[int, list[Process]] = {}
        for process in sorted(self.by_pid.values(), key=_start_order):
            parent = self.by_pid.get(process.ppid)
            if parent is not None and self._is_child(process, parent):
                self._parents[process.pid] = parent.pid
                self._children.setdefault(parent.pid, []).append(process)

    def _is_child(self, process: Process, parent: Process) -> bool:
        if is_shim(process.argv) or parent.identity.ticks > process.identity.ticks:
            return False
        # A loop is possible only among processes that started in the same tick.
        same_tick = parent.identity.ticks == process.identity.ticks
        return not same_tick or process.pid not in (parent.pid, *self.ancestor_pids(parent.pid))

    def ancestor_pids(self, pid: int) -> list[int]:
        """Return the PIDs of the ancestors, nearest first."""
        ancestors = []
        while (parent := self._parents.get(pid)) is not None:
            ancestors.append(parent)
            pid = parent
        return ancestors

    def descendants_of(
        self, root: Process, excluded_pids: Collection[int] = ()
    ) -> tuple[Process, ...]:
        """Return `root` and all its living descendants, root first, then by PID.

        `excluded_pids` and their descendants are left out; so are shims and their descendants.
        """
        tree, queue = {root.pid: root}, [root]
        while queue:
            for child in self._children.get(queue.pop().pid, ()):
                if (
                    child.pid not in tree
                    and child.pid not in excluded_pids
                    and not is_shim(child.argv)
                ):
                    tree[child.pid] = child
                    queue.append(child)
        descendants = sorted(pid for pid in tree if pid != root.pid and tree[pid].state != "Z")
        return (root, *(tree[pid] for pid in descendants))


def lineage(pid: int, processes: Iterable[Process]) -> tuple[Process, ...]:
    """Return a process and its ancestors, nearest first."""
    by_pid = {process.pid: process for process in processes}
    chain: dict[int, Process] = {}
    while (process := by_pid.get(pid)) is not None and pid not in chain:
        chain[pid] = process
        pid = process.ppid
    return tuple(chain.values())


def group_instances(
    role: Role,
    processes: Iterable[Process],
    forest: ProcessForest,
    scope: BoxScope,
    excluded_pids: Collection[int] = (),
) -> tuple[Instance, ...]:
    """Return the role's instances among `processes`, oldest root first.

    A matching process with a matching ancestor belongs to that ancestor's instance. All descendants
    of a root are part of its tree, except `excluded_pids`. Processes of one grant are one instance:
    a worker may have detached a child that runs the same script.
    """
    matching = {
        process.pid: process for process in processes if belongs_to_role(process, role, scope)
    }
    roots = [
        candidate
        for pid, candidate in matching.items()
        if matching.keys().isdisjoint(forest.ancestor_pids(pid))
    ]
    instances: dict[object, Instance] = {}
    for root in sorted(roots, key=_start_order):
        key, tree = (
            _grant_markers(root, role) or root.identity,
            forest.descendants_of(root, excluded_pids),
        )
        earlier = instances.get(key)
        members = tree if earlier is None else (*earlier.processes, *tree)
        instances[key] = Instance(role.name, members, box=_other_box(root, scope))
    return tuple(instances.values())


def _grant_markers(process: Process, role: Role) -> tuple[str, ...] | None:
    """Return the environment markers of the role's grant in a process; None without a grant.

    The process or one of its ancestors was started under that grant.
    """
    markers = tuple(process.env.get(name, "") for name in ENV_MARKERS)
    return markers if all(markers) and markers[1] == role.name else None


def _other_box(root: Process, scope: BoxScope) -> str | None:
    """Return the state directory of the box that started a process, or None if it is our own."""
    box = root.env.get(BOX_VARIABLE, scope.box)
    return box if box != scope.box else None


def _start_order(process: Process) -> tuple[int, int]:
    return process.identity.ticks, process.pid


def find_surplus(role: Role, instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return the instances that the role's `keep` rule would end.

    An instance that holds a lease is never ended in favour of one that holds none.
    """
    by_age = sorted(
        instances,
        key=lambda instance: _start_order(instance.root),
        reverse=role.keep == "newest",
    )
    ordered = sorted(by_age, key=lambda instance: (instance.adopted, not instance.leased))
    return tuple(ordered[role.count :])
