"""From a list of processes to the instances of a role: by the structure of argv, as trees.

A worker *instance* is a process tree, not a PID: a virtual environment's launcher and its
interpreter, `uv run`, `sh -c`, `timeout` or `sudo` and what they run are one worker. And a command
line that merely mentions the script (`vim rpa_worker.py`, `tail -f rpa_worker.log`) is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from console.core.matching import (
    OURS,
    by_code,
    in_directory,
    mentions,
    refuse_match,
    runs,
    runs_role,
    stem_of,
)
from console.core.model import Instance, Process, Role

__all__ = ["by_code", "mentions", "refuse_match", "runs"]

BOX_VARIABLE = "RPA_CONSOLE_BOX"
"""In the environment of every process that a box starts: that box's state directory."""
TOKEN_VARIABLE = "RPA_CONSOLE_TOKEN"
"""In the environment of every leased worker: the number of its grant."""
ROLE_VARIABLE = "RPA_CONSOLE_ROLE"
"""In the environment of every leased worker: tokens count for each role by itself."""
MARKS = (BOX_VARIABLE, ROLE_VARIABLE, TOKEN_VARIABLE)
CUT_LOOSE = "what an adopted worker has cut loose from itself cannot be told from a stranger's"
"""What ending one must say: a child without our marks and without its parents is anybody's."""
LEASE_FD_VARIABLE = "RPA_CONSOLE_LEASE_FD"
"""In the environment of every leased worker: the descriptor that holds its lease."""


def candidates(roles: Iterable[Role], processes: Iterable[Process]) -> tuple[Process, ...]:
    """The processes that may run some role's match: the few whose details are worth reading."""
    matches = {role.match for role in roles}
    named = re.compile("|".join(re.escape(stem_of(match)) for match in matches)).search
    # Almost all are passed over at one search, however many roles there are.
    some = (one for one in processes if matches and named("\0".join(one.argv)))
    return tuple(one for one in some if any(mentions(one.argv, match) for match in matches))


def belongs(process: Process, role: Role, box: str) -> bool:
    """Whether a process runs the role, in this box rather than in another one."""
    if process.state == "Z" or not runs_role(process, role):
        return False
    if process.env.get(BOX_VARIABLE, box) != box:
        return False
    if not in_directory(process, role):
        return False
    if not all(process.env.get(key) == value for key, value in role.match_env.items()):
        return False
    # A shell's line may call the console and then run the worker: that one is the worker's.
    return by_code(process.argv) or not any(runs_role(process, ours) for ours in _OURS)


_OURS = tuple(Role("console", match) for match in OURS)


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
        if guards(process) or parent.identity.ticks > process.identity.ticks:
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

    def tree(self, root: Process) -> tuple[Process, ...]:
        """`root` and all its living descendants, root first, then by PID."""
        found, queue = {root.pid: root}, [root]
        while queue:
            for child in self._children.get(queue.pop().pid, ()):
                if child.pid not in found and not guards(child):
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
    role: Role, processes: Iterable[Process], kinship: Kinship, box: str
) -> tuple[Instance, ...]:
    """The role's instances among `processes`, oldest root first.

    A matching process with a matching ancestor belongs to that ancestor's instance; all
    descendants of a root are part of its tree.
    """
    matching = {process.pid: process for process in processes if belongs(process, role, box)}
    roots = [one for pid, one in matching.items() if matching.keys().isdisjoint(kinship.above(pid))]
    roots.sort(key=_age)
    return tuple(Instance(role.name, kinship.tree(root)) for root in roots)


def _age(process: Process) -> tuple[int, int]:
    return process.identity.ticks, process.pid


def guards(process: Process) -> bool:
    """Whether a process is a shim: another instance's guardian, never part of a tree."""
    return any(word.endswith("/console/system/shim.py") for word in process.argv[3:6])


def surplus(role: Role, instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """The instances that the role's `keep` rule would end."""
    ordered = sorted(
        instances,
        key=lambda instance: _age(instance.root),
        reverse=role.keep == "newest",
    )
    return tuple(ordered[role.count :])
