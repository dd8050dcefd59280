"""Lines of the ledger about what is done already: written now, or as soon as the store takes them.

A deed that a person asks for must not wait for a disk that is full.
"""

from __future__ import annotations

import threading
from collections import deque

from console.core.frozen import replace
from console.core.model import Command, Event, EventKind, Outcome, Verb
from console.system.store.store import Store, StoreError

MOST = 10_000
"""Lines kept in memory; beyond that the oldest are given up."""
_ONCE = (EventKind.STARTED, EventKind.ADOPTED, EventKind.DIED)
"""Of each identity the store takes one of these."""


def _same(event: Event, other: Event) -> bool:
    return (event.kind, event.identity) == (other.kind, other.identity)


class Lines:
    """What one process has to say, in its order."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.trouble: str | None = None
        """Why some are not written yet."""
        self._waiting: deque[Event] = deque(maxlen=MOST)
        self._guard = threading.Lock()

    def keep(self, event: Event) -> None:
        """Write a line, or remember it."""
        with self._guard:
            if event.kind not in _ONCE or not any(_same(event, one) for one in self._waiting):
                self._waiting.append(event)
        self.catch_up()

    def waiting(self, role: str) -> list[Event]:
        """What is not written yet of a role."""
        with self._guard:
            return [event for event in self._waiting if event.role == role]

    def catch_up(self) -> None:
        """Write what waits, as far as the store takes it."""
        with self._guard:
            try:
                while self._waiting:
                    self.store.add_event(self._waiting[0])
                    self._waiting.popleft()
                self.trouble = None
            except StoreError as error:
                self.trouble = str(error)

    def caution(self, command: Command, outcome: Outcome) -> Outcome:
        """The outcome, and what a person must know of a deed that the ledger does not know of."""
        why = self.trouble or self.store.trouble
        if why is None:
            return outcome
        after = ", so policy may start it again" if command.verb is Verb.KILL else ""
        return replace(outcome, message=f"{outcome.message}; not in the ledger{after}: {why}")
