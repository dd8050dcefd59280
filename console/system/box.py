"""One box: its settings, paths, store and clock, and observations of its roles."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from console.core import secret_redaction
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, LookAlike
from console.core.model.roles import Lease, LeaseState, Role
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record, replace
from console.system import clock, daemon_role
from console.system.accounts import role_user_id
from console.system.config.schema import Settings
from console.system.config.watched_file import WatchedConfig
from console.system.locks import lease
from console.system.paths import PathError, Paths
from console.system.processes import process_table
from console.system.processes.lease_attribution import attribute_lease
from console.system.processes.role_survey import Survey, take_survey
from console.system.processes.usage import UsageMeter
from console.system.store.event_outbox import EventOutbox
from console.system.store.store import Store, StoreError
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.core.metrics.rollups import Rollup
    from console.core.metrics.time_series import TimeSeries
    from console.system.files.outside_files import OutsideDirectory
    from console.system.files.symbolic_links import LinkResolver
    from console.system.store.sample_cache import SampleCache


MAX_OBSERVATION_AGE_S = 60.0
"""Maximum age of an observation that another monitor reuses. A liveness check finds instances that
died since then. `ProcessScanner` detects new processes, and then all roles are observed."""
MAX_LIVENESS_CHECKS = 32
"""Maximum number of instances that are checked for liveness without a scan of all processes."""


class Observation(Record, frozen=True):
    """The instances and leases of one role at one moment."""

    role: Role
    instances: tuple[Instance, ...]
    leases: tuple[Lease, ...]
    moment: Moment
    look_alikes: tuple[LookAlike, ...] = ()
    """Processes that run the role's script but do not count as instances."""

    @property
    def worst_lease(self) -> Lease:
        """The lease in the worst state; a role has one lease for each wanted instance."""
        worst = (LeaseState.UNKNOWN, LeaseState.REPLACED, LeaseState.ORPHANED, LeaseState.HELD)
        for state in worst:
            for role_lease in self.leases:
                if role_lease.state is state:
                    return role_lease
        return self.leases[0]


class EventFields(TypedDict, total=False):
    """The fields of an event that a writer may give; the others have the defaults of `Event`."""

    role: str
    actor: str
    reason: str
    identity: Identity | None
    token: int | None
    data: Mapping[str, Any]


class Box:
    """The context of one box for monitors, guard and runtime."""

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        store: Store,
        config_path: Path | None = None,
        table: process_table.ProcessTable | None = None,
        usage_meter: UsageMeter | None = None,
        link_resolver: LinkResolver | None = None,
        sample_cache: SampleCache | None = None,
    ) -> None:
        self.settings = settings
        self.paths = paths
        self.store = store
        self.config_path = config_path
        self.table = process_table.ProcessTable() if table is None else table
        self.usage_meter = UsageMeter() if usage_meter is None else usage_meter
        self.link_resolver = link_resolver
        self.sample_cache = sample_cache
        self._roles: tuple[Role, ...] = ()
        self._last_observations: dict[str, Observation] = {}
        """Role -> last observation. The next one rereads the state of these processes."""
        self.outbox = EventOutbox(self.store)
        self.watched_config = WatchedConfig(self.config_path, self.settings)
        secret_redaction.set_extra_redactor(_redaction_patterns(self.settings))

    @property
    def name(self) -> str:
        """The unique name of this box on the machine: its state directory."""
        return str(self.paths.state)

    @property
    def host(self) -> str:
        return os.uname().nodename

    @property
    def outputs_dir(self) -> Path:
        """The directory of the automation's status files."""
        configured = self.settings.outputs
        return Path(os.path.expanduser(configured)) if configured else self.paths.state / "outputs"

    @property
    def outside_directory(self) -> OutsideDirectory:
        """The interface for writes and reads below `outputs`."""
        from console.system.files.outside_files import (
            OutsideDirectory,  # observers of processes do not need it
        )

        users = (role_user_id(role) for role in self.roles if role.user is not None)
        return OutsideDirectory(self.outputs_dir, frozenset(uid for uid in users if uid >= 0))

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of the box, cached: each observation, evaluation and snapshot uses them."""
        if not self._roles:
            self._roles = self.settings.all_roles()
        return self._roles

    def reconfigure(self, settings: Settings) -> None:
        """Apply other settings."""
        secret_redaction.set_extra_redactor(_redaction_patterns(settings))
        self.settings, self._roles = settings, ()
        self.config_path = self.watched_config.path

    def find_role(self, name: str) -> Role | None:
        """Return the role called `name`, or None."""
        if name == daemon_role.ROLE_NAME:
            return daemon_role.build_role(self.paths.state, self.config_path)
        return next((role for role in self.settings.all_roles() if role.name == name), None)

    def now(self) -> Moment:
        """Return the current moment."""
        return clock.now()

    # --- observation -----------------------------------------------------------------------

    def observe(
        self, roles: Sequence[Role], full: bool = False, own_slot: int | None = None
    ) -> list[Observation]:
        """Observe the instances and leases of the roles. Raises ProcessError.

        The state of each reported process is current. Only a `full` observation detects a process
        seen earlier that runs another program now. `own_slot`: the slot whose lease the caller
        holds.
        """
        instances = (
            instance
            for observation in tuple(self._last_observations.values())
            for instance in observation.instances
        )
        refresh_pids = (pid for instance in instances for pid in instance.pids)
        all_roles = [self._resolve_links(role) for role in self._with_own_roles(roles)]
        survey = take_survey(self.table, all_roles, self.name, refresh_pids, full)
        observations = [self._observe_role(role, survey, own_slot) for role in roles]
        self._last_observations.update(
            (observation.role.name, observation) for observation in observations
        )
        return observations

    def _with_own_roles(self, extra_roles: Iterable[Role]) -> tuple[Role, ...]:
        """Return the roles of the box and `extra_roles`: a process belongs to one role only."""
        more = (role for role in extra_roles if role not in self.roles)
        return (*self.roles, *more)

    def take_full_survey(self) -> Survey:
        """Take a survey of all processes, with all details reread. Raises ProcessError."""
        return take_survey(
            self.table, [*map(self._resolve_links, self.roles)], self.name, full=True
        )

    def _observe_role(self, role: Role, survey: Survey, own_slot: int | None) -> Observation:
        slots = range(max(1, role.count))
        leases = [self._read_lease(role, slot, slot == own_slot) for slot in slots]
        instances = survey.find_instances(role)
        for index, item in enumerate(leases):
            instances, leases[index] = attribute_lease(role, instances, item, survey)
        instances = [self._without_queue_processes(item, survey) for item in instances]
        instances.sort(key=lambda instance: (instance.identity.ticks, instance.pid))
        look_alikes = survey.find_look_alikes(role, instances)
        return Observation(role, tuple(instances), tuple(leases), self.now(), look_alikes)

    def _resolve_links(self, role: Role) -> Role:
        """Return the role with its symbolic links resolved, if it names a directory."""
        if role.match_cwd is None and "/" not in role.match:
            return role
        if self.link_resolver is None:
            from console.system.files.symbolic_links import LinkResolver

            self.link_resolver = LinkResolver()
        return self.link_resolver.resolve_role(role)

    def _without_queue_processes(self, instance: Instance, survey: Survey) -> Instance:
        """Return the instance without the descendants of its root that hold the queue's port."""
        if len(instance.pids) == 1:
            return instance
        from console.system.processes.port_owners import (
            find_queue_port_holders,  # most workers are one process
        )

        holders = find_queue_port_holders(instance.role, self.settings.queue.url, instance.pids)
        if not holders:
            return instance
        members = [process.identity for process in instance.processes]
        kept = set(survey.without_protected(members, instance.pid, instance.role, holders))
        processes = tuple(process for process in instance.processes if process.identity in kept)
        return replace(instance, processes=processes)

    def _read_lease(self, role: Role, slot: int, held_by_caller: bool) -> Lease:
        name = slot_name(role, slot)
        return lease.read_lease(self.paths.lease(name), self.paths.owner(name), held_by_caller)

    async def find_instances(self, role_name: str) -> tuple[Instance, ...]:
        """Return the instances of a role: the recent ones if all are alive, else new ones.

        Raises ProcessError.
        """
        role, last = self.find_role(role_name), self._last_observations.get(role_name)
        if role is None:
            return ()
        if last is not None and self._is_still_valid(last):
            return last.instances
        observed = await run_in_thread(self.observe, [role])
        return observed[0].instances

    def _is_still_valid(self, observation: Observation) -> bool:
        """Return True if the observation is recent and has instances that are all alive.

        The check is fast and needs no thread.
        """
        roots = [instance.identity for instance in observation.instances]
        recent = self.now().since(observation.moment) <= MAX_OBSERVATION_AGE_S
        return (
            recent
            and 0 < len(roots) <= MAX_LIVENESS_CHECKS
            and all(map(process_table.is_alive, roots))
        )

    # --- store -----------------------------------------------------------------------------

    async def read_samples(self, monitor: str, window_s: float) -> list[Sample]:
        """Return a monitor's samples of the last `window_s` seconds, oldest first. StoreError."""
        since = self.now().plus(-window_s)
        return await run_in_thread(self.store.samples, monitor, since)

    async def read_series(
        self, monitor: str, metrics: Sequence[str], window_s: float
    ) -> TimeSeries:
        """Return `metrics` of a monitor's samples of the last `window_s` seconds. StoreError."""
        if self.sample_cache is None:
            from console.system.store.sample_cache import SampleCache

            self.sample_cache = SampleCache(self.store)
        return await run_in_thread(self.sample_cache.window, monitor, metrics, self.now(), window_s)

    async def read_hourly_rollups(self, monitor: str, metric: str, window_s: float) -> list[Rollup]:
        """Return the hourly roll-ups of a metric, oldest first. Raises StoreError."""
        from console.core.metrics.rollups import HOUR_S
        from console.system.store import retention

        since = self.now().at - window_s
        return await run_in_thread(
            retention.read_rollups, self.store, monitor, metric, HOUR_S, since
        )

    def import_certificates(self) -> None:
        """Record the deaths that shims could not record themselves. Raises StoreError."""
        with contextlib.suppress(OSError):
            if names := os.listdir(self.paths.certificates):
                from console.system.shim.death_certificate import import_certificates

                import_certificates(self.store, self.paths.certificates, names)

    def record(self, kind: EventKind, **fields: Unpack[EventFields]) -> int | None:
        """Write an event now, and return its id. Raises StoreError."""
        return self.store.add_event(self._new_event(kind, fields))

    def record_or_queue(self, kind: EventKind, **fields: Unpack[EventFields]) -> None:
        """Write an event about a completed action: now, or when the store accepts writes again."""
        self.outbox.write_or_queue(self._new_event(kind, fields))

    def _new_event(self, kind: EventKind, fields: EventFields) -> Event:
        return Event(kind, self.now(), **fields)


def _redaction_patterns(settings: Settings) -> Callable[[str], str] | None:
    """Return the redaction function of the configured patterns; None without patterns."""
    if not settings.screen.redact:
        return None
    from console.system.config.redaction_patterns import compile_redactor

    return compile_redactor(settings.screen.redact)


def slot_name(role: Role, slot: int) -> str:
    """Return the lease name of a slot: the role's name for slot 0, `NAME.2` for slot 1."""
    return role.name if slot == 0 else f"{role.name}.{slot + 1}"


@contextmanager
def open_box(
    settings: Settings,
    state_dir: Path,
    config_path: Path | None = None,
    ephemeral: bool = False,
    repair: bool = False,
    memory_fallback: bool = False,
) -> Iterator[Box]:
    """Yield a box with its directories created and its store open. Raises PathError, StoreError.

    `ephemeral`: create no file if there is no store yet. `repair`: move a damaged store aside.
    `memory_fallback`: use an in-memory store while the file cannot be opened.
    """
    paths = Paths(state_dir)
    try:
        store_exists = paths.store.exists()
    except OSError as error:
        raise PathError(f"{paths.store}: cannot be read: {error.strerror}") from error
    if ephemeral and not store_exists:
        store = Store(None)
    else:
        paths.create_directories()
        store = Store(paths.store, repair, memory_fallback)
    box = Box(settings, paths, store, config_path)
    if not ephemeral and store.fallback_reason is None:
        with contextlib.suppress(StoreError):
            box.import_certificates()
    try:
        yield box
    finally:
        with contextlib.suppress(Exception):
            box.outbox.flush()
            store.close()
