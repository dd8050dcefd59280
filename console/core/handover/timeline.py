"""Builds the timeline: merges related events of the event log into one entry.

A death, its repair and its outcome are one entry. A check that was repeated all night is one entry
with a count. The verdict and the alert that follow from an event, and their end, are part of that
event's entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from console.core.explain.death_case import actor_label, uptime_text
from console.core.handover.event_text import describe_event
from console.core.model.events import START_KINDS, Event, EventKind
from console.core.model.processes import Identity
from console.core.model.time import Moment
from console.core.records import Component, Record, field, replace
from console.core.text.formatting import format_duration, sanitize_text

DAEMON_ROLE = "monitors"
MAX_RESPONSE_DELAY_S = 900.0
"""A start later than this after a death is no response to it."""
FLAP_WINDOW_S = 600.0
"""Changes of one subject at most this far apart are one entry."""
MAX_VERDICT_DELAY_S, MAX_ALERT_DELAY_S = 6.0, 120.0
"""A verdict or an alert at most this long after an event belongs to it. An alert is later, because
it needs two samples."""
REASON_PREFIX_CHARS = 20
"""Number of first characters of a reason that identify it in an entry's text."""
MAX_LISTED_CHANGES = 4
"""Changes of one subject that are described one by one; further ones are counted."""


GOOD_STATES = ("ok", "healthy")


class TimelineEntry(Record, frozen=True):
    """One entry of the timeline."""

    at: Moment
    text: str
    event_ids: tuple[int, ...] = ()
    until: Moment | None = None
    """Time of the entry's last event, if it is later than `at`."""
    count: int = 1


class _Incident(Record, frozen=True):
    """An entry that is still open: a death or an end, and the responses to it."""

    entry_index: int
    ended_identity: Identity | None
    last_event_at: Moment


class _TimelineBuilder(Component):
    entries: list[TimelineEntry] = field(default_factory=list)
    incidents: dict[str, _Incident] = field(default_factory=dict)
    last_by_subject: dict[str, tuple[object, int]] = field(default_factory=dict)
    """Subject -> (its last state or event, index of the entry that describes it)."""
    open_alerts: dict[str, tuple[int, Moment]] = field(default_factory=dict)
    """Alert key -> (index of its entry, time when it was raised)."""
    recently_changed: deque[tuple[int, Moment]] = field(default_factory=lambda: deque(maxlen=12))
    """(Entry index, time) of the latest changes to entries, newest last."""

    def add_entry(self, event: Event, text: str) -> int:
        self.entries.append(
            TimelineEntry(event.moment, sanitize_text(text, 1000), _event_ids(event))
        )
        self.recently_changed.append((len(self.entries) - 1, event.moment))
        return len(self.entries) - 1

    def find_recent_entry(self, event: Event, within_s: float, reason: str = "") -> int | None:
        """Return the index of the newest entry changed within `within_s` that contains `reason`.

        None if there is none. Only the first `REASON_PREFIX_CHARS` characters of `reason` are
        compared.
        """
        prefix = sanitize_text(reason)[:REASON_PREFIX_CHARS]
        for index, moment in reversed(self.recently_changed):
            if event.moment.since(moment) <= within_s and prefix in self.entries[index].text:
                return index
        return None

    def merge_into(self, entry_index: int, event: Event, text: str = "", repeats: int = 0) -> None:
        """Add this event to an entry: append `text`, or count `repeats` more of the same."""
        entry = self.entries[entry_index]
        words = f"{entry.text}; {sanitize_text(text, 500)}" if text else entry.text
        ids = (*entry.event_ids, *_event_ids(event))
        self.recently_changed.append((entry_index, event.moment))
        until = event.moment if event.moment.later_than(entry.at) else entry.until
        self.entries[entry_index] = replace(
            entry, text=words, event_ids=ids, until=until, count=entry.count + repeats
        )


def build_timeline(events: Iterable[Event], since: Moment) -> tuple[TimelineEntry, ...]:
    """Return the timeline of the events from `since` on, oldest first."""
    builder = _TimelineBuilder()
    for event in events:
        if not since.later_than(event.moment):
            _add_event(builder, event)
    return tuple(builder.entries)


def _event_ids(event: Event) -> tuple[int, ...]:
    return (event.id,) if event.id else ()


def _add_event(builder: _TimelineBuilder, event: Event) -> None:
    if event.kind in _DAEMON_KINDS:
        event = replace(event, role=DAEMON_ROLE)
    for merge in (_merge_alert, _merge_state_change, _merge_into_incident, _merge_repetition):
        if merge(builder, event):
            return
    builder.last_by_subject.pop(event.role, None)
    recent_index = (
        builder.find_recent_entry(event, MAX_VERDICT_DELAY_S, event.reason)
        if event.kind is EventKind.STALLED
        else None
    )
    if recent_index is not None:  # the verdict's entry has this reason already
        builder.merge_into(recent_index, event)
        return
    index = builder.add_entry(event, describe_event(event))
    if event.kind in _INCIDENT_START_KINDS:
        builder.incidents[event.role] = _Incident(index, event.identity, event.moment)
    if event.kind in (EventKind.STARTED, EventKind.DAEMON_STARTED):
        builder.incidents[event.role] = _Incident(index, None, event.moment)


# --- merging of related events --------------------------------------------------------------

_DAEMON_KINDS = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
_INCIDENT_START_KINDS = (EventKind.ASKED, EventKind.DIED, EventKind.ENDED, EventKind.DAEMON_STOPPED)
_RESPONSE_KINDS = (EventKind.STARTED, EventKind.ADOPTED, EventKind.FAILED, EventKind.PARKED)


def _merge_into_incident(builder: _TimelineBuilder, event: Event) -> bool:
    """Return True if the event was merged into its role's open incident."""
    incident = builder.incidents.get(event.role)
    if (
        incident is None
        or not event.role
        or event.moment.since(incident.last_event_at) > MAX_RESPONSE_DELAY_S
    ):
        return False
    is_same_process = event.identity is not None and event.identity == incident.ended_identity
    words = ""
    if (
        event.kind in (EventKind.DIED, EventKind.ENDED, EventKind.FAILED, *_DAEMON_KINDS)
        and is_same_process
    ):
        words = _same_process_text(event)
    elif event.kind in _DAEMON_KINDS:
        pass  # the daemon's own event repeats those of guard and shim
    elif (
        event.kind is EventKind.STARTED
        and event.role == DAEMON_ROLE
        and incident.ended_identity is None
    ):
        words = f"started by {actor_label(event.actor)} under token {event.token}"
    elif event.kind in _RESPONSE_KINDS and incident.ended_identity is not None:
        words = _response_text(event, incident.last_event_at)
    elif event.kind is EventKind.READY:
        words = "seen to work"
    else:
        return False
    builder.last_by_subject.pop(event.role, None)
    builder.merge_into(incident.entry_index, event, words)
    ended_identity = None if event.kind in START_KINDS else incident.ended_identity
    builder.incidents[event.role] = replace(
        incident, ended_identity=ended_identity, last_event_at=event.moment
    )
    return True


def _same_process_text(event: Event) -> str:
    """Return the text that another event about the same process adds to its entry."""
    if event.kind is EventKind.DIED:
        return f"died{uptime_text(event)}: {event.reason}"
    return ""


def _response_text(event: Event, died_at: Moment) -> str:
    delay = _delay_text(event.moment.since(died_at))
    pid = f"PID {event.identity.pid}" if event.identity else event.role
    match event.kind:
        case EventKind.STARTED:
            token = f" under token {event.token}" if event.token is not None else ""
            return f"{actor_label(event.actor)} started {pid}{token} {delay}"
        case EventKind.ADOPTED:
            return f"{pid}, started by somebody else, was adopted {delay}"
        case EventKind.PARKED:
            return f"parked: {event.reason}"
        case _:
            return f"{actor_label(event.actor)} could not start it: {event.reason}"


def _delay_text(seconds: float) -> str:
    return f"{format_duration(seconds)} later" if seconds >= 1 else "at once"


def _merge_alert(builder: _TimelineBuilder, event: Event) -> bool:
    """Return True if the event was handled here: it raises, resolves or acknowledges an alert.

    The resolution and the acknowledgement are merged into the entry of the raised alert.
    """
    key = str(event.data.get("key", ""))
    if event.kind is EventKind.ALERT_RAISED:
        cause_index = (
            builder.find_recent_entry(event, MAX_ALERT_DELAY_S, event.reason)
            if event.reason
            else None
        )
        if cause_index is None:
            cause_index = builder.add_entry(event, describe_event(event))
        else:
            builder.merge_into(cause_index, event, f"alert: {event.data.get('title')}")
        builder.open_alerts[key] = cause_index, event.moment
        return True
    if event.kind not in (EventKind.ALERT_RESOLVED, EventKind.ALERT_ACKNOWLEDGED):
        return False
    if key not in builder.open_alerts:
        return False
    entry_index, raised = builder.open_alerts[key]
    after = format_duration(event.moment.since(raised))
    label = "alert"
    if sum(index == entry_index for index, _ in builder.open_alerts.values()) > 1:
        label = f"alert ({event.data.get('title', key)})"
    word = f"{label} resolved after {after}"
    if event.kind is EventKind.ALERT_ACKNOWLEDGED:
        word = f"{label} acknowledged by {event.actor} after {after}"
    else:
        del builder.open_alerts[key]
    builder.merge_into(entry_index, event, word)
    return True


def _merge_repetition(builder: _TimelineBuilder, event: Event) -> bool:
    """Return True if the event is of a kind that repeats.

    An event equal to the subject's last one is counted in that entry; any other gets a new entry.
    """
    if event.kind is EventKind.CONFIRMED:
        state: object = (event.kind, event.identity)
    elif event.kind in (EventKind.REFUSED, EventKind.FAILED, EventKind.NOTICED):
        state = (event.kind, event.reason)
    else:
        return False
    last_state, index = builder.last_by_subject.get(event.role, (None, -1))
    if last_state == state:
        builder.merge_into(index, event, repeats=1)
    else:
        builder.last_by_subject[event.role] = state, builder.add_entry(event, describe_event(event))
    return True


def _merge_state_change(builder: _TimelineBuilder, event: Event) -> bool:
    """Return True if the event is a change of a monitor's state or of the verdict.

    Changes back and forth within `FLAP_WINDOW_S`, and a return to a good state, are merged.
    """
    if event.kind not in (EventKind.MONITOR_CHANGED, EventKind.VERDICT_CHANGED):
        return False
    subject = f".{event.kind.value} {event.data.get('monitor', '')}"
    state = str(event.data.get("verdict", event.data.get("state")))
    last_change, index = builder.last_by_subject.get(subject, (None, -1))
    changed_at, changes = last_change if isinstance(last_change, tuple) else (event.moment, 0)
    elapsed_s = event.moment.since(changed_at)
    words = f"{state} {format_duration(elapsed_s)} later"
    cause = None
    if event.kind is EventKind.VERDICT_CHANGED:
        words = f"the box is {state.upper()} {format_duration(elapsed_s)} later"
        cause = (
            builder.find_recent_entry(event, MAX_VERDICT_DELAY_S)
            if not changes or state not in GOOD_STATES
            else None
        )
    if cause is not None and cause != index:
        index, words, changes = cause, _verdict_text(event, builder.entries[cause]), 0
    elif not changes or (elapsed_s > FLAP_WINDOW_S and state not in GOOD_STATES):
        builder.last_by_subject[subject] = (
            (event.moment, 1),
            builder.add_entry(event, describe_event(event)),
        )
        return True
    builder.merge_into(
        index,
        event,
        words if changes < MAX_LISTED_CHANGES else "",
        int(changes >= MAX_LISTED_CHANGES),
    )
    builder.last_by_subject[subject] = (event.moment, changes + 1), index
    return True


def _verdict_text(event: Event, cause_entry: TimelineEntry) -> str:
    """Return the verdict with those of its reasons that the cause's entry does not contain."""
    reasons = event.data.get("reasons")
    reasons = [str(reason) for reason in reasons] if isinstance(reasons, list) else [event.reason]
    new_reasons = [
        reason
        for reason in reasons
        if reason.rpartition(": ")[2][:REASON_PREFIX_CHARS] not in cause_entry.text
    ]
    words = f"the box is {str(event.data.get('verdict')).upper()}"
    if event.data.get("verdict") in GOOD_STATES or not new_reasons:
        return words
    return f"{words}: {'; '.join(new_reasons)}"
