"""From a list of processes to the instances of a role: by the structure of argv, as trees.

A worker *instance* is a process tree, not a PID: a virtual environment's launcher and its
interpreter, `uv run`, `sh -c`, `timeout` or `sudo` and what they run are one worker. And a command
line that merely mentions the script (`vim rpa_worker.py`, `tail -f rpa_worker.log`) is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field

from console.core.frozen import frozen
from console.core.model import Instance, Process, Role
from console.core.processes.argv_matching import (
    OURS,
    by_code,
    in_directory,
    mentions,
    names,
    refuse_match,
    runs,
    runs_role,
    stem_of,
)
from console.core.processes.shim_program import is_shim

__all__ = ["by_code", "mentions", "names", "refuse_match", "runs"]

BOX_VARIABLE = "RPA_CONSOLE_BOX"
"""In the environment of every process that a box starts: that box's state directory."""
TOKEN_VARIABLE = "RPA_CONSOLE_TOKEN"
"""In the environment of every leased worker: the number of its grant."""
ROLE_VARIABLE = "RPA_CONSOLE_ROLE"
"""In the environment of every leased worker: tokens count for each role by itself."""
MARKS = (BOX_VARIABLE, ROLE_VARIABLE, TOKEN_VARIABLE)
DEMO_VARIABLE = "RPA_CONSOLE_DEMO"
"""In the environment of every process of a demo: a role that does not ask for it has none there."""
CUT_LOOSE = "what an adopted worker has cut loose from itself cannot be told from a stranger's"
"""What ending one must say: a child without our marks and without its parents is anybody's."""
LEASE_FD_VARIABLE = "RPA_CONSOLE_LEASE_FD"
"""In the environment of every leased worker: the descriptor that holds its lease."""


@frozen
class Scope:
    """What decides, beside the command line, whether a process belongs to a role of a box."""

    box: str
    """The box's state directory."""
    roles: Sequence[Role] = ()
    """All roles of the box."""
    uids: Mapping[str, int] = field(default_factory=dict)
    """Role -> the user whose processes are meant; a role that is missing means every user."""


def named(roles: Iterable[Role], processes: Iterable[Process]) -> list[Process]:
    """The processes whose command line contains the name of some role's script.

    Costs one search for each process, whatever the command line holds.
    """
    stems = {stem_of(role.match) for role in roles}
    search = re.compile("|".join(re.escape(stem) for stem in stems)).search
    return [one for one in processes if stems and search("\0".join(one.argv))]


def candidates(roles: Iterable[Role], processes: Iterable[Process]) -> tuple[Process, ...]:
    """The processes that may run some role's match: the few whose details are worth reading."""
    roles = tuple(roles)
    matches = {role.match for role in roles}
    some = named(roles, processes)
    return tuple(one for one in some if any(mentions(one.argv, match) for match in matches))


def meets(process: Process, role: Role) -> bool:
    """Whether a living process runs the role's script, where and with what the role asks for."""
    if process.state == "Z" or not runs_role(process, role):
        return False
    if not in_directory(process, role):
        return False
    if not all(process.env.get(key) == value for key, value in role.match_env.items()):
        return False
    # A shell's line may call the console and then run the worker: that one is the worker's.
    return by_code(process.argv) or not any(runs_role(process, ours) for ours in _OURS)


_OURS = tuple(Role("console", match) for match in OURS)
OTHER_USER = "another user's process"


def exclusion(process: Process, role: Role, scope: Scope) -> str | None:
    """Why a process that runs the role's script is not counted for it; None when it is.

    Our own marks decide between roles of one box only where both match: a child inherits the marks
    of the worker that has started it.
    """
    uid = scope.uids.get(role.name)
    if uid is not None and process.uid != uid:
        return OTHER_USER
    if process.nested and not role.containers:
        return "in a container"
    if DEMO_VARIABLE in process.env and DEMO_VARIABLE not in role.match_env:
        return "part of a demo"
    marked = process.env.get(ROLE_VARIABLE)
    if process.env.get(BOX_VARIABLE) != scope.box or marked in (None, role.name):
        return None
    other = next((one for one in scope.roles if one.name == marked), None)
    if other is not None and meets(process, other):
        return f"the process of role {marked}"
    return None


def belongs(process: Process, role: Role, scope: Scope) -> bool:
    """Whether a process is one of the role's."""
    return meets(process, role) and exclusion(process, role, scope) is None


class Kinship:
    """Who started whom, among the processes of one look.

    A list read while it changed can hold a parent that is younger than its child (another process
    under a PID given away again) or a loop: such links are left out. And a shim is nobody's child:
    whom it guards is an instance of its own, whoever asked for it.
    """

    def __init__(self, processes: Iterable[Process]) -> None:
        self.by_pid = {process.pid: process for process in processes}
        self._parents: dict[int, int] = {}
        self._children: dict[int, list[Process]] = {}
        for process in sorted(self.by_pid.values(), key=_age):
            parent = self.by_pid.get(process.ppid)
            if parent is not None and self._is_child(process, parent):
                self._parents[process.pid] = parent.pid
                self._children.setdefault(parent.pid, []).append(process)

    def _is_child(self, process: Process, parent: Process) -> bool:
        if is_shim(process.argv) or parent.identity.ticks > process.identity.ticks:
            return False
        # Only among processes of one tick can there be a loop.
        same = parent.identity.ticks == process.identity.ticks
        return not same or process.pid not in (parent.pid, *self.above(parent.pid))

    def above(self, pid: int) -> list[int]:
        """The ancestors' PIDs, nearest first."""
        found = []
        while (parent := self._parents.get(pid)) is not None:
            found.append(parent)
            pid = parent
        return found

    def tree(self, root: Process, stop: Collection[int] = ()) -> tuple[Process, ...]:
        """`root` and all its living descendants, root first, then by PID.

        `stop`: PIDs that belong elsewhere, with all below them.
        """
        found, queue = {root.pid: root}, [root]
        while queue:
            for child in self._children.get(queue.pop().pid, ()):
                if child.pid not in found and child.pid not in stop and not is_shim(child.argv):
                    found[child.pid] = child
                    queue.append(child)
        rest = sorted(pid for pid in found if pid != root.pid and found[pid].state != "Z")
        return (root, *(found[pid] for pid in rest))


def lineage(pid: int, processes: Iterable[Process]) -> tuple[Process, ...]:
    """A process and its ancestors, nearest first."""
    by_pid = {process.pid: process for process in processes}
    found: dict[int, Process] = {}
    while (process := by_pid.get(pid)) is not None and pid not in found:
        found[pid] = process
        pid = process.ppid
    return tuple(found.values())


def group(
    role: Role,
    processes: Iterable[Process],
    kinship: Kinship,
    scope: Scope,
    stop: Collection[int] = (),
) -> tuple[Instance, ...]:
    """The role's instances among `processes`, oldest root first.

    A matching process with a matching ancestor belongs to that ancestor's instance; all
    descendants of a root are part of its tree, but for those in `stop`. Processes of one grant are
    one instance: a worker may have cut a child loose that runs the same script.
    """
    matching = {process.pid: process for process in processes if belongs(process, role, scope)}
    roots = [one for pid, one in matching.items() if matching.keys().isdisjoint(kinship.above(pid))]
    found: dict[object, Instance] = {}
    for root in sorted(roots, key=_age):
        key, tree = _grant(root, role) or root.identity, kinship.tree(root, stop)
        first = found.get(key)
        whole = tree if first is None else (*first.processes, *tree)
        found[key] = Instance(role.name, whole, box=_other_box(root, scope))
    return tuple(found.values())


def _grant(process: Process, role: Role) -> tuple[str, ...] | None:
    """The marks of the grant of this role under which a process or its ancestor was started."""
    marks = tuple(process.env.get(mark, "") for mark in MARKS)
    return marks if all(marks) and marks[1] == role.name else None


def _other_box(root: Process, scope: Scope) -> str | None:
    """The state directory that has started a process, where that is not our own."""
    box = root.env.get(BOX_VARIABLE, scope.box)
    return box if box != scope.box else None


def _age(process: Process) -> tuple[int, int]:
    return process.identity.ticks, process.pid


def surplus(role: Role, instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """The instances that the role's `keep` rule would end.

    One that holds a lease is never among them in favour of one that holds none.
    """
    by_age = sorted(
        instances,
        key=lambda instance: _age(instance.root),
        reverse=role.keep == "newest",
    )
    ordered = sorted(by_age, key=lambda one: (one.adopted, not one.leased))
    return tuple(ordered[role.count :])
