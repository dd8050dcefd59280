"""The schema of the configuration: every table, key, default and limit.

The module does not import `annotations` from `__future__`: msgspec would have to evaluate each
annotation again.
"""

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from console.core.model.roles import RestartPolicy, Role
from console.core.processes.argv_matching import split_match

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=1, le=100)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Pattern = Annotated[str, Meta(min_length=1, max_length=1000)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]

DEFAULT_ROLE_SCRIPTS = {"worker": "rpa_worker.py", "watchdog": "task_watchdog.py"}
"""Default role -> the script that it matches."""


class Queue(Struct, frozen=True, forbid_unknown_fields=True):
    """The queue server."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=2048)] = (
        "http://127.0.0.1:8091"
    )
    timeout_s: Seconds = 3.0
    lease_s: Seconds = 120.0
    token_env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable with a token that is sent as `Authorization: Bearer`."""
    token_file: Text | None = None
    """File with such a token."""

    @property
    def address(self) -> str:
        """The URL without `user:password@`, for requests and for display."""
        scheme, separator, rest = self.url.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


class Restart(Struct, frozen=True, forbid_unknown_fields=True):
    """Automatic restarts of a role that died."""

    enabled: bool = True
    backoff_s: Seconds = 5.0
    backoff_max_s: Seconds = 60.0
    limit: Annotated[int, Meta(ge=0, le=1000)] = 3
    window_s: Seconds = 600.0
    healthy_s: Seconds = 60.0
    unpark_s: Seconds = 3600.0
    stalled: Literal["report", "restart"] = "report"


class RoleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One role: how its processes are recognized and started."""

    match: Text = ""
    command: list[Text] = []
    cwd: Text | None = None
    env: dict[str, str] = {}
    match_args: list[Text] = []
    """Words among the script's arguments, in this order: distinguishes roles with one script."""
    match_cwd: Text | None = None
    match_env: dict[str, str] = {}
    user: Text | None = None
    """The user whose processes match, and as whom root starts one."""
    scope: Literal["user", "machine"] = "user"
    """`machine`: `count` instances among the processes of all users."""
    containers: bool = False
    """True: workers in containers on this machine count as well."""
    count: Count = 1
    keep: Literal["oldest", "newest"] = "oldest"
    grace_s: Seconds = 10.0
    settle_s: Annotated[float, Meta(ge=0, le=600)] = 0.5
    autostart: bool = True
    """True: the daemon starts a role that has never run in this state directory."""
    restart: Restart = Restart()


class Canary(Struct, frozen=True, forbid_unknown_fields=True):
    """A real task through the queue."""

    enabled: bool = True
    every_s: Seconds = 1800.0
    for_s: Seconds | None = None
    deadline_s: Seconds = 30.0
    slow_s: Seconds | None = None
    """A canary slower than this is failing. None: the value from the last good baseline."""


class Every(Struct, frozen=True, forbid_unknown_fields=True):
    """A monitor that only has an interval."""

    enabled: bool = True
    every_s: Seconds = 10.0


class Depth(Every, frozen=True, forbid_unknown_fields=True):
    """Limits of the queue; None: the values from the last good baseline, else 5 and 20."""

    warn_above: Annotated[int, Meta(ge=0)] | None = None
    fail_above: Annotated[int, Meta(ge=0)] | None = None
    success_rate: Annotated[float, Meta(ge=0, le=100)] | None = None


class Worker(Struct, frozen=True, forbid_unknown_fields=True):
    """Instances, leases, CPU and memory."""

    enabled: bool = True
    every_s: Seconds = 300.0


class Watchdog(Struct, frozen=True, forbid_unknown_fields=True):
    """The watchdog's process and its heartbeat."""

    enabled: bool = True
    every_s: Seconds = 30.0
    stale_s: Seconds = 180.0
    file: Text = "watchdog_status_latest.json"


class Pipeline(Struct, frozen=True, forbid_unknown_fields=True):
    """The realtime pipeline's status: read from another program's file, or collected here."""

    enabled: bool = True
    every_s: Seconds = 30.0
    stale_s: Seconds | None = None
    """None: derived from the next runs or the window in the file, else ten minutes."""
    mode: Literal["auto", "read", "collect"] = "auto"
    file: Text = "realtime_pipeline_status.json"


class Monitors(Struct, frozen=True, forbid_unknown_fields=True):
    """The monitors."""

    canary: Canary = Canary()
    worker: Worker = Worker()
    watchdog: Watchdog = Watchdog()
    queue: Depth = Depth()
    pipeline: Pipeline = Pipeline()


class Baseline(Struct, frozen=True, forbid_unknown_fields=True):
    """The normal baseline's length and targets."""

    hours: Annotated[float, Meta(gt=0, le=48)] = 6.0
    success_rate: Annotated[float, Meta(ge=0, le=100)] = 95.0
    latency_s: Seconds = 5.0
    uptime: Annotated[float, Meta(ge=0, le=100)] = 100.0
    queue_size: Annotated[int, Meta(ge=1)] = 10
    restarts: Annotated[int, Meta(ge=0)] = 0
    coverage: Annotated[float, Meta(ge=0, le=100)] = 95.0


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """Retention times of the store. With the defaults, a year takes less than 150 MB.

    Samples take some 7 MB a day, roll-ups by minute 0.4 MB a day, roll-ups by hour 10 kB a day, and
    the event log some 20 kB a day.
    """

    samples_days: Annotated[float, Meta(gt=0, le=3650)] = 14.0
    minutes_days: Annotated[float, Meta(gt=0, le=3650)] = 60.0
    hours_days: Annotated[float, Meta(gt=0, le=3650)] = 400.0
    events_days: Annotated[float, Meta(gt=0, le=3650)] = 400.0


class Alerts(Struct, frozen=True, forbid_unknown_fields=True):
    """The command that is run for alerts."""

    hook: list[Text] = []
    timeout_s: Seconds = 10.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    look_s: Seconds = 5.0


class Screen(Struct, frozen=True, forbid_unknown_fields=True):
    """The console's appearance and input."""

    box: Text | None = None
    """The displayed name of the box; None: its state directory."""
    theme: Name = "dark"
    mouse: bool | Literal["auto"] = "auto"
    """True: the console uses the mouse. `auto`: not over SSH."""
    keys: dict[str, Text] = {}
    redact: Annotated[list[Pattern], Meta(max_length=50)] = []
    """Regular expressions. Their matches are displayed, written and served as `***`."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration."""

    outputs: Text | None = None
    read_only: bool = False
    queue: Queue = Queue()
    roles: dict[Name, RoleSettings] = field(default_factory=dict)
    monitors: Monitors = Monitors()
    baseline: Baseline = Baseline()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()
    screen: Screen = Screen()

    def all_roles(self) -> tuple[Role, ...]:
        """Return the configured roles, with `worker` and `watchdog` added if they are missing.

        The default watchdog is left out if a configured role can match the same process.
        """
        named = {name: _build_role(name, settings) for name, settings in self.roles.items()}
        defaults = {
            name: _build_role(name, RoleSettings())
            for name in DEFAULT_ROLE_SCRIPTS
            if name not in named
        }
        if named and "watchdog" in defaults:
            from console.core.processes.rule_overlap import find_overlap

            if any(find_overlap(defaults["watchdog"], role) for role in named.values()):
                del defaults["watchdog"]
        order = dict.fromkeys((*DEFAULT_ROLE_SCRIPTS, *named))
        return tuple(
            (defaults | named)[name] for name in order if name in defaults or name in named
        )


def _build_role(name: str, settings: RoleSettings) -> Role:
    match, arguments = split_match(settings.match or DEFAULT_ROLE_SCRIPTS.get(name, ""))
    return Role(
        name=name,
        match=match,
        match_args=(*arguments, *settings.match_args),
        command=tuple(settings.command),
        cwd=_expand_home(settings.cwd),
        env=settings.env,
        match_cwd=_expand_home(settings.match_cwd),
        match_env=settings.match_env,
        user=settings.user,
        scope=settings.scope,
        containers=settings.containers,
        count=settings.count,
        keep=settings.keep,
        grace_s=settings.grace_s,
        settle_s=settings.settle_s,
        autostart=settings.autostart,
        policy=RestartPolicy(**msgspec.structs.asdict(settings.restart)),
    )


def _expand_home(path: str | None) -> str | None:
    return os.path.expanduser(path) if path is not None else None
