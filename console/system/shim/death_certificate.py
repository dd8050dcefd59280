"""The death certificate's way from the shim's plain data into the ledger."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from console.core import secret_redaction
from console.core.model import Event, EventKind, Identity, Moment
from console.core.text.json_values import table
from console.system.config import redaction_patterns
from console.system.files.safe_files import FileError, read_json
from console.system.store.store import Store, StoreError

_TRIES = 3
"""A busy store is waited for, five seconds each: the worker dies only once."""


def write(store: str, certificate: dict[str, Any], patterns: Sequence[str] = ()) -> None:
    """Append a shim's certificate to the ledger. Raises StoreError.

    `patterns`: what the box's configuration adds to what is redacted.

    The start goes before it, in case whoever asked for it was killed before saying so.
    """
    with contextlib.suppress(ImportError):  # the package may have been removed meanwhile
        secret_redaction.use(redaction_patterns.compiled(patterns))
    ledger = _open(Path(store))
    record(ledger, certificate)
    ledger.close()


def take_up(store: Store, directory: Path, names: Iterable[str]) -> None:
    """Append the certificates that lie in files, and remove the files. Raises StoreError.

    A shim leaves one while the store cannot be written, or the package is not there any more.
    """
    for path in (directory / name for name in names if name.endswith(".json")):
        try:
            paper = table(read_json(path)[0])
            if paper:
                record(store, paper)
            path.unlink(missing_ok=True)
        except FileError:
            continue  # taken up by another process meanwhile
        except (KeyError, TypeError, ValueError):
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))


def record(ledger: Store, certificate: Mapping[str, Any]) -> None:
    """Append a start, if it is not known, and a death. Raises StoreError."""
    about: dict[str, Any] = {
        "role": certificate["role"],
        "identity": Identity.parse(certificate["identity"]),
        "token": certificate["token"],
    }
    started = Moment(*certificate["started"])
    ledger.add_event(Event(EventKind.STARTED, started, actor=certificate["actor"], **about))
    ledger.add_event(
        Event(
            EventKind.DIED,
            Moment(*certificate["moment"]),
            actor="shim",
            reason=certificate["reason"],
            data=certificate["data"],
            **about,
        )
    )


def _open(path: Path) -> Store:
    for left in reversed(range(_TRIES)):
        try:
            return Store(path)
        except StoreError:
            if not left:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")
