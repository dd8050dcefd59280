"""What happened: the ledger as a person tells it, one line for what belongs together.

A death, its repair and its outcome are one line; a check that was repeated all night is one line
with its count; an alert's line ends with its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from console.core.frozen import frozen
from console.core.inquest import uptime, who
from console.core.model import Event, EventKind, Identity, Moment
from console.core.sentences import sentence
from console.core.text import duration, visible

MONITORS = "monitors"
TOGETHER_S = 900.0
"""Beyond this a start is no answer to a death any more."""
FLAP_S = 600.0
"""Changes of one thing within this time of each other are one line."""
MOST_CHANGES = 4
"""So many of them are told one by one."""


@frozen
class Line:
    """One line of the chronicle."""

    at: Moment
    text: str
    events: tuple[int, ...] = ()
    until: Moment | None = None
    """The last of what the line tells of, where that is another time."""
    count: int = 1


@frozen
class _Episode:
    """A line that is not finished: a death or an end, and what answers it."""

    index: int
    gone: Identity | None
    last: Moment


@dataclass(slots=True)
class _Chronicle:
    lines: list[Line] = field(default_factory=list)
    episodes: dict[str, _Episode] = field(default_factory=dict)
    repeated: dict[str, tuple[object, int]] = field(default_factory=dict)
    """Subject -> (what was said of it last, the line that says it)."""
    alerts: dict[str, int] = field(default_factory=dict)

    def add(self, event: Event, text: str) -> int:
        self.lines.append(Line(event.moment, visible(text, 1000), _ids(event)))
        return len(self.lines) - 1

    def join(self, index: int, event: Event, text: str = "", more: int = 0) -> None:
        """Make this event part of a line: with words of its own, or one more of the same."""
        line = self.lines[index]
        words = f"{line.text}; {visible(text, 500)}" if text else line.text
        ids = (*line.events, *_ids(event))
        until = event.moment if event.moment.at > line.at.at else line.until
        self.lines[index] = replace(
            line, text=words, events=ids, until=until, count=line.count + more
        )


def happened(events: Iterable[Event], since: Moment) -> tuple[Line, ...]:
    """The chronicle of what was written from `since` on, oldest first."""
    told = _Chronicle()
    for event in events:
        if event.moment.at >= since.at:
            _tell(told, event)
    return tuple(told.lines)


def _ids(event: Event) -> tuple[int, ...]:
    return (event.id,) if event.id else ()


def _tell(told: _Chronicle, event: Event) -> None:
    if event.kind in _DAEMON:
        event = replace(event, role=MONITORS)
    for way in (_alert, _change, _episode, _repeat):
        if way(told, event):
            return
    told.repeated.pop(event.role, None)
    index = told.add(event, sentence(event))
    if event.kind in _OPENING:
        told.episodes[event.role] = _Episode(index, event.identity, event.moment)
    if event.kind in (EventKind.STARTED, EventKind.DAEMON_STARTED):
        told.episodes[event.role] = _Episode(index, None, event.moment)


# --- what belongs together ------------------------------------------------------------------

_DAEMON = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
_OPENING = (EventKind.ASKED, EventKind.DIED, EventKind.ENDED, EventKind.DAEMON_STOPPED)
_AFTER = (EventKind.STARTED, EventKind.ADOPTED, EventKind.FAILED, EventKind.PARKED)


def _episode(told: _Chronicle, event: Event) -> bool:
    """Whether the event answers, or is part of, what has just happened to its role."""
    open_ = told.episodes.get(event.role)
    if open_ is None or not event.role or event.moment.since(open_.last) > TOGETHER_S:
        return False
    own = event.identity is not None and event.identity == open_.gone
    words = ""
    if event.kind in (EventKind.DIED, EventKind.ENDED, EventKind.FAILED, *_DAEMON) and own:
        words = _own(event)
    elif event.kind in _DAEMON:
        pass  # the daemon's own word on what guard and shim have said
    elif event.kind is EventKind.STARTED and event.role == MONITORS and open_.gone is None:
        words = f"started by {who(event.actor)} under token {event.token}"
    elif event.kind in _AFTER and open_.gone is not None:
        words = _answer(event, open_.last)
    elif event.kind is EventKind.READY:
        words = "seen to work"
    else:
        return False
    told.repeated.pop(event.role, None)
    told.join(open_.index, event, words)
    gone = None if event.kind in (EventKind.STARTED, EventKind.ADOPTED) else open_.gone
    told.episodes[event.role] = replace(open_, gone=gone, last=event.moment)
    return True


def _own(event: Event) -> str:
    """What another line about the very same process adds."""
    if event.kind is EventKind.DIED:
        return f"died{uptime(event)}: {event.reason}"
    return ""


def _answer(event: Event, died: Moment) -> str:
    late = duration(event.moment.since(died))
    pid = f"PID {event.identity.pid}" if event.identity else event.role
    match event.kind:
        case EventKind.STARTED:
            token = f" under token {event.token}" if event.token is not None else ""
            return f"{who(event.actor)} started {pid}{token} {late} later"
        case EventKind.ADOPTED:
            return f"{pid}, started by somebody else, was adopted {late} later"
        case EventKind.PARKED:
            return f"parked: {event.reason}"
        case _:
            return f"{who(event.actor)} could not start it: {event.reason}"


def _alert(told: _Chronicle, event: Event) -> bool:
    """An alert's end and acknowledgement belong to the line that raised it."""
    key = str(event.data.get("key", ""))
    if event.kind is EventKind.ALERT_RAISED:
        told.alerts[key] = told.add(event, sentence(event))
        return True
    if event.kind not in (EventKind.ALERT_RESOLVED, EventKind.ALERT_ACKNOWLEDGED):
        return False
    index = told.alerts.get(key)
    if index is None:
        return False
    after = duration(event.moment.since(told.lines[index].at))
    word = f"resolved after {after}"
    if event.kind is EventKind.ALERT_ACKNOWLEDGED:
        word = f"acknowledged by {event.actor} after {after}"
    else:
        del told.alerts[key]
    told.join(index, event, word)
    return True


def _repeat(told: _Chronicle, event: Event) -> bool:
    """Whether the event says again what was last said of its subject."""
    if event.kind is EventKind.CONFIRMED:
        same: object = (event.kind, event.identity)
    elif event.kind in (EventKind.REFUSED, EventKind.FAILED, EventKind.NOTICED):
        same = (event.kind, event.reason)
    else:
        return False
    known, index = told.repeated.get(event.role, (None, -1))
    if known == same:
        told.join(index, event, more=1)
    else:
        told.repeated[event.role] = same, told.add(event, sentence(event))
    return True


def _change(told: _Chronicle, event: Event) -> bool:
    """Changes to and fro in a short time are one line: how it went, and how often."""
    if event.kind not in (EventKind.MONITOR_CHANGED, EventKind.VERDICT_CHANGED):
        return False
    subject = f".{event.kind.value} {event.data.get('monitor', '')}"
    _, index = told.repeated.get(subject, (None, -1))
    line = told.lines[index] if index >= 0 else None
    if line is None or event.moment.since(line.until or line.at) > FLAP_S:
        told.repeated[subject] = None, told.add(event, sentence(event))
        return True
    state = str(event.data.get("verdict" if subject.startswith(".verdict") else "state"))
    late = duration(event.moment.since(line.until or line.at))
    words = f"{state} {late} later" if len(line.events) < MOST_CHANGES else ""
    told.join(index, event, words, more=0 if words else 1)
    return True
