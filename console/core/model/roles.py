"""Roles, the rules that identify and start their processes, and their leases."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from console.core.model.processes import Identity
from console.core.model.time import Moment
from console.core.records import Record, field


class RestartPolicy(Record, frozen=True):
    """Rules for the automatic restart of a role that died."""

    enabled: bool = True
    backoff_s: float = 5.0
    backoff_max_s: float = 60.0
    limit: int = 3
    """Maximum number of automatic restarts within `window_s`; then the role is parked."""
    window_s: float = 600.0
    healthy_s: float = 60.0
    """A run of this length resets the back-off."""
    unpark_s: float = 3600.0
    """A healthy run of this length clears the restart history and the parking of a role."""
    stalled: str = "report"
    """Action on a living worker that evidently does no work: `report` or `restart`."""


class Role(Record, frozen=True):
    """A kind of process that should run `count` times, and the rules to identify and start it."""

    name: str
    match: str
    """Base name of the script or program, or a path that ends in it."""
    command: tuple[str, ...] = ()
    """Empty: the role can be observed and ended, but not started."""
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    match_args: tuple[str, ...] = ()
    """Whole words that occur in this order among the script's own arguments."""
    match_cwd: str | None = None
    match_env: Mapping[str, str] = field(default_factory=dict)
    real_match: str | None = None
    """The script's full path with its symbolic links resolved, as of the present observation."""
    real_cwd: str | None = None
    """`match_cwd` with its symbolic links resolved, as of the present observation."""
    user: str | None = None
    """User whose processes count, and as whom one is started; None: the user of this program."""
    scope: str = "user"
    """Users among whose processes `count` applies: `user` for one, `machine` for all."""
    containers: bool = False
    """True if workers in containers on this machine count as well."""
    count: int = 1
    keep: str = "oldest"
    """The instance that is kept when there are too many: `oldest` or `newest`."""
    grace_s: float = 10.0
    """Grace period: seconds from the first signal, which a process can ignore, to SIGKILL."""
    settle_s: float = 0.5
    """Settle time: a new worker counts as started when it has run for longer than this."""
    autostart: bool = True
    """A daemon starts the role when the event log has never recorded it. Needs a `command`."""
    policy: RestartPolicy = RestartPolicy()


class RoleState(StrEnum):
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    """Alive, and not yet observed to work."""
    READY = "READY"
    """Alive, and observed to work since it started."""
    STALLED = "STALLED"
    """Alive, and evidently doing no work."""
    STOPPING = "STOPPING"
    BACKOFF = "BACKOFF"
    PARKED = "PARKED"
    UNKNOWN = "UNKNOWN"


class LeaseState(StrEnum):
    FREE = "free"
    HELD = "held"
    ORPHANED = "orphaned"
    """Held, but its owner is gone: a leftover of the worker keeps the lock."""
    REPLACED = "replaced"
    """The lock file is not the one that was locked: it was removed or replaced."""
    UNKNOWN = "unknown"


class Owner(Record, frozen=True):
    """The record beside the lock: information, not proof.

    The caller writes it when it has taken the lock, and the shim's child before it executes the
    worker's program.
    """

    identity: Identity
    token: int
    since: Moment
    shim: Identity | None = None
    actor: str = ""


class Lease(Record, frozen=True):
    """The right to run a role, as observed without taking the lock."""

    state: LeaseState
    owner: Owner | None = None
    holders: tuple[int, ...] = ()
    """PIDs of the processes that hold the lock's descriptor, shim included."""
    reason: str = ""
