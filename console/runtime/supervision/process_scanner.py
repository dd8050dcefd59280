"""Detects new and stopped instances once a second, at little cost.

A call into a thread costs more than most of the checks, so only slow checks run in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from console.core.model.processes import Identity, Instance, Process
from console.core.processes.instances import filter_candidates, filter_named
from console.core.records import Component, field
from console.runtime.supervision.role_events import PeerEventReader
from console.system.accounts import role_user_ids
from console.system.box import Box
from console.system.processes import procfs
from console.system.processes.procfs import ProcessError
from console.system.threads import run_in_thread

EXEC_SETTLE_TIME_S = 2.0
"""An observed process older than this becomes an instance only with another command line."""
MAX_STATE_READS_PER_SCAN = 32
"""Instances whose state is read in one scan."""


class ProcessScanner(Component):
    """Scanner that compares the process table with the known instances."""

    box: Box
    list_known_instances: Callable[[], list[Instance]]
    last_event_id: Callable[[], int]
    """Returns the id of the last event that was read."""
    _batch_index: int = 0
    _non_instances: set[tuple[Identity, tuple[str, ...]]] = field(default_factory=set)
    """Identity and command line of candidates that are no instances."""
    _ignored: dict[int, Process] = field(default_factory=dict)
    """PID -> process, of new processes that run no role."""
    _peer_events: PeerEventReader = field(default_factory=PeerEventReader)

    async def has_changes(self) -> bool:
        """Return True if the instances differ from the known ones."""
        last_id = self.last_event_id()
        if self._peer_events.has_unread(last_id) and await run_in_thread(
            self._has_unknown_dead, last_id
        ):
            return True
        table = self.box.table
        if not table.may_have_changed():
            return False
        has_candidates = (
            self._has_new_candidates()
            if table.can_scan_incrementally
            else await run_in_thread(self._has_new_candidates)
        )
        return has_candidates and await run_in_thread(self._has_changed_instances)

    def _has_unknown_dead(self, last_event_id: int) -> bool:
        known_identities = {instance.identity for instance in self.list_known_instances()}
        return self._peer_events.has_unknown_dead(self.box, known_identities, last_event_id)

    def _has_new_candidates(self) -> bool:
        """Return True if a process that is not known may be an instance, which is rare."""
        known_pids = {pid for entry in self.list_known_instances() for pid in entry.pids}
        with contextlib.suppress(ProcessError):
            candidates = self._filter_candidates(self.box.table.scan_new_or_changed())
            unknown_processes = [entry for entry in candidates if entry.pid not in known_pids]
            unknown_keys = {(entry.identity, entry.argv) for entry in unknown_processes}
            has_candidates, now = bool(unknown_keys - self._non_instances), self.box.now()
            settled = (
                entry
                for entry in unknown_processes
                if now.since(entry.started) > EXEC_SETTLE_TIME_S
            )
            self._non_instances = {(entry.identity, entry.argv) for entry in settled} & unknown_keys
            return has_candidates
        return False

    def _filter_candidates(self, processes: Sequence[Process]) -> Sequence[Process]:
        """Return the processes that may run a role.

        Processes that ran no role in the previous scan and have not changed are skipped: a busy
        machine has dozens of them at each scan.
        """
        remaining = [
            process for process in processes if self._ignored.get(process.pid) is not process
        ]
        candidates = filter_candidates(
            self.box.roles, self._filter_by_role_users(filter_named(self.box.roles, remaining))
        )
        candidate_pids = {process.pid for process in candidates}
        self._ignored = {
            process.pid: process for process in processes if process.pid not in candidate_pids
        }
        return candidates

    def _filter_by_role_users(self, processes: Sequence[Process]) -> list[Process]:
        """Return the processes of the roles' users; all if the user of a role is unknown.

        A process of another user costs one short read only.
        """
        roles = self.box.roles
        uids = role_user_ids(roles)
        if len(uids) < len(roles):
            return list(processes)
        return [
            process
            for process in processes
            if procfs.read_uid_and_nesting(process.pid)[0] in uids.values()
        ]

    def _has_changed_instances(self) -> bool:
        with contextlib.suppress(ProcessError):
            observations = self.box.observe(self.box.roles)
            identities = {
                instance.identity
                for observation in observations
                for instance in observation.instances
            }
            return identities != {instance.identity for instance in self.list_known_instances()}
        return False

    def has_stop_state_changed(self) -> bool:
        """Return True if an instance was stopped (SIGSTOP) or continued since its last observation.

        If there are more than `MAX_STATE_READS_PER_SCAN` instances, each scan reads a part of them.
        """
        instances = self.list_known_instances()
        batch_count = max(1, -(-len(instances) // MAX_STATE_READS_PER_SCAN))
        self._batch_index = (self._batch_index + 1) % batch_count
        return any(
            (stat := procfs.read_stat(instance.pid)) is not None
            and (stat[0] == "T") is not (instance.root.state == "T")
            for instance in instances[self._batch_index :: batch_count]
        )
