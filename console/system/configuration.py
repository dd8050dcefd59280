"""Configuration: one TOML file, checked against a schema, refused with file, key, found, allowed.

Order of precedence: command-line flags, then environment, then the file, then the defaults.
The file is never rewritten: it belongs to the person who wrote it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import tomllib
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, get_type_hints

from console.core.frozen import slotted
from console.core.instances import refuse_match
from console.system.settings import WELL_KNOWN, Name, RoleSettings, Settings, msgspec

MAX_BYTES = 1_000_000
RESERVED = "monitors"


class ConfigError(Exception):
    """Unusable configuration: the message names file, key, what was found, what is allowed."""


def load(path: Path | None) -> Settings:
    """The settings in `path`, or the defaults when it is None. Raises ConfigError."""
    return parse(read(path), str(path), path.absolute().parent) if path else Settings()


def read(path: Path) -> dict[str, Any]:
    """The file as TOML tables. A byte order mark is tolerated. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes: not a configuration")
        return tomllib.loads(raw.removeprefix(BOM_UTF8).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def parse(tables: Mapping[str, Any], source: str, base: Path | None = None) -> Settings:
    """Settings from TOML tables. Raises ConfigError that names `source` and the key.

    A relative directory in it is one of `base`: the daemon runs elsewhere than its caller.
    """
    _refuse_nan(tables, source)
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
        role = _convert(table, RoleSettings, source, prefix)
        _check_role(name, role, source)
        cwd, match_cwd = _place(role.cwd, base), _place(role.match_cwd, base)
        roles[name] = msgspec.structs.replace(role, cwd=cwd, match_cwd=match_cwd)
    outputs = _place(settings.outputs, base)
    return msgspec.structs.replace(settings, outputs=outputs, roles=roles)


def _place(path: str | None, base: Path | None) -> str | None:
    if path is None:
        return None
    expanded = os.path.expanduser(path)
    return str(base / expanded) if base is not None else expanded


def _refuse_nan(value: Any, source: str, key: str = "") -> None:
    """TOML has `nan`, which no limit catches: every comparison with it is false."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_nan(inner, source, f"{key}.{name}" if key else name)
    elif isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{source}: {key}: expected a number, found nan")


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
    what, _, where = message.replace(" | null", "").partition(" - at `")
    where = where.rstrip("`").removeprefix("key in ").removeprefix("$").removeprefix(".")
    key = ".".join(part for part in (prefix, where) if part)
    unknown = re.match(r"Object contains unknown field `(.*)`", what, re.DOTALL)
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


# --- the file as it is by now -----------------------------------------------------------------

Stamp = tuple[int, int, int] | None


@slotted
class Configured:
    """The file, read again when it has changed. Nobody obeys it before he is started anew."""

    path: Path | None
    began: Settings
    mistake: str | None = None
    """What is wrong with the file by now, while that is so."""
    _known: tuple[Stamp, Settings] = field(init=False)

    def __post_init__(self) -> None:
        self._known = self._stamp(), self.began

    def look(self) -> Settings:
        """What the file says now; what it said before, when it says nothing that can be used."""
        stamp, settings = self._known
        if (now := self._stamp()) != stamp:
            try:
                settings, self.mistake = load(self.path), None
            except ConfigError as error:
                self.mistake = f"{error}; what it said before counts until it is mended"
            self._known = now, settings
        return settings

    def _stamp(self) -> Stamp:
        if self.path is not None:
            with contextlib.suppress(OSError):
                status = self.path.stat()
                return status.st_mtime_ns, status.st_size, status.st_ino
        return None
