"""Configuration: one TOML file, checked against a schema, refused with file, key, found, allowed.

Order of precedence: command-line flags, then environment, then the file, then the defaults.
The file is never rewritten: it belongs to the person who wrote it.
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

from console.core.processes.argv_matching import refuse_match, split_match
from console.core.secret_redaction import MASK, redact, secret_name
from console.system.accounts import described
from console.system.config.schema import WELL_KNOWN, Name, Queue, RoleSettings, Settings, msgspec
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError
from console.system.paths import trusted_uids

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
"""Tables in tables; the deepest key that is known is at four."""
RESERVED = "monitors"
_KINDS = {
    stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


class ConfigError(Exception):
    """Unusable configuration: the message names file, key, what was found, what is allowed."""


def load(path: Path | None) -> Settings:
    """The settings in `path`, or the defaults when it is None. Raises ConfigError."""
    return parse(read(path), str(path), path.absolute().parent) if path else Settings()


def read(path: Path) -> dict[str, Any]:
    """The file as TOML tables. A byte order mark is tolerated. Raises ConfigError."""
    try:
        raw = hanging_storage.call(os.path.dirname(path.absolute()), _answer, str(path))
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


def _answer(path: str) -> bytes | str:
    """What the file holds, or why it cannot be used."""
    try:
        return _contents(Path(path))
    except ConfigError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"


def _contents(path: Path) -> bytes:
    """What a regular file of a trusted owner holds. Raises ConfigError, OSError.

    The kind is checked before the file is opened: to open a device can have an effect, to open a
    FIFO waits for a writer.
    """
    _refuse_kind(path, os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        _refuse_kind(path, status.st_mode)
        if reason := refuse_owner(status):
            raise ConfigError(f"{path}: {reason}")
        raw = bytearray()
        while len(raw) <= MAX_BYTES and (chunk := os.read(descriptor, MAX_BYTES + 1 - len(raw))):
            raw += chunk
        return bytes(raw)
    finally:
        os.close(descriptor)


def _refuse_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "special file")
        raise ConfigError(f"{path}: is a {kind}, expected a regular file")


def refuse_owner(status: os.stat_result) -> str | None:
    """Why a configuration of this owner and mode is not obeyed, and the cure; or None.

    Its commands run with the rights of the caller, so every account that can write to the file
    has them.
    """
    uid, mode = status.st_uid, stat.S_IMODE(status.st_mode)
    if uid not in trusted_uids():
        return (
            f"belongs to {described(uid)}, neither to you nor to root, and its commands would run "
            f"with your rights; copy it, or run: chown {os.geteuid()} FILE"
        )
    if mode & 0o002:
        return f"every user may write to it (mode {mode:04o}); run: chmod o-w FILE"
    if mode & 0o020 and os.geteuid() == 0 and status.st_gid != 0:
        return f"a group may write to it (mode {mode:04o}); run: chmod g-w FILE"
    return None


def doubtful_owner(path: Path) -> str | None:
    """What is told of a configuration's mode though it is obeyed; None where nothing is."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if status.st_mode & 0o020 and status.st_gid not in (0, os.getegid()):
        return f"group {status.st_gid} may write to it; run: chmod g-w FILE"
    return None


def parse(tables: Mapping[str, Any], source: str, base: Path | None = None) -> Settings:
    """Settings from TOML tables. Raises ConfigError that names `source` and the key.

    A relative directory in it is one of `base`: the daemon runs elsewhere than its caller.
    """
    _refuse_values(tables, source)
    tables = dict(tables)
    raw_roles = tables.pop("roles", {})
    settings: Settings = _convert(tables, Settings, source, "")
    _check_url(settings.queue.url, source)
    if not isinstance(raw_roles, dict):
        raise ConfigError(f"{source}: roles: expected a table, found {_found(raw_roles)}")
    _check_patterns(settings.screen.redact, source)
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
    outputs, queue = _place(settings.outputs, base), _queue(settings.queue, source, base)
    settings = msgspec.structs.replace(settings, outputs=outputs, queue=queue, roles=roles)
    if roles:
        from console.core.processes.rule_overlap import overlaps

        for reason in overlaps(settings.all_roles()):
            hint = "" if "worker" in roles else " (the role worker is there in any configuration)"
            raise ConfigError(f"{source}: {reason}{hint}")
    return settings


def _queue(queue: Queue, source: str, base: Path | None) -> Queue:
    """The queue server's settings, with at most one kind of credentials."""
    in_url = queue.address != queue.url
    if in_url + (queue.token_env is not None) + (queue.token_file is not None) > 1:
        one = "expected only one of user:password in url, token_env, token_file"
        raise ConfigError(f"{source}: queue: found several credentials; {one}")
    return msgspec.structs.replace(queue, token_file=_place(queue.token_file, base))


def _place(path: str | None, base: Path | None) -> str | None:
    if path is None:
        return None
    expanded = os.path.expanduser(path)
    return str(base / expanded) if base is not None else expanded


def _refuse_values(tables: Mapping[str, Any], source: str) -> None:
    """Refuse what passes every type and limit, and that no key can use.

    TOML has `nan`, and every comparison with it is false. No path, argument or variable can hold a
    NUL. An integer in hexadecimal may have more digits than Python prints.
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
            left += ((f"{key}[{index}]", one, depth + 1) for index, one in enumerate(value))
        elif isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{source}: {key}: expected a number, found nan")
        elif isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{source}: {key}: expected text without NUL, found {_found(value)}")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{source}: {key}: expected a number of 64 bits, found a larger one")


def _check_patterns(patterns: Sequence[str], source: str) -> None:
    """Refuse a pattern that is no regular expression, or that would hide every text."""
    if not patterns:
        return
    from console.system.config.redaction_patterns import refuse_pattern

    for index, pattern in enumerate(patterns):
        if reason := refuse_pattern(pattern):
            raise ConfigError(f"{source}: screen.redact[{index}]: found {pattern!r}: {reason}")


def _check_role(name: str, role: RoleSettings, source: str) -> None:
    """What a type cannot say: a match that would catch everything, a command that is empty."""
    match = role.match or WELL_KNOWN.get(name, "")
    if not match:
        raise ConfigError(
            f"{source}: roles.{name}.match: missing: expected the base name of the role's script"
        )
    if reason := refuse_match(split_match(match)[0]):
        raise ConfigError(f"{source}: roles.{name}.match: found {match!r}: {reason}")
    for table in ("env", "match_env"):
        for variable in getattr(role, table):
            if not variable or "=" in variable:
                raise ConfigError(
                    f"{source}: roles.{name}.{table}: expected a variable's name, "
                    f"found {_found(variable)}"
                )


def _check_url(url: str, source: str) -> None:
    from urllib.parse import urlsplit

    try:
        port = urlsplit(url).port
    except ValueError:  # its words may quote a password that has a slash in it
        wrong = "expected http://HOST:PORT with a port from 1 to 65535"
        raise ConfigError(f"{source}: queue.url: {wrong}, found {_found(url)}") from None
    if port == 0:
        raise ConfigError(f"{source}: queue.url: expected a port from 1 to 65535, found 0")


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
    found = MASK if secret_name(key.rpartition(".")[2]) else _dig(value, where)
    return f"{source}: {key or 'the file'}: {what}, found {_found(found)}"


def _dig(value: Any, path: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
    return value


def _found(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: MASK if secret_name(str(key)) else one for key, one in value.items()}
    text = redact(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _fields(shape: Any, path: str) -> tuple[str, ...]:
    """The keys that the table at `path` may hold."""
    for part in filter(None, path.split(".")):
        shape = get_type_hints(shape)[part]
    return tuple(shape.__struct_fields__)


def schema() -> dict[str, Any]:
    """The configuration's JSON Schema."""
    return msgspec.json.schema(Settings)
