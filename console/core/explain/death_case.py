"""Collects the events around one death: the stop request, the responses, the last stderr line."""

from __future__ import annotations

from collections.abc import Iterable

from console.core.model.commands import Verb
from console.core.model.events import END_KINDS, START_KINDS, Event, EventKind
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.records import Record
from console.core.supervision.state_machine import POLICY_ACTOR
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_number

EXTERNAL_SIGNALS = ("SIGKILL", "SIGTERM")
"""Signals that a process does not raise through its own fault: another process sends them."""
OOM_SENDER = "OOM killer"
"""Name of the kernel as the sender, in the reason of a death that a shim certified."""


class DeathCase(Record, frozen=True):
    """A death or a failed start, with the role's other events."""

    role: Role
    role_events: tuple[Event, ...]
    """The role's events, oldest first."""
    fatal_event: Event
    now: Moment
    stall_events: tuple[Event, ...] = ()
    """The last stall event of the role, or failing canary, before the death; else empty."""

    def same_process_event(self, *kinds: EventKind) -> Event | None:
        """Return the newest event of these kinds about the same process, or None."""
        if self.fatal_event.identity is None:
            return None
        events = (e for e in reversed(self.role_events) if e.identity == self.fatal_event.identity)
        return next((event for event in events if event.kind in kinds), None)

    @property
    def stop_request(self) -> Event | None:
        return self.same_process_event(EventKind.ASKED)

    @property
    def failed_start(self) -> Event | None:
        """Return the event of the failed start that ended in this death, or None."""
        if self.fatal_event.kind is EventKind.FAILED:
            return self.fatal_event
        failure = self.same_process_event(EventKind.FAILED)
        return failure if failure and failure.data.get("verb") == Verb.ENSURE else None

    @property
    def pid_text(self) -> str:
        return (
            f"PID {self.fatal_event.identity.pid}" if self.fatal_event.identity else self.role.name
        )

    @property
    def external_signal(self) -> str | None:
        """Return the name of the signal that ended the process, if an outside process sent it.

        None if the process was asked to stop, if the signal is not in `EXTERNAL_SIGNALS`, or if the
        kernel's OOM killer sent it.
        """
        name = self.fatal_event.data.get("signal")
        if (
            self.stop_request is not None
            or name not in EXTERNAL_SIGNALS
            or OOM_SENDER in self.fatal_event.reason
        ):
            return None
        return str(name)

    @property
    def last_death(self) -> Event:
        """Return the role's newest death, which may be later than `fatal_event`."""
        later = self.role_events[self.role_events.index(self.fatal_event) + 1 :]
        return next((e for e in reversed(later) if e.kind is EventKind.DIED), self.fatal_event)

    def is_parked_before(self, event: Event) -> bool:
        """Return True if the role was parked after the death and before `event`."""
        parked_event = self.later_event(EventKind.PARKED)
        return parked_event is not None and parked_event.id < event.id

    def responses(self) -> list[Event]:
        """Return the responses to the death: starts, failures, deaths, parking, kills."""
        later = self.role_events[self.role_events.index(self.fatal_event) + 1 :]
        later = tuple(
            e for e in later if e.identity is None or e.identity != self.fatal_event.identity
        )
        failed_identities = {e.identity for e in later if e.kind is EventKind.FAILED and e.identity}
        kinds = (*START_KINDS, EventKind.FAILED, EventKind.PARKED, EventKind.DIED)
        return [
            event
            for event in later
            if (event.kind in kinds or _is_restart_cancellation(event))
            and (event.kind is EventKind.FAILED or event.identity not in failed_identities)
        ]

    def later_event(self, *kinds: EventKind) -> Event | None:
        """Return the first later event of these kinds about another process, or None."""
        index = self.role_events.index(self.fatal_event)
        for event in self.role_events[index + 1 :]:
            if event.kind in kinds and (event.identity or None) != (
                self.fatal_event.identity or ()
            ):
                return event
        return None


def _is_restart_cancellation(event: Event) -> bool:
    """Return True if `event` is a kill without an instance: it cancels the planned restart."""
    is_kill = event.kind is EventKind.ASKED and event.data.get("verb") == Verb.KILL
    return is_kill and event.identity is None


def find_living_starts(role_events: Iterable[Event]) -> list[Event]:
    """Return the start and adoption events of instances without a recorded death or end."""
    alive: dict[object, Event] = {}
    dead: set[object] = set()
    for event in role_events:
        if event.kind in START_KINDS and event.identity not in dead:
            alive[event.identity] = event
        elif event.kind in END_KINDS:
            dead.add(event.identity)
            alive.pop(event.identity, None)
    return list(alive.values())


def actor_label(actor: str) -> str:
    """Return the actor as text for the screen, with control characters removed."""
    return "policy" if actor == POLICY_ACTOR else sanitize_text(actor, 80) or "somebody"


def uptime_text(death: Event, prefix: str = "after") -> str:
    """Return the uptime at death as ` after 3h`, or "" if the event has none."""
    uptime_s = as_number(death.data.get("uptime_s"))
    return f" {prefix} {format_duration(uptime_s)}" if uptime_s is not None else ""


def last_stderr_text(death: Event) -> str:
    """Return the last non-blank line of standard error as text, or "" if there is none."""
    lines = death.data.get("stderr")
    nonblank = [str(line) for line in lines if str(line).strip()] if isinstance(lines, list) else []
    return f'; it last said "{sanitize_text(nonblank[-1].strip(), 120)}"' if nonblank else ""


def collect_event_ids(*events: Event | None) -> tuple[int, ...]:
    """Return the sorted ids of the events that are evidence; skip None and events without an id."""
    return tuple(sorted({event.id for event in events if event is not None and event.id}))
