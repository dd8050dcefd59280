"""Records to rows of the store, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

from console.core.model import Event, EventKind, Identity, Moment, Sample
from console.core.secret_redaction import redact, suspect, values

SAMPLE = "id, monitor, at, tick, boot, data, error"
EVENT = "id, kind, at, tick, boot, role, actor, reason, identity, token, data"
ADD_EVENT = (
    "INSERT OR IGNORE INTO events (kind, at, tick, boot, role, actor, reason, identity,"
    " token, data) VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING id"
)
_START, _DEATH = "kind IN ('started', 'adopted')", "kind = 'died'"
ONCE = {EventKind.STARTED: _START, EventKind.ADOPTED: _START, EventKind.DIED: _DEATH}
"""Of one process there is one line of these, as the indices have it."""
TEXT_LIMIT = 4_000
_KINDS = {kind.value: kind for kind in EventKind}
_NOTHING: Mapping[str, Any] = {}
"""Nobody writes into a record: thousands of lines that tell no more than their reason share it."""


def _clean(text: str) -> str:
    """Text that SQLite can keep: no secrets, lone surrogates escaped, and of bounded length."""
    return redact(text)[:TEXT_LIMIT].encode("utf-8", "backslashreplace").decode("utf-8")


def sample_row(sample: Sample) -> tuple[Any, ...]:
    """The values of a sample, for the columns after the id."""
    moment = sample.moment
    error = _clean(sample.error) if sample.error is not None else None
    return (sample.monitor, moment.at, moment.tick, moment.boot, _document(sample.data), error)


def sample(row: Sequence[Any]) -> Sample:
    """The sample of a row as `SAMPLE` selects it."""
    key, monitor, at, tick, boot, data, error = row
    moment = Moment(at, tick, intern(boot))
    return Sample(intern(monitor), moment, _table(data), error, key)


def event_row(event: Event) -> tuple[Any, ...]:
    """The values of an event, for the columns after the id."""
    moment = event.moment
    return (
        event.kind.value,
        moment.at,
        moment.tick,
        moment.boot,
        event.role,
        _clean(event.actor),
        _clean(event.reason),
        str(event.identity) if event.identity else None,
        event.token,
        _document(event.data),
    )


def _document(data: Mapping[str, Any]) -> str:
    """Plain values as JSON. The text is parsed again only where a secret may be in it."""
    text = json.dumps(data)
    return json.dumps(values(data)) if suspect(text) else text


def event(row: Sequence[Any]) -> Event:
    """The event of a row as `EVENT` selects it."""
    key, kind, at, tick, boot, role, actor, reason, identity, token, data = row
    return Event(
        kind=_KINDS.get(kind, EventKind.NOTICED),
        moment=Moment(at, tick, intern(boot)),
        role=intern(role),
        actor=intern(actor),
        reason=reason,
        identity=_identity(identity),
        token=token,
        data=_table(data),
        id=key,
    )


def _table(text: str) -> Mapping[str, Any]:
    """A JSON object; empty where somebody has damaged the row: one row must not cost them all."""
    if text == "{}":
        return _NOTHING
    try:
        value = _decode(text)
    except ValueError:
        return _NOTHING
    if not isinstance(value, dict):
        return _NOTHING
    return {intern(key): one for key, one in value.items()}  # thousands of samples share them


def _decode(text: str) -> Any:
    """Five times as fast as `json`, which knows more: NaN, and halves of characters."""
    from msgspec.json import decode  # a shim writes rows and reads none: it does without

    try:
        return decode(text)
    except ValueError:
        return json.loads(text)


def _identity(text: str | None) -> Identity | None:
    try:
        return Identity.parse(text) if text else None
    except ValueError:
        return None
