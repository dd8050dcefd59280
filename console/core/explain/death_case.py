"""What the ledger says around one death: who asked, what followed, the dead one's last words."""

from __future__ import annotations

from collections.abc import Iterable

from console.core.frozen import frozen
from console.core.model import Event, EventKind, Moment, Role, Verb
from console.core.supervision.state_machine import POLICY
from console.core.text.formatting import duration, visible
from console.core.text.json_values import number

BORN = (EventKind.STARTED, EventKind.ADOPTED)
SENT = ("SIGKILL", "SIGTERM")
"""Signals that a process does not raise by what it does: somebody sends them."""
OOM = "OOM killer"
"""How a shim's certificate names the kernel as the sender."""


@frozen
class Case:
    """A death or a failed start, and what the ledger says around it."""

    role: Role
    ledger: tuple[Event, ...]
    """Of this role, oldest first."""
    focus: Event
    now: Moment
    signs: tuple[Event, ...] = ()
    """What the monitors said before."""

    def same(self, *kinds: EventKind) -> Event | None:
        """The newest line of these kinds about the very process."""
        if self.focus.identity is None:
            return None
        lines = (e for e in reversed(self.ledger) if e.identity == self.focus.identity)
        return next((event for event in lines if event.kind in kinds), None)

    @property
    def asked(self) -> Event | None:
        return self.same(EventKind.ASKED)

    @property
    def failed(self) -> Event | None:
        """The failed start that this death was."""
        if self.focus.kind is EventKind.FAILED:
            return self.focus
        failed = self.same(EventKind.FAILED)
        return failed if failed and failed.data.get("verb") == Verb.ENSURE else None

    @property
    def pid(self) -> str:
        return f"PID {self.focus.identity.pid}" if self.focus.identity else self.role.name

    @property
    def foreign(self) -> str | None:
        """The signal that ended it, where neither the kernel nor one of us has sent it."""
        name = self.focus.data.get("signal")
        if self.asked is not None or name not in SENT or OOM in self.focus.reason:
            return None
        return str(name)

    @property
    def last(self) -> Event:
        """The last death so far: in a row of deaths a later one than the first."""
        later = self.ledger[self.ledger.index(self.focus) + 1 :]
        return next((e for e in reversed(later) if e.kind is EventKind.DIED), self.focus)

    def parked_before(self, event: Event) -> bool:
        """Whether nothing was planned any more when something was asked."""
        parked = self.after(EventKind.PARKED)
        return parked is not None and parked.id < event.id

    def answers(self) -> list[Event]:
        """What was done about it: starts, failed ones, their deaths, parking, calling off."""
        later = self.ledger[self.ledger.index(self.focus) + 1 :]
        later = tuple(e for e in later if e.identity is None or e.identity != self.focus.identity)
        failed = {e.identity for e in later if e.kind is EventKind.FAILED and e.identity}
        kinds = (*BORN, EventKind.FAILED, EventKind.PARKED, EventKind.DIED)
        return [
            event
            for event in later
            if (event.kind in kinds or _calls_off(event))
            and (event.kind is EventKind.FAILED or event.identity not in failed)
        ]

    def after(self, *kinds: EventKind) -> Event | None:
        """The first later line of these kinds about another process."""
        at = self.ledger.index(self.focus)
        for event in self.ledger[at + 1 :]:
            if event.kind in kinds and (event.identity or None) != (self.focus.identity or ()):
                return event
        return None


def _calls_off(event: Event) -> bool:
    """A kill when nothing runs: what was planned is off."""
    killed = event.kind is EventKind.ASKED and event.data.get("verb") == Verb.KILL
    return killed and event.identity is None


def living(ledger: Iterable[Event]) -> list[Event]:
    """The starts and adoptions that no death has followed."""
    alive: dict[object, Event] = {}
    dead: set[object] = set()
    for event in ledger:
        if event.kind in BORN and event.identity not in dead:
            alive[event.identity] = event
        elif event.kind in (EventKind.DIED, EventKind.ENDED):
            dead.add(event.identity)
            alive.pop(event.identity, None)
    return list(alive.values())


def who(actor: str) -> str:
    """An actor in words."""
    return "policy" if actor == POLICY else visible(actor, 80) or "somebody"


def uptime(death: Event, word: str = "after") -> str:
    """How long it had run."""
    ran = number(death.data.get("uptime_s"))
    return f" {word} {duration(ran)}" if ran is not None else ""


def last_words(death: Event) -> str:
    """The last thing that it said on standard error."""
    lines = death.data.get("stderr")
    said = [str(line) for line in lines if str(line).strip()] if isinstance(lines, list) else []
    return f'; it last said "{visible(said[-1].strip(), 120)}"' if said else ""


def ids(*events: Event | None) -> tuple[int, ...]:
    """The lines of the ledger that are evidence."""
    return tuple(sorted({event.id for event in events if event is not None and event.id}))
