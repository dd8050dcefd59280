"""Registers the workers that all boxes of one user run or have adopted on this machine.

The life lock belongs to a state directory, and one user may have several. Each worker therefore has
a record in one directory whose path depends on the user alone, not on `HOME`, the configuration or
the state directory of a command. The record is written before the worker's program starts. It
contains the worker's identity, so a worker that changes its command line is still found.

The directory is below the home directory from the password database, because other users can
neither create nor replace it there. An abstract socket was tried instead and rejected: any user can
bind the name first, and by releasing it at the right moment make two callers use different names.
Without a usable home directory, `/tmp/rpa-console-UID` is used; if that is not usable either,
workers are found in the process table alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.records import Record
from console.system.accounts import role_user_id
from console.system.processes import procfs

DIRECTORY_NAME = "rpa-console-workers"
MAX_RECORD_BYTES = 16_384
MAX_RECORDS = 10_000


class WorkerRecord(Record, frozen=True):
    """A worker that a box of this user runs or has adopted."""

    identity: Identity
    box: str
    """The state directory."""
    role: str
    rule: str
    """The role's matching rule, see `matching_rule`."""
    token: int | None = None
    """None if the worker was adopted."""


def matching_rule(role: Role) -> str:
    """Return the role's matching rule as JSON, which is equal for roles with equal rules."""
    user = role_user_id(role)
    parts = [role.match, role.match_args, role.match_cwd, sorted(role.match_env.items()), user]
    return json.dumps(parts, ensure_ascii=False)


# --- the directory --------------------------------------------------------------------------


def directory() -> Path | None:
    """Return the directory of this user's records, created if missing; None if none is usable."""
    return next(filter(_is_usable, candidate_directories(os.geteuid())), None)


def candidate_directories(uid: int) -> list[Path]:
    """Return the directories that may contain a user's records, the preferred one first."""
    directories = [Path(f"/tmp/rpa-console-{uid}")]
    if home := _local_home(uid):
        directories.insert(0, Path(home) / ".local" / "state" / DIRECTORY_NAME)
    return directories


def _local_home(uid: int) -> str | None:
    """Return the user's home directory from the password database.

    Return None if there is none, or if it is on a network file system.
    """
    import pwd

    from console.system.paths import network_filesystem

    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        return None
    if not os.path.isabs(home) or network_filesystem(Path(home), resolve=False):
        return None
    return home


def _is_usable(records_dir: Path) -> bool:
    """Return True if the directory is writable and this user's alone. Create it if missing."""
    try:
        records_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = records_dir.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if status.st_mode & 0o077:
        with contextlib.suppress(OSError):
            records_dir.chmod(0o700)
    return os.access(records_dir, os.W_OK)


# --- records --------------------------------------------------------------------------------


def read_live_records(records_dir: Path | None = None) -> tuple[WorkerRecord, ...]:
    """Return the records of all living workers."""
    records_dir = records_dir or directory()
    if records_dir is None:
        return ()
    records = []
    for path in _record_paths(records_dir):
        record = _read_record(path)
        if record is not None and procfs.is_alive(record.identity):
            records.append(record)
    return tuple(records)


def _record_paths(records_dir: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(records_dir) if name.endswith(".json"))
    except OSError:
        return []
    return [records_dir / name for name in names[:MAX_RECORDS]]


def _read_record(path: Path) -> WorkerRecord | None:
    """Return the record in a file, or None if the file contains none."""
    try:
        return _parse_record(
            json.loads(procfs.read_proc_file(str(path), MAX_RECORD_BYTES).decode())
        )
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _parse_record(value: object) -> WorkerRecord:
    """Return the record. Raises KeyError, TypeError or ValueError."""
    if not isinstance(value, Mapping):
        raise TypeError
    token = value["token"]
    if token is not None and not isinstance(token, int):
        raise TypeError
    box, role, rule = (str(value[key]) for key in ("box", "role", "rule"))
    return WorkerRecord(Identity.parse(value["identity"]), box, role, rule, token)


def record_content(role: Role, box: str, token: int | None) -> dict[str, object]:
    """Return a record's content without the identity, which the shim's child adds."""
    return {"box": box, "role": role.name, "rule": matching_rule(role), "token": token}


def register_adopted(role: Role, box: str, identity: Identity) -> None:
    """Write the record of an adopted worker.

    If that fails, the worker is still found by its role's match.
    """
    records_dir = directory()
    if records_dir is None:
        return
    content = {"identity": str(identity), **record_content(role, box, None)}
    with contextlib.suppress(OSError):
        _write_file(records_dir / f"{identity.pid}.{identity.ticks}.json", json.dumps(content))


def read_token(role: Role, box: str, identity: Identity) -> int | None:
    """Return the token with which this box started the worker, as its record states.

    Return None if the worker has no record, was adopted, or belongs to another box or role.
    """
    records_dir = directory()
    if records_dir is None:
        return None
    record = _read_record(records_dir / f"{identity.pid}.{identity.ticks}.json")
    if record is None or (record.identity, record.box, record.role) != (identity, box, role.name):
        return None
    return record.token


def _write_file(path: Path, text: str) -> None:
    """Replace a file atomically. Raises OSError."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    os.replace(draft, path)


def remove_stale_records(records_dir: Path) -> None:
    """Remove the records of processes that are gone. Only PID and start ticks are compared."""

    for path in _record_paths(records_dir):
        pid, _, ticks = path.stem.partition(".")
        stat_fields = procfs.read_stat(int(pid)) if pid.isdigit() else None
        if stat_fields is None or str(stat_fields[2]) != ticks:
            path.unlink(missing_ok=True)
