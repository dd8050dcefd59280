"""The death certificate's way from the shim's plain data into the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from console.core.model import Event, EventKind, Identity, Moment
from console.system.store import Store


def write(store: str, certificate: dict[str, Any]) -> None:
    """Append a shim's certificate to the ledger. Raises StoreError.

    The start goes before it, in case whoever asked for it was killed before saying so.
    """
    ledger = Store(Path(store))
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
