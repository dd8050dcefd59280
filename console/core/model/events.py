"""Events of the event log (the ledger)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from console.core.model.processes import Identity
from console.core.model.time import Moment
from console.core.records import Record, field


class EventKind(StrEnum):
    """The kind of an event, in the past tense."""

    STARTED = "started"
    ADOPTED = "adopted"
    READY = "ready"
    STALLED = "stalled"
    ASKED = "asked"
    """A restart or kill is about to end an instance. Recorded before the first signal."""
    DIED = "died"
    ENDED = "ended"
    """A command ended an instance."""
    CONFIRMED = "confirmed"
    """An ensure command found the wanted state."""
    REFUSED = "refused"
    FAILED = "failed"
    PARKED = "parked"
    RELEASED = "released"
    """Read in old event logs; no current code writes it."""
    MONITOR_CHANGED = "monitor-changed"
    VERDICT_CHANGED = "verdict-changed"
    DAEMON_STARTED = "daemon-started"
    DAEMON_STOPPED = "daemon-stopped"
    BASELINE_STARTED = "baseline-started"
    BASELINE_ENDED = "baseline-ended"
    NOTICED = "noticed"
    ALERT_RAISED = "alert-raised"
    ALERT_RESOLVED = "alert-resolved"
    ALERT_ACKNOWLEDGED = "alert-acknowledged"


START_KINDS = (EventKind.STARTED, EventKind.ADOPTED)
"""An instance runs from this event on, as far as the event log shows."""
END_KINDS = (EventKind.DIED, EventKind.ENDED)
"""An instance has ended."""


class Event(Record, frozen=True):
    """One entry of the append-only event log."""

    kind: EventKind
    moment: Moment
    role: str = ""
    actor: str = ""
    """`policy`, `outside`, or an operator: `console:ana@pts/3`, `cli:ana@pts/3`."""
    reason: str = ""
    identity: Identity | None = None
    token: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0
