"""Describes an event in one sentence, for the operator."""

from __future__ import annotations

from collections.abc import Callable

from console.core.explain.death_case import actor_label, last_stderr_text, uptime_text
from console.core.model.commands import Verb
from console.core.model.events import Event, EventKind

_MAX_REASON_CHARS = 300


def describe_event(event: Event) -> str:
    """Return the sentence of a timeline entry that begins with this event."""
    describe = _DESCRIBERS.get(event.kind, _describe_other)
    return describe(event)


def _pid_text(event: Event) -> str:
    return f"PID {event.identity.pid}" if event.identity else event.role


def _describe_other(event: Event) -> str:
    words = f"{event.role or event.actor}: {event.kind.value}".lstrip(": ")
    return f"{words}: {event.reason[:_MAX_REASON_CHARS]}" if event.reason else words


def _describe_start(event: Event) -> str:
    token = f" under token {event.token}" if event.token is not None else ""
    return f"{event.role}: {actor_label(event.actor)} started {_pid_text(event)}{token}"


def _describe_stop_request(event: Event) -> str:
    verb = event.data.get("verb")
    outcome = {Verb.KILL: "ended", Verb.RESTART: "restarted"}.get(verb, "ended as surplus")  # type: ignore[arg-type]
    return f"{event.role}: {_pid_text(event)} {outcome} by {actor_label(event.actor)}"


def _describe_death(event: Event) -> str:
    return (
        f"{event.role}: {_pid_text(event)} died{uptime_text(event)}: "
        f"{event.reason}{last_stderr_text(event)}"
    )


def _describe_verdict(event: Event) -> str:
    return f"verdict: {str(event.data.get('verdict')).upper()}: {event.reason[:_MAX_REASON_CHARS]}"


def _describe_monitor_change(event: Event) -> str:
    """Return a monitor's change of state: `queue monitor: failing: no answer`.

    The word `monitor` distinguishes it from the role of the same name.
    """
    name, state = str(event.data.get("monitor")), str(event.data.get("state"))
    finding = event.reason.removeprefix(f"{name}:").strip()
    words = f"{name} monitor: {state}"
    return f"{words}: {finding[:_MAX_REASON_CHARS]}" if finding not in ("", state) else words


_DESCRIBERS: dict[EventKind, Callable[[Event], str]] = {
    EventKind.STARTED: _describe_start,
    EventKind.ADOPTED: lambda e: f"{e.role}: {_pid_text(e)} adopted: {e.reason}",
    EventKind.READY: lambda e: f"{e.role}: {_pid_text(e)} seen to work",
    EventKind.ASKED: _describe_stop_request,
    EventKind.DIED: _describe_death,
    EventKind.ENDED: lambda e: (
        f"{e.role}: {_pid_text(e)} ended by {actor_label(e.actor)}: {e.reason}"
    ),
    EventKind.CONFIRMED: lambda e: f"{e.role}: looked for and found: {e.reason}",
    EventKind.REFUSED: lambda e: f"{e.role or 'command'}: refused to {e.actor}: {e.reason}",
    EventKind.MONITOR_CHANGED: _describe_monitor_change,
    EventKind.VERDICT_CHANGED: _describe_verdict,
    EventKind.DAEMON_STARTED: lambda e: f"the monitors' daemon started: {e.reason}",
    EventKind.DAEMON_STOPPED: lambda e: f"the monitors' daemon stopped: {e.reason}",
    EventKind.BASELINE_STARTED: lambda e: f"baseline started by {e.actor} for {e.reason}",
    EventKind.BASELINE_ENDED: lambda e: f"baseline ended by {e.actor}: {e.reason}",
    EventKind.NOTICED: lambda e: e.reason,
    EventKind.ALERT_RAISED: lambda e: f"alert: {e.data.get('title')}: {e.reason}",
    EventKind.ALERT_RESOLVED: lambda e: f"alert resolved: {e.data.get('title')}",
    EventKind.ALERT_ACKNOWLEDGED: lambda e: f"alert acknowledged by {e.actor}: {e.reason}",
}
