"""Configuration: one TOML file, checked against a schema, refused with file, key, found, allowed.

Order of precedence: command-line flags, then environment, then the file, then these defaults.
The file is never rewritten: it belongs to the person who wrote it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from console.core.instances import refuse_match
from console.core.model import RestartPolicy, Role

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=1, le=100)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
MAX_BYTES = 1_000_000
RESERVED = "monitors"

WELL_KNOWN = {"worker": "rpa_worker.py", "watchdog": "task_watchdog.py"}
"""The roles of a box without configuration, and what they match."""


class ConfigError(Exception):
    """Unusable configuration: the message names file, key, what was found, what is allowed."""


class Queue(Struct, frozen=True, forbid_unknown_fields=True):
    """The queue server."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=2048)] = (
        "http://127.0.0.1:8091"
    )
    timeout_s: Seconds = 3.0


class Restart(Struct, frozen=True, forbid_unknown_fields=True):
    """When a role that died is started again without a person."""

    enabled: bool = True
    backoff_s: Seconds = 5.0
    backoff_max_s: Seconds = 60.0
    limit: Annotated[int, Meta(ge=0, le=1000)] = 3
    window_s: Seconds = 600.0
    healthy_s: Seconds = 60.0
    unpark_s: Seconds = 3600.0


class RoleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One role: how to know its processes, and how to start one."""

    match: Text = ""
    command: list[Text] = []
    cwd: Text | None = None
    env: dict[str, str] = {}
    match_cwd: Text | None = None
    match_env: dict[str, str] = {}
    count: Count = 1
    keep: Literal["oldest", "newest"] = "oldest"
    grace_s: Seconds = 10.0
    settle_s: Annotated[float, Meta(ge=0, le=600)] = 0.5
    restart: Restart = Restart()


class Canary(Struct, frozen=True, forbid_unknown_fields=True):
    """A real task through the queue."""

    enabled: bool = True
    every_s: Seconds = 1800.0
    for_s: Seconds | None = None
    deadline_s: Seconds = 30.0


class Every(Struct, frozen=True, forbid_unknown_fields=True):
    """A monitor that only has an interval."""

    enabled: bool = True
    every_s: Seconds = 10.0


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
    """The realtime pipeline's status: read from another program's file, or collected by us."""

    enabled: bool = True
    every_s: Seconds = 30.0
    stale_s: Seconds = 600.0
    mode: Literal["auto", "read", "collect"] = "auto"
    file: Text = "realtime_pipeline_status.json"


class Monitors(Struct, frozen=True, forbid_unknown_fields=True):
    """The monitors."""

    canary: Canary = Canary()
    worker: Worker = Worker()
    watchdog: Watchdog = Watchdog()
    queue: Every = Every(every_s=10.0)
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
    """How long the store keeps what it holds."""

    samples_days: Annotated[float, Meta(gt=0, le=3650)] = 14.0
    events_days: Annotated[float, Meta(gt=0, le=3650)] = 400.0


class Screen(Struct, frozen=True, forbid_unknown_fields=True):
    """The console's looks."""

    theme: Name = "dark"
    keys: dict[str, Text] = {}


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration."""

    outputs: Text | None = None
    read_only: bool = False
    queue: Queue = Queue()
    roles: dict[Name, RoleSettings] = field(default_factory=dict)
    monitors: Monitors = Monitors()
    baseline: Baseline = Baseline()
    retention: Retention = Retention()
    screen: Screen = Screen()

    def all_roles(self) -> tuple[Role, ...]:
        """The configured roles; worker and watchdog are watched even when nobody named them."""
        named = {**{name: RoleSettings() for name in WELL_KNOWN}, **self.roles}
        return tuple(_role(name, settings) for name, settings in named.items())


def _role(name: str, settings: RoleSettings) -> Role:
    return Role(
        name=name,
        match=settings.match or WELL_KNOWN.get(name, ""),
        command=tuple(settings.command),
        cwd=_expand(settings.cwd),
        env=settings.env,
        match_cwd=_expand(settings.match_cwd),
        match_env=settings.match_env,
        count=settings.count,
        keep=settings.keep,
        grace_s=settings.grace_s,
        settle_s=settings.settle_s,
        policy=RestartPolicy(**msgspec.structs.asdict(settings.restart)),
    )


def _expand(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path is not None else None


def load(path: Path | None) -> Settings:
    """The settings in `path`, or the defaults when it is None. Raises ConfigError."""
    return parse(read(path), str(path)) if path is not None else Settings()


def read(path: Path) -> dict[str, Any]:
    """The file as TOML tables. A byte order mark is tolerated. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes: not a configuration")
        return tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def parse(tables: Mapping[str, Any], source: str) -> Settings:
    """Settings from TOML tables. Raises ConfigError that names `source` and the key."""
    tables = dict(tables)
    raw_roles = tables.pop("roles", {})
    settings: Settings = _convert(tables, Settings, source, "")
    if not isinstance(raw_roles, dict):
        raise ConfigError(f"{source}: roles: expected a table, found {_found(raw_roles)}")
    roles = {}
    for name, table in raw_roles.items():
        prefix = f"roles.{name}"
        if name == RESERVED:
            raise ConfigError(f"{source}: {prefix}: the name is reserved for our own daemon")
        _convert(name, Name, source, prefix)
        role = roles[name] = _convert(table, RoleSettings, source, prefix)
        _check_role(name, role, source)
    return msgspec.structs.replace(settings, roles=roles)


def _check_role(name: str, role: RoleSettings, source: str) -> None:
    """What a type cannot say: a match that would catch everything, a command that is empty."""
    match = role.match or WELL_KNOWN.get(name, "")
    if not match:
        raise ConfigError(
            f"{source}: roles.{name}.match: missing: expected the base name of the role's script"
        )
    if reason := refuse_match(match):
        raise ConfigError(f"{source}: roles.{name}.match: found {match!r}: {reason}")


def _convert(value: Any, shape: Any, source: str, prefix: str) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), value, shape, source, prefix)) from None


def _explain(message: str, value: Any, shape: Any, source: str, prefix: str) -> str:
    """`file: key: what is wrong, found …` from msgspec's `what - at $.path`."""
    what, _, where = message.partition(" - at `")
    where = where.rstrip("`").removeprefix("key in ").removeprefix("$").removeprefix(".")
    key = ".".join(part for part in (prefix, where) if part)
    unknown = re.match(r"Object contains unknown field `(.*)`", what)
    if unknown:
        allowed = ", ".join(_fields(shape, where))
        key = ".".join(filter(None, (key, unknown[1])))
        return f"{source}: {key}: unknown key; allowed: {allowed}"
    found = _dig(value, where)
    return f"{source}: {key or 'the file'}: {what}, found {_found(found)}"


def _dig(value: Any, path: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
    return value


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields(shape: Any, path: str) -> tuple[str, ...]:
    """The keys that the table at `path` may hold."""
    for part in filter(None, path.split(".")):
        shape = get_type_hints(shape)[part]
    return tuple(shape.__struct_fields__)


def schema() -> dict[str, Any]:
    """The configuration's JSON Schema."""
    return msgspec.json.schema(Settings)
