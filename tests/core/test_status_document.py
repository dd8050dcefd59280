"""A snapshot as text and as a JSON document for scripts."""

from __future__ import annotations

import json

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MetricView, RoleView
from console.core.records import replace
from console.core.status_document import (
    EXIT_CODES,
    event_to_json,
    format_event,
    format_status,
    status_to_json,
)
from screenshots.generator.fixture_night import NOW, healthy_snapshot

HOSTILE = "\x1b]0;pwn\x07[red]\u202e\n"


def hostile() -> Snapshot:
    """Return a snapshot in which every untrusted text contains terminal control sequences."""
    shown = healthy_snapshot()
    roles = tuple(_hostile(view) for view in shown.roles)
    return replace(
        shown, host=HOSTILE, reasons=(HOSTILE,), notices=(HOSTILE,), roles=roles, box=HOSTILE
    )


def _hostile(view: RoleView) -> RoleView:
    process = Process(Identity(5, 5, "boot"), 1, ("python", HOSTILE), NOW.plus(-60))
    return replace(view, reason=HOSTILE, instances=(Instance(view.role.name, (process,)),))


def test_status_document_is_complete_json() -> None:
    document = json.loads(json.dumps(status_to_json(healthy_snapshot()), allow_nan=False))
    assert document["schema"] == 1
    assert list(document)[:6] == ["schema", "host", "box", "at", "verdict", "since"]
    assert document["roles"]
    assert document["monitors"]


def test_status_document_contains_the_baseline_metrics() -> None:
    metric = MetricView("success_rate", 98.2, "%", ">= 95", "pass", 212)
    baseline = BaselineView("collecting", NOW, NOW.plus(3600), 0.31, 0.99, (metric,))
    document = status_to_json(replace(healthy_snapshot(), baseline=baseline))["baseline"]
    assert document["metrics"][0] == {
        "name": "success_rate", "value": 98.2, "unit": "%", "target": ">= 95", "verdict": "pass",
        "n": 212,
    }  # fmt: skip
    assert (document["progress"], document["coverage"]) == (0.31, 0.99)


def test_status_text_starts_with_the_verdict_and_names_all_parts() -> None:
    shown = healthy_snapshot()
    first, *lines = format_status(shown).splitlines()
    assert shown.verdict.value.upper() in first
    text = "\n".join(lines)
    assert all(reason in text for reason in shown.reasons)
    for name in (*(r.role.name for r in shown.roles), *(m.name for m in shown.monitors)):
        assert any(line.startswith(name) for line in lines), name


def test_status_text_escapes_terminal_control_sequences() -> None:
    text = format_status(hostile())
    assert "\\x1b]0;pwn\\x07[red]\\u202e" in text
    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    event = Event(EventKind.NOTICED, NOW, HOSTILE, HOSTILE, HOSTILE)
    assert not set(format_event(event)) & {"\x1b", "\x07", "\u202e", "\n"}


def test_event_formats_as_one_line_and_one_document() -> None:
    identity = Identity(40864, 77, "boot")
    event = Event(
        EventKind.DIED, Moment(0.0), "worker", "shim", "ended by SIGKILL", identity, 3, {"n": 1}, 9
    )
    line = format_event(event)
    for word in ("9", "died", "worker", "PID 40864", "#3", "shim", "ended by SIGKILL"):
        assert word in line
    assert event_to_json(event) == {
        "id": 9, "at": "1970-01-01T00:00:00.000Z", "kind": "died", "role": "worker",
        "actor": "shim", "reason": "ended by SIGKILL", "pid": 40864,
        "identity": "40864:77:boot", "token": 3, "data": {"n": 1},
    }  # fmt: skip


def test_only_a_healthy_verdict_exits_with_zero() -> None:
    assert {verdict: EXIT_CODES[verdict] for verdict in Verdict} == {
        Verdict.HEALTHY: 0, Verdict.DEGRADED: 1, Verdict.DOWN: 1, Verdict.UNKNOWN: 1,
    }  # fmt: skip
