"""Records death certificates, which a shim writes as plain data, in the event log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from console.core import secret_redaction
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.time import Moment
from console.core.text.json_values import as_object
from console.system.config import redaction_patterns
from console.system.files.safe_files import FileError, read_json
from console.system.store.store import Store, StoreError

_MAX_OPEN_ATTEMPTS = 3
"""Attempts to open a busy store; each waits five seconds. A death is reported only once."""


def write_certificate(
    store_path: str, certificate: dict[str, Any], patterns: Sequence[str] = ()
) -> None:
    """Record a shim's certificate in the event log. Raises StoreError.

    `patterns`: the redaction patterns of the box's configuration, in addition to the built-in ones.

    The start is recorded first, in case the caller was killed before it recorded the start.
    """
    with contextlib.suppress(ImportError):  # the package may have been removed meanwhile
        secret_redaction.set_extra_redactor(redaction_patterns.compile_redactor(patterns))
    store = _open_store(Path(store_path))
    record_death(store, certificate)
    store.close()


def import_certificates(store: Store, directory: Path, names: Iterable[str]) -> None:
    """Record the certificates in files, and remove the files. Raises StoreError.

    A shim leaves such a file if the store cannot be written or the package was removed. A file that
    cannot be parsed is renamed to `.unreadable`.
    """
    for path in (directory / name for name in names if name.endswith(".json")):
        try:
            certificate = as_object(read_json(path)[0])
            if certificate:
                record_death(store, certificate)
            path.unlink(missing_ok=True)
        except FileError:
            continue  # another process has imported the file
        except (KeyError, TypeError, ValueError):
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))


def record_death(store: Store, certificate: Mapping[str, Any]) -> None:
    """Record a death, and before it the start if that is missing. Raises StoreError."""
    subject: dict[str, Any] = {
        "role": certificate["role"],
        "identity": Identity.parse(certificate["identity"]),
        "token": certificate["token"],
    }
    started = Moment(*certificate["started"])
    store.add_event(Event(EventKind.STARTED, started, actor=certificate["actor"], **subject))
    store.add_event(
        Event(
            EventKind.DIED,
            Moment(*certificate["moment"]),
            actor="shim",
            reason=certificate["reason"],
            data=certificate["data"],
            **subject,
        )
    )


def _open_store(path: Path) -> Store:
    for attempts_left in reversed(range(_MAX_OPEN_ATTEMPTS)):
        try:
            return Store(path)
        except StoreError:
            if not attempts_left:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")
