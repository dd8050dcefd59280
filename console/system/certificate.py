"""The death certificate's way from the shim's plain data into the ledger."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console.core import redact
from console.core.model import Event, EventKind, Identity, Moment
from console.system import redaction
from console.system.store import Store, StoreError

_TRIES = 3
"""A busy store is waited for, five seconds each: the worker dies only once."""


def write(store: str, certificate: dict[str, Any], patterns: Sequence[str] = ()) -> None:
    """Append a shim's certificate to the ledger. Raises StoreError.

    `patterns`: what the box's configuration adds to what is redacted.

    The start goes before it, in case whoever asked for it was killed before saying so.
    """
    with contextlib.suppress(ImportError):  # the package may have been removed meanwhile
        redact.use(redaction.compiled(patterns))
    ledger = _open(Path(store))
    about = {
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
    ledger.close()


def _open(path: Path) -> Store:
    for left in reversed(range(_TRIES)):
        try:
            return Store(path)
        except StoreError:
            if not left:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")
