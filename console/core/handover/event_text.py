"""One event of the ledger as a sentence for people."""

from __future__ import annotations

from collections.abc import Callable

from console.core.explain.death_case import last_words, uptime, who
from console.core.model import Event, EventKind, Verb

_WORDS = 300


def sentence(event: Event) -> str:
    """A whole sentence for a line that begins with this event."""
    say = _SENTENCES.get(event.kind, _plain)
    return say(event)


def _pid(event: Event) -> str:
    return f"PID {event.identity.pid}" if event.identity else event.role


def _plain(event: Event) -> str:
    words = f"{event.role or event.actor}: {event.kind.value}".lstrip(": ")
    return f"{words}: {event.reason[:_WORDS]}" if event.reason else words


def _started(event: Event) -> str:
    token = f" under token {event.token}" if event.token is not None else ""
    return f"{event.role}: {who(event.actor)} started {_pid(event)}{token}"


def _asked(event: Event) -> str:
    verb = event.data.get("verb")
    what = {Verb.KILL: "ended", Verb.RESTART: "restarted"}.get(verb, "ended as surplus")  # type: ignore[arg-type]
    return f"{event.role}: {_pid(event)} {what} by {who(event.actor)}"


def _died(event: Event) -> str:
    return f"{event.role}: {_pid(event)} died{uptime(event)}: {event.reason}{last_words(event)}"


def _verdict(event: Event) -> str:
    return f"verdict: {str(event.data.get('verdict')).upper()}: {event.reason[:_WORDS]}"


def _monitor(event: Event) -> str:
    """`queue monitor: failing: no answer`: what it says, not what the role does."""
    name, state = str(event.data.get("monitor")), str(event.data.get("state"))
    found = event.reason.removeprefix(f"{name}:").strip()
    words = f"{name} monitor: {state}"
    return f"{words}: {found[:_WORDS]}" if found not in ("", state) else words


_SENTENCES: dict[EventKind, Callable[[Event], str]] = {
    EventKind.STARTED: _started,
    EventKind.ADOPTED: lambda e: f"{e.role}: {_pid(e)} adopted: {e.reason}",
    EventKind.READY: lambda e: f"{e.role}: {_pid(e)} seen to work",
    EventKind.ASKED: _asked,
    EventKind.DIED: _died,
    EventKind.ENDED: lambda e: f"{e.role}: {_pid(e)} ended by {who(e.actor)}: {e.reason}",
    EventKind.CONFIRMED: lambda e: f"{e.role}: looked for and found: {e.reason}",
    EventKind.REFUSED: lambda e: f"{e.role or 'command'}: refused to {e.actor}: {e.reason}",
    EventKind.MONITOR_CHANGED: _monitor,
    EventKind.VERDICT_CHANGED: _verdict,
    EventKind.DAEMON_STARTED: lambda e: f"the monitors' daemon started: {e.reason}",
    EventKind.DAEMON_STOPPED: lambda e: f"the monitors' daemon stopped: {e.reason}",
    EventKind.BASELINE_STARTED: lambda e: f"baseline started by {e.actor} for {e.reason}",
    EventKind.BASELINE_ENDED: lambda e: f"baseline ended by {e.actor}: {e.reason}",
    EventKind.NOTICED: lambda e: e.reason,
    EventKind.ALERT_RAISED: lambda e: f"alert: {e.data.get('title')}: {e.reason}",
    EventKind.ALERT_RESOLVED: lambda e: f"alert resolved: {e.data.get('title')}",
    EventKind.ALERT_ACKNOWLEDGED: lambda e: f"alert acknowledged by {e.actor}: {e.reason}",
}
