"""Reads the configuration: one TOML file that is checked against a schema.

An error names the file, the key, the value found and the values allowed. Order of precedence:
command-line flags, environment, file, defaults. The file is never rewritten: it belongs to its
author.
"""

from __future__ import annotations

import math
import os
import re
import stat
import tomllib
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from console.core.errors import ConsoleError
from console.core.processes.argv_matching import match_error, split_match
from console.core.secret_redaction import MASK, is_secret_name, redact
from console.system.accounts import describe_account
from console.system.config.schema import (
    DEFAULT_ROLE_SCRIPTS,
    Name,
    Queue,
    RoleSettings,
    Settings,
)
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError
from console.system.paths import trusted_uids

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
"""Levels of nested tables; the deepest known key is at level four."""
RESERVED_ROLE_NAME = "monitors"
_FILE_TYPE_NAMES = {
    stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


class ConfigError(ConsoleError):
    """An unusable configuration. The message names file, key, found value and allowed values."""


def load(path: Path | None) -> Settings:
    """Return the settings in `path`, or the defaults if it is None. Raises ConfigError."""
    return parse(read_toml(path), str(path), path.absolute().parent) if path else Settings()


def read_toml(path: Path) -> dict[str, Any]:
    """Return the file as TOML tables. A byte order mark is tolerated. Raises ConfigError."""
    try:
        raw = hanging_storage.call(os.path.dirname(path.absolute()), _read_or_explain, str(path))
        if isinstance(raw, str):
            raise ConfigError(raw)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes: not a configuration")
        return tomllib.loads(raw.removeprefix(BOM_UTF8).decode())
    except FileError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deeply") from None
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _read_or_explain(path: str) -> bytes | str:
    """Return the content of the file, or the reason as text why it cannot be used."""
    try:
        return _read_trusted_file(Path(path))
    except ConfigError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"


def _read_trusted_file(path: Path) -> bytes:
    """Return the content of a regular file of a trusted owner. Raises ConfigError, OSError.

    The file type is checked before the file is opened: opening a device can have side effects, and
    opening a FIFO waits for a writer.
    """
    _check_regular_file(path, os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        _check_regular_file(path, status.st_mode)
        if reason := owner_refusal(status):
            raise ConfigError(f"{path}: {reason}")
        raw = bytearray()
        while len(raw) <= MAX_BYTES and (chunk := os.read(descriptor, MAX_BYTES + 1 - len(raw))):
            raw += chunk
        return bytes(raw)
    finally:
        os.close(descriptor)


def _check_regular_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _FILE_TYPE_NAMES.get(stat.S_IFMT(mode), "special file")
        raise ConfigError(f"{path}: is a {kind}, expected a regular file")


def owner_refusal(status: os.stat_result) -> str | None:
    """Return the reason why a configuration of this owner and mode is refused, with the remedy.

    Return None if it is accepted. The commands of a configuration run with the rights of the
    caller, so every account that can write to the file has these rights.
    """
    uid, mode = status.st_uid, stat.S_IMODE(status.st_mode)
    if uid not in trusted_uids():
        return (
            f"belongs to {describe_account(uid)}, neither to you nor to root, "
            "and its commands would run "
            f"with your rights; copy it, or run: chown {os.geteuid()} FILE"
        )
    if mode & 0o002:
        return f"every user may write to it (mode {mode:04o}); run: chmod o-w FILE"
    if mode & 0o020 and os.geteuid() == 0 and status.st_gid != 0:
        return f"a group may write to it (mode {mode:04o}); run: chmod g-w FILE"
    return None


def group_write_warning(path: Path) -> str | None:
    """Return a warning about the mode of an accepted configuration; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if status.st_mode & 0o020 and status.st_gid not in (0, os.getegid()):
        return f"group {status.st_gid} may write to it; run: chmod g-w FILE"
    return None


def parse(tables: Mapping[str, Any], source: str, base_directory: Path | None = None) -> Settings:
    """Return the settings in TOML tables. Raises ConfigError that names `source` and the key.

    Relative paths are resolved against `base_directory`, because the daemon runs in another
    directory than its caller.
    """
    _check_values(tables, source)
    tables = dict(tables)
    raw_roles = tables.pop("roles", {})
    settings: Settings = _convert(tables, Settings, source, "")
    _check_url(settings.queue.url, source)
    if not isinstance(raw_roles, dict):
        raise ConfigError(f"{source}: roles: expected a table, found {_describe_value(raw_roles)}")
    _check_patterns(settings.screen.redact, source)
    roles = {}
    for name, table in raw_roles.items():
        prefix = f"roles.{name}"
        if name == RESERVED_ROLE_NAME:
            raise ConfigError(f"{source}: {prefix}: the name is reserved for our own daemon")
        _convert(name, Name, source, prefix)
        role = _convert(table, RoleSettings, source, prefix)
        _check_role(name, role, source)
        cwd, match_cwd = (
            _resolve_path(role.cwd, base_directory),
            _resolve_path(role.match_cwd, base_directory),
        )
        roles[name] = msgspec.structs.replace(role, cwd=cwd, match_cwd=match_cwd)
    outputs, queue = (
        _resolve_path(settings.outputs, base_directory),
        _resolve_queue(settings.queue, source, base_directory),
    )
    settings = msgspec.structs.replace(settings, outputs=outputs, queue=queue, roles=roles)
    if roles:
        from console.core.processes.rule_overlap import find_overlaps

        for reason in find_overlaps(settings.all_roles()):
            hint = "" if "worker" in roles else " (the role worker is there in any configuration)"
            raise ConfigError(f"{source}: {reason}{hint}")
    return settings


def _resolve_queue(queue: Queue, source: str, base_directory: Path | None) -> Queue:
    """Return the queue settings with absolute paths. Raises ConfigError for several credentials."""
    in_url = queue.address != queue.url
    if in_url + (queue.token_env is not None) + (queue.token_file is not None) > 1:
        expected = "expected only one of user:password in url, token_env, token_file"
        raise ConfigError(f"{source}: queue: found several credentials; {expected}")
    return msgspec.structs.replace(
        queue, token_file=_resolve_path(queue.token_file, base_directory)
    )


def _resolve_path(path: str | None, base_directory: Path | None) -> str | None:
    if path is None:
        return None
    expanded = os.path.expanduser(path)
    return str(base_directory / expanded) if base_directory is not None else expanded


def _check_values(tables: Mapping[str, Any], source: str) -> None:
    """Raise ConfigError for values that pass all types and limits, but that no key can use.

    TOML has `nan`, and every comparison with it is false. No path, argument or variable can contain
    a NUL. An integer in hexadecimal may have more digits than Python prints.
    """
    left: list[tuple[str, Any, int]] = [("", tables, 0)]
    while left:
        key, value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise ConfigError(f"{source}: {key[:60]}: nested too deeply")
        if isinstance(value, dict):
            for name, inner in value.items():
                inside = f"{key}.{name}" if key else name
                left += ((inside, name, 0), (inside, inner, depth + 1))
        elif isinstance(value, list):
            left += ((f"{key}[{index}]", item, depth + 1) for index, item in enumerate(value))
        elif isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{source}: {key}: expected a number, found nan")
        elif isinstance(value, str) and "\0" in value:
            raise ConfigError(
                f"{source}: {key}: expected text without NUL, found {_describe_value(value)}"
            )
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{source}: {key}: expected a number of 64 bits, found a larger one")


def _check_patterns(patterns: Sequence[str], source: str) -> None:
    """Raise ConfigError for an invalid pattern, or one that would hide every text."""
    if not patterns:
        return
    from console.system.config.redaction_patterns import pattern_refusal

    for index, pattern in enumerate(patterns):
        if reason := pattern_refusal(pattern):
            raise ConfigError(f"{source}: screen.redact[{index}]: found {pattern!r}: {reason}")


def _check_role(name: str, role: RoleSettings, source: str) -> None:
    """Raise ConfigError for errors that types cannot express: `match` and variable names."""
    match = role.match or DEFAULT_ROLE_SCRIPTS.get(name, "")
    if not match:
        raise ConfigError(
            f"{source}: roles.{name}.match: missing: expected the base name of the role's script"
        )
    if reason := match_error(split_match(match)[0]):
        raise ConfigError(f"{source}: roles.{name}.match: found {match!r}: {reason}")
    for table in ("env", "match_env"):
        for variable in getattr(role, table):
            if not variable or "=" in variable:
                raise ConfigError(
                    f"{source}: roles.{name}.{table}: expected a variable's name, "
                    f"found {_describe_value(variable)}"
                )


def _check_url(url: str, source: str) -> None:
    from urllib.parse import urlsplit

    try:
        port = urlsplit(url).port
    except ValueError:  # its message may contain a password with a slash
        expected = "expected http://HOST:PORT with a port from 1 to 65535"
        raise ConfigError(
            f"{source}: queue.url: {expected}, found {_describe_value(url)}"
        ) from None
    if port == 0:
        raise ConfigError(f"{source}: queue.url: expected a port from 1 to 65535, found 0")


def _convert(value: Any, struct_type: Any, source: str, key_prefix: str) -> Any:
    try:
        return msgspec.convert(value, struct_type)
    except msgspec.ValidationError as error:
        raise ConfigError(
            _validation_message(str(error), value, struct_type, source, key_prefix)
        ) from None


def _validation_message(
    message: str, value: Any, struct_type: Any, source: str, key_prefix: str
) -> str:
    """Return `file: key: error, found …`, from msgspec's `error - at $.path`."""
    error, _, where = message.replace(" | null", "").partition(" - at `")
    where = where.rstrip("`").removeprefix("key in ").removeprefix("$").removeprefix(".")
    key = ".".join(part for part in (key_prefix, where) if part)
    unknown = re.match(r"Object contains unknown field `(.*)`", error, re.DOTALL)
    if unknown:
        allowed = ", ".join(_allowed_keys(struct_type, where))
        key = ".".join(filter(None, (key, unknown[1])))
        return f"{source}: {key}: unknown key; allowed: {allowed}"
    found = MASK if is_secret_name(key.rpartition(".")[2]) else _value_at(value, where)
    return f"{source}: {key or 'the file'}: {error}, found {_describe_value(found)}"


def _value_at(value: Any, path: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
    return value


def _describe_value(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: MASK if is_secret_name(str(key)) else item for key, item in value.items()}
    text = redact(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _allowed_keys(struct_type: Any, path: str) -> tuple[str, ...]:
    """Return the keys that are allowed in the table at `path`."""
    for part in filter(None, path.split(".")):
        struct_type = get_type_hints(struct_type)[part]
    return tuple(struct_type.__struct_fields__)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration."""
    return msgspec.json.schema(Settings)
