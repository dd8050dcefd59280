"""Conversion of samples and events to rows of the store, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.secret_redaction import may_hold_secret, redact, redact_values

SAMPLE_COLUMNS = "id, monitor, at, tick, boot, data, error"
EVENT_COLUMNS = "id, kind, at, tick, boot, role, actor, reason, identity, token, data"
INSERT_EVENT_SQL = (
    "INSERT OR IGNORE INTO events (kind, at, tick, boot, role, actor, reason, identity,"
    " token, data) VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING id"
)
_START_CONDITION, _DEATH_CONDITION = "kind IN ('started', 'adopted')", "kind = 'died'"
UNIQUE_EVENT_CONDITIONS = {
    EventKind.STARTED: _START_CONDITION,
    EventKind.ADOPTED: _START_CONDITION,
    EventKind.DIED: _DEATH_CONDITION,
}
"""Per process, the store has one event that meets each condition: see its unique indices."""
MAX_TEXT_CHARS = 4_000
_EVENT_KINDS = {kind.value: kind for kind in EventKind}
_EMPTY_DATA: Mapping[str, Any] = {}
"""The data of thousands of events without data. They share it, because records are immutable."""


def _redact_text(text: str) -> str:
    """Return text for SQLite: secrets redacted, lone surrogates escaped, of bounded length."""
    return redact(text)[:MAX_TEXT_CHARS].encode("utf-8", "backslashreplace").decode("utf-8")


def encode_sample(sample: Sample) -> tuple[Any, ...]:
    """Return the values of a sample, for the columns after the id."""
    moment = sample.moment
    error = _redact_text(sample.error) if sample.error is not None else None
    return (sample.monitor, moment.at, moment.tick, moment.boot, _encode_data(sample.data), error)


def decode_sample(row: Sequence[Any]) -> Sample:
    """Return the sample in a row of `SAMPLE_COLUMNS`."""
    key, monitor, at, tick, boot, data, error = row
    moment = Moment(at, tick, intern(boot))
    return Sample(intern(monitor), moment, _decode_data(data), error, key)


def encode_event(event: Event) -> tuple[Any, ...]:
    """Return the values of an event, for the columns after the id."""
    moment = event.moment
    return (
        event.kind.value,
        moment.at,
        moment.tick,
        moment.boot,
        event.role,
        _redact_text(event.actor),
        _redact_text(event.reason),
        str(event.identity) if event.identity else None,
        event.token,
        _encode_data(event.data),
    )


def _encode_data(data: Mapping[str, Any]) -> str:
    """Return plain values as JSON, redacted. The slow redaction runs only if a secret is likely."""
    text = json.dumps(data)
    return json.dumps(redact_values(data)) if may_hold_secret(text) else text


def decode_event(row: Sequence[Any]) -> Event:
    """Return the event in a row of `EVENT_COLUMNS`."""
    key, kind, at, tick, boot, role, actor, reason, identity, token, data = row
    return Event(
        kind=_EVENT_KINDS.get(kind, EventKind.NOTICED),
        moment=Moment(at, tick, intern(boot)),
        role=intern(role),
        actor=intern(actor),
        reason=reason,
        identity=_parse_identity(identity),
        token=token,
        data=_decode_data(data),
        id=key,
    )


def _decode_data(text: str) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for a damaged row, so that other rows stay readable."""
    if text == "{}":
        return _EMPTY_DATA
    try:
        value = _decode_json(text)
    except ValueError:
        return _EMPTY_DATA
    if not isinstance(value, dict):
        return _EMPTY_DATA
    return {intern(key): item for key, item in value.items()}  # thousands of samples share keys


def _decode_json(text: str) -> Any:
    """Decode JSON with msgspec, five times as fast as `json`.

    `json` decodes texts that msgspec rejects: NaN and lone surrogates.
    """
    from msgspec.json import decode  # a shim reads no rows, and does not import this

    try:
        return decode(text)
    except ValueError:
        return json.loads(text)


def _parse_identity(text: str | None) -> Identity | None:
    try:
        return Identity.parse(text) if text else None
    except ValueError:
        return None
