"""One box: its settings, paths, store and clock, and what can be seen of its roles."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core import secret_redaction
from console.core.frozen import frozen, replace, slotted
from console.core.model import (
    Event,
    EventKind,
    Identity,
    Instance,
    Lease,
    LeaseState,
    LookAlike,
    Moment,
    Role,
    Sample,
)
from console.system import clock, daemon_role
from console.system.accounts import user_id
from console.system.config.schema import Settings
from console.system.config.watched_file import Configured
from console.system.locks import lease
from console.system.paths import PathError, Paths
from console.system.processes import process_table
from console.system.processes.lease_attribution import attribute
from console.system.processes.role_survey import Survey, survey
from console.system.processes.usage import Meter
from console.system.store.event_outbox import Lines
from console.system.store.store import Store, StoreError
from console.system.threads import aside

if TYPE_CHECKING:
    from console.core.metrics.rollups import Rollup
    from console.core.metrics.time_series import Series
    from console.system.files.outside_files import Door
    from console.system.files.symbolic_links import Links
    from console.system.store.sample_cache import Recent


RECENT_S = 60.0
"""So old may be what one monitor has seen for another one to take it over. Who died since is asked
for; who came since is heard of by the sentry, and has all roles looked at."""
FEW = 32
"""Instances that are asked whether they live, without looking at all processes."""


@frozen
class Observation:
    """What was seen of one role at one moment."""

    role: Role
    instances: tuple[Instance, ...]
    leases: tuple[Lease, ...]
    moment: Moment
    others: tuple[LookAlike, ...] = ()
    """Processes that run the role's script and do not count."""

    @property
    def lease(self) -> Lease:
        """The lease that deserves attention most; there is one for each wanted instance."""
        worst = (LeaseState.UNKNOWN, LeaseState.REPLACED, LeaseState.ORPHANED, LeaseState.HELD)
        for state in worst:
            for one in self.leases:
                if one.state is state:
                    return one
        return self.leases[0]


@slotted
class Box:
    """Everything a monitor, the guard or the runtime needs of one box."""

    settings: Settings
    paths: Paths
    store: Store
    config: Path | None = None
    table: process_table.Table = field(default_factory=process_table.Table)
    meter: Meter = field(default_factory=Meter)
    links: Links | None = None
    lines: Lines = field(init=False)
    configured: Configured = field(init=False)
    recent: Recent | None = None
    _roles: tuple[Role, ...] = ()
    _seen: dict[str, Observation] = field(default_factory=dict)
    """What was seen last of each role: the state of those processes is always read afresh."""

    def __post_init__(self) -> None:
        self.lines = Lines(self.store)
        self.configured = Configured(self.config, self.settings)
        secret_redaction.use(_patterns(self.settings))

    @property
    def name(self) -> str:
        """What tells this box from another one on the machine: its state directory."""
        return str(self.paths.state)

    @property
    def host(self) -> str:
        return os.uname().nodename

    @property
    def outputs(self) -> Path:
        """Where the automation's status files are."""
        named = self.settings.outputs
        return Path(os.path.expanduser(named)) if named else self.paths.state / "outputs"

    @property
    def door(self) -> Door:
        """The way to write below `outputs`, and to read there."""
        from console.system.files.outside_files import (
            Door,  # who only looks at processes needs none
        )

        users = (user_id(role) for role in self.roles if role.user is not None)
        return Door(self.outputs, frozenset(uid for uid in users if uid >= 0))

    @property
    def roles(self) -> tuple[Role, ...]:
        """Made once: every look, judgement and picture asks for them."""
        if not self._roles:
            self._roles = self.settings.all_roles()
        return self._roles

    def reconfigure(self, settings: Settings) -> None:
        """Go by other settings from here on."""
        secret_redaction.use(_patterns(settings))
        self.settings, self._roles = settings, ()
        self.config = self.configured.path

    def role(self, name: str) -> Role | None:
        """The role called `name`."""
        if name == daemon_role.NAME:
            return daemon_role.role(self.paths.state, self.config)
        return next((role for role in self.settings.all_roles() if role.name == name), None)

    def now(self) -> Moment:
        """This moment."""
        return clock.now()

    # --- looking ---------------------------------------------------------------------------

    def observe(
        self, roles: Sequence[Role], full: bool = False, ours: int | None = None
    ) -> list[Observation]:
        """Instances and leases of the roles. Raises ProcessError.

        Whoever is seen is seen as he is now. An old process that has become another program is
        missed unless the look is `full`. `ours`: the slot whose lease the caller has taken.
        """
        known = (i for one in tuple(self._seen.values()) for i in one.instances)
        again = (pid for one in known for pid in one.pids)
        every = [self._resolved(role) for role in self._all_roles(roles)]
        seen = survey(self.table, every, self.name, again, full)
        found = [self._observe(role, seen, ours) for role in roles]
        self._seen.update((one.role.name, one) for one in found)
        return found

    def _all_roles(self, roles: Iterable[Role]) -> tuple[Role, ...]:
        """The roles of the box and the given ones: what one role has is no other's."""
        more = (role for role in roles if role not in self.roles)
        return (*self.roles, *more)

    def survey(self) -> Survey:
        """Look at all processes in full. Raises ProcessError."""
        return survey(self.table, [*map(self._resolved, self.roles)], self.name, full=True)

    def _observe(self, role: Role, seen: Survey, ours: int | None) -> Observation:
        slots = range(max(1, role.count))
        leases = [self._lease(role, slot, slot == ours) for slot in slots]
        found = seen.instances(role)
        for index, one in enumerate(leases):
            found, leases[index] = attribute(role, found, one, seen)
        found = [self._outside_queue(one, seen) for one in found]
        found.sort(key=lambda instance: (instance.identity.ticks, instance.pid))
        others = seen.look_alikes(role, found)
        return Observation(role, tuple(found), tuple(leases), self.now(), others)

    def _resolved(self, role: Role) -> Role:
        """The role with the targets of its symbolic links, if it names any directory."""
        if role.match_cwd is None and "/" not in role.match:
            return role
        if self.links is None:
            from console.system.files.symbolic_links import Links

            self.links = Links()
        return self.links.resolve(role)

    def _outside_queue(self, instance: Instance, seen: Survey) -> Instance:
        """The instance without the processes below its root that hold the queue's port."""
        if len(instance.pids) == 1:
            return instance
        from console.system.processes.port_owners import (
            port_holders,  # most workers are one process
        )

        holders = port_holders(instance.role, self.settings.queue.url, instance.pids)
        if not holders:
            return instance
        members = [one.identity for one in instance.processes]
        kept = set(seen.kept(members, instance.pid, instance.role, holders))
        whole = tuple(one for one in instance.processes if one.identity in kept)
        return replace(instance, processes=whole)

    def _lease(self, role: Role, slot: int, ours: bool) -> Lease:
        name = slot_name(role, slot)
        return lease.look(self.paths.lease(name), self.paths.owner(name), ours)

    async def instances(self, role_name: str) -> tuple[Instance, ...]:
        """The instances of a role: those seen a moment ago if they live, else looked for now.

        Raises ProcessError.
        """
        role, known = self.role(role_name), self._seen.get(role_name)
        if role is None:
            return ()
        if known is not None and self._still_holds(known):
            return known.instances
        observed = await aside(self.observe, [role])
        return observed[0].instances

    def _still_holds(self, known: Observation) -> bool:
        """Whether a look found somebody not long ago, and they all live: asked without a thread."""
        roots = [one.identity for one in known.instances]
        recent = self.now().since(known.moment) <= RECENT_S
        return recent and 0 < len(roots) <= FEW and all(map(process_table.alive, roots))

    # --- remembering -----------------------------------------------------------------------

    async def history(self, monitor: str, since_s: float) -> list[Sample]:
        """A monitor's samples of the last `since_s` seconds, oldest first. Raises StoreError."""
        since = self.now().plus(-since_s)
        return await aside(self.store.samples, monitor, since)

    async def window(self, monitor: str, keys: Sequence[str], length_s: float) -> Series:
        """The last `length_s` seconds of a monitor's looks, only these figures. StoreError."""
        if self.recent is None:
            from console.system.store.sample_cache import Recent

            self.recent = Recent(self.store)
        return await aside(self.recent.window, monitor, keys, self.now(), length_s)

    async def hours(self, monitor: str, field: str, since_s: float) -> list[Rollup]:
        """A field's past hours, rolled up, oldest first. Raises StoreError."""
        from console.core.metrics.rollups import HOUR_S
        from console.system.store import retention

        since = self.now().at - since_s
        return await aside(retention.rollups, self.store, monitor, field, HOUR_S, since)

    def take_up_certificates(self) -> None:
        """Write the deaths that shims could not write themselves. Raises StoreError."""
        with contextlib.suppress(OSError):
            if names := os.listdir(self.paths.certificates):
                from console.system.shim.death_certificate import take_up

                take_up(self.store, self.paths.certificates, names)

    def record(self, kind: EventKind, *about: Any) -> int | None:
        """Write a line of the ledger, now: the values of `line`. Raises StoreError."""
        return self.store.add_event(self.line(kind, *about))

    def tell(self, kind: EventKind, *about: Any) -> None:
        """Write a line about what is done: now, or once the store takes it."""
        self.lines.keep(self.line(kind, *about))

    def line(
        self,
        kind: EventKind,
        role: str = "",
        actor: str = "",
        reason: str = "",
        identity: Identity | None = None,
        token: int | None = None,
        data: Mapping[str, object] | None = None,
    ) -> Event:
        """A line of the ledger, of this moment."""
        return Event(kind, self.now(), role, actor, reason, identity, token, data or {})


def _patterns(settings: Settings) -> Callable[[str], str] | None:
    """What the configuration adds to what is redacted."""
    if not settings.screen.redact:
        return None
    from console.system.config.redaction_patterns import compiled

    return compiled(settings.screen.redact)


def slot_name(role: Role, slot: int) -> str:
    """The lease of a role's first instance bears its name; further ones are numbered."""
    return role.name if slot == 0 else f"{role.name}.{slot + 1}"


@contextmanager
def open_box(
    settings: Settings,
    state: Path,
    config: Path | None = None,
    ephemeral: bool = False,
    mends: bool = False,
    stands_in: bool = False,
) -> Iterator[Box]:
    """A box, its directories made and its store open. Raises PathError, StoreError.

    `ephemeral`: look only, leave no file behind when there is no store yet. `mends`: a damaged
    store is moved aside. `stands_in`: a store that cannot be opened is one in memory meanwhile.
    """
    paths = Paths(state)
    try:
        begun = paths.store.exists()
    except OSError as error:
        raise PathError(f"{paths.store}: cannot be read: {error.strerror}") from error
    if ephemeral and not begun:
        store = Store(None)
    else:
        paths.prepare()
        store = Store(paths.store, mends, stands_in)
    box = Box(settings, paths, store, config)
    if not ephemeral and store.trouble is None:
        with contextlib.suppress(StoreError):
            box.take_up_certificates()
    try:
        yield box
    finally:
        with contextlib.suppress(Exception):
            box.lines.catch_up()
            store.close()
