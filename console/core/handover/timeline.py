"""What happened: the ledger as a person tells it, one line for what belongs together.

A death, its repair and its outcome are one line; a check that was repeated all night is one line
with its count. What was made of it, the verdict and an alert, and how it ended, stand in the line
of what happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import field

from console.core.explain.death_case import uptime, who
from console.core.frozen import frozen, replace, slotted
from console.core.handover.event_text import sentence
from console.core.model import Event, EventKind, Identity, Moment
from console.core.text.formatting import duration, visible

MONITORS = "monitors"
TOGETHER_S = 900.0
"""Beyond this a start is no answer to a death any more."""
FLAP_S = 600.0
"""Changes of one thing within this time of each other are one line."""
SAME_S, ALERT_S = 6.0, 120.0
"""So soon after what gave rise to it comes a verdict; an alert, which waits for a second look."""
ALIKE = 20
"""So many first characters of a reason show where it was told before."""
MOST_CHANGES = 4
"""So many of them are told one by one."""


GOOD = ("ok", "healthy")


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


@slotted
class _Chronicle:
    lines: list[Line] = field(default_factory=list)
    episodes: dict[str, _Episode] = field(default_factory=dict)
    repeated: dict[str, tuple[object, int]] = field(default_factory=dict)
    """Subject -> (what was said of it last, the line that says it)."""
    alerts: dict[str, tuple[int, Moment]] = field(default_factory=dict)
    """Key -> the line that tells of it, and when it was raised."""
    touched: deque[tuple[int, Moment]] = field(default_factory=lambda: deque(maxlen=12))
    """The lines that something was last written to, newest last, and when."""

    def add(self, event: Event, text: str) -> int:
        self.lines.append(Line(event.moment, visible(text, 1000), _ids(event)))
        self.touched.append((len(self.lines) - 1, event.moment))
        return len(self.lines) - 1

    def fresh(self, event: Event, within_s: float, reason: str = "") -> int | None:
        """The newest line that was just written to, and tells such a reason."""
        alike = visible(reason)[:ALIKE]
        for index, moment in reversed(self.touched):
            if event.moment.since(moment) <= within_s and alike in self.lines[index].text:
                return index
        return None

    def join(self, index: int, event: Event, text: str = "", more: int = 0) -> None:
        """Make this event part of a line: with words of its own, or one more of the same."""
        line = self.lines[index]
        words = f"{line.text}; {visible(text, 500)}" if text else line.text
        ids = (*line.events, *_ids(event))
        self.touched.append((index, event.moment))
        until = event.moment if event.moment.later_than(line.at) else line.until
        self.lines[index] = replace(
            line, text=words, events=ids, until=until, count=line.count + more
        )


def happened(events: Iterable[Event], since: Moment) -> tuple[Line, ...]:
    """The chronicle of what was written from `since` on, oldest first."""
    told = _Chronicle()
    for event in events:
        if not since.later_than(event.moment):
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
    known = told.fresh(event, SAME_S, event.reason) if event.kind is EventKind.STALLED else None
    if known is not None:  # the verdict has said so
        told.join(known, event)
        return
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
    late = _late(event.moment.since(died))
    pid = f"PID {event.identity.pid}" if event.identity else event.role
    match event.kind:
        case EventKind.STARTED:
            token = f" under token {event.token}" if event.token is not None else ""
            return f"{who(event.actor)} started {pid}{token} {late}"
        case EventKind.ADOPTED:
            return f"{pid}, started by somebody else, was adopted {late}"
        case EventKind.PARKED:
            return f"parked: {event.reason}"
        case _:
            return f"{who(event.actor)} could not start it: {event.reason}"


def _late(seconds: float) -> str:
    return f"{duration(seconds)} later" if seconds >= 1 else "at once"


def _alert(told: _Chronicle, event: Event) -> bool:
    """An alert's end and acknowledgement belong to the line that raised it."""
    key = str(event.data.get("key", ""))
    if event.kind is EventKind.ALERT_RAISED:
        cause = told.fresh(event, ALERT_S, event.reason) if event.reason else None
        if cause is None:
            cause = told.add(event, sentence(event))
        else:
            told.join(cause, event, f"alert: {event.data.get('title')}")
        told.alerts[key] = cause, event.moment
        return True
    if event.kind not in (EventKind.ALERT_RESOLVED, EventKind.ALERT_ACKNOWLEDGED):
        return False
    if key not in told.alerts:
        return False
    index, raised = told.alerts[key]
    after = duration(event.moment.since(raised))
    which = "alert"
    if sum(line == index for line, _ in told.alerts.values()) > 1:
        which = f"alert ({event.data.get('title', key)})"
    word = f"{which} resolved after {after}"
    if event.kind is EventKind.ALERT_ACKNOWLEDGED:
        word = f"{which} acknowledged by {event.actor} after {after}"
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
    """Changes to and fro in a short time, and back to what is good, are one line."""
    if event.kind not in (EventKind.MONITOR_CHANGED, EventKind.VERDICT_CHANGED):
        return False
    subject = f".{event.kind.value} {event.data.get('monitor', '')}"
    state = str(event.data.get("verdict", event.data.get("state")))
    known, index = told.repeated.get(subject, (None, -1))
    last, changes = known if isinstance(known, tuple) else (event.moment, 0)
    late = event.moment.since(last)
    words = f"{state} {duration(late)} later"
    cause = None
    if event.kind is EventKind.VERDICT_CHANGED:
        words = f"the box is {state.upper()} {duration(late)} later"
        cause = told.fresh(event, SAME_S) if not changes or state not in GOOD else None
    if cause is not None and cause != index:
        index, words, changes = cause, _verdict(event, told.lines[cause]), 0
    elif not changes or (late > FLAP_S and state not in GOOD):
        told.repeated[subject] = (event.moment, 1), told.add(event, sentence(event))
        return True
    told.join(index, event, words if changes < MOST_CHANGES else "", int(changes >= MOST_CHANGES))
    told.repeated[subject] = (event.moment, changes + 1), index
    return True


def _verdict(event: Event, cause: Line) -> str:
    """The verdict, with those of its reasons that its cause does not tell."""
    reasons = event.data.get("reasons")
    reasons = [str(one) for one in reasons] if isinstance(reasons, list) else [event.reason]
    new = [one for one in reasons if one.rpartition(": ")[2][:ALIKE] not in cause.text]
    words = f"the box is {str(event.data.get('verdict')).upper()}"
    if event.data.get("verdict") in GOOD or not new:
        return words
    return f"{words}: {'; '.join(new)}"
