"""Queue of events about completed actions: written now, or when the store accepts writes again.

An action that an operator requests must not wait for a full disk.
"""

from __future__ import annotations

import threading
from collections import deque

from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import Event, EventKind
from console.core.records import replace
from console.system.store.store import Store, StoreError

MAX_PENDING_EVENTS = 10_000
"""Events kept in memory. Beyond this number, the oldest are dropped."""
_UNIQUE_KINDS = (EventKind.STARTED, EventKind.ADOPTED, EventKind.DIED)
"""The store accepts one event of each of these kinds for an identity."""


def _is_same_event(event: Event, other: Event) -> bool:
    return (event.kind, event.identity) == (other.kind, other.identity)


class EventOutbox:
    """The unwritten events of one process, in order."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.write_error: str | None = None
        """The reason why events are pending."""
        self._pending: deque[Event] = deque(maxlen=MAX_PENDING_EVENTS)
        self._lock = threading.Lock()

    def write_or_queue(self, event: Event) -> None:
        """Write an event, or queue it."""
        with self._lock:
            if event.kind not in _UNIQUE_KINDS or not any(
                _is_same_event(event, pending) for pending in self._pending
            ):
                self._pending.append(event)
        self.flush()

    def pending_events(self, role: str) -> list[Event]:
        """Return the unwritten events of a role."""
        with self._lock:
            return [event for event in self._pending if event.role == role]

    def flush(self) -> None:
        """Write the queued events until the store fails."""
        with self._lock:
            try:
                while self._pending:
                    self.store.add_event(self._pending[0])
                    self._pending.popleft()
                self.write_error = None
            except StoreError as error:
                self.write_error = str(error)

    def add_warning(self, command: Command, outcome: Outcome) -> Outcome:
        """Return the outcome, with a warning if the action is not in the event log."""
        reason = self.write_error or self.store.fallback_reason
        if reason is None:
            return outcome
        after = ", so policy may start it again" if command.verb is Verb.KILL else ""
        return replace(outcome, message=f"{outcome.message}; not in the ledger{after}: {reason}")
