"""Pruning of old events. An event may be removed when no fold of the ledger changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core import alerts
from console.core.event_pruning import find_prunable_event_ids
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.records import replace
from console.core.supervision.role_history import POLICY_ACTOR, fold_events

NOW = Moment(2e9, 9e6, "b2")
WORKER = Role("worker", "rpa_worker.py")
K = EventKind


def line(kind: EventKind, role: str = "worker", pid: int | None = None, **more: Any) -> Event:
    boot = more.pop("boot", "b1")
    identity = Identity(pid, pid, boot) if pid is not None else None
    return Event(kind, Moment(1e9), role, identity=identity, **more)


def kept(*lines: Event) -> list[int]:
    """Return the numbers, counted from 1, of the events that pruning keeps."""
    old = [replace(one, id=number) for number, one in enumerate(lines, 1)]
    gone = find_prunable_event_ids(old, [WORKER], NOW)
    return [one.id for one in old if one.id not in gone]


@pytest.mark.parametrize(
    ("lines", "stay"),
    [
        ([line(K.NOTICED), line(K.NOTICED, "")], []),
        ([line(K.STARTED, pid=1), line(K.DIED, pid=1), line(K.STARTED, pid=2)], [2, 3]),
        ([line(K.STARTED, pid=1), line(K.DIED, pid=1), line(K.PARKED)], [1, 2, 3]),
        ([line(K.PARKED), line(K.STARTED, pid=1, actor="cli:ana")], [2]),
        ([line(K.STARTED, pid=1), line(K.ASKED, pid=1, data={"verb": "kill"})], [1, 2]),
        # Both may still run. Without its start event, an instance would be adopted again.
        ([line(K.STARTED, pid=1, boot="b2"), line(K.STARTED, pid=2, boot="b2")], [1, 2]),
        ([line(K.STARTED, "gone", pid=1), line(K.DIED, "gone", pid=1)], [1, 2]),
        ([line(K.VERDICT_CHANGED, ""), line(K.VERDICT_CHANGED, "")], [2]),
        ([line(K.DAEMON_STARTED, ""), line(K.DAEMON_STOPPED, "")], [2]),
        ([line(K.BASELINE_STARTED, ""), line(K.NOTICED, "")], [1]),
        ([line(K.ALERT_RAISED, "", data={"key": "a.b"}),
          line(K.ALERT_ACKNOWLEDGED, "", data={"key": "a.b"}),
          line(K.ALERT_RAISED, "", data={"key": "c.d"}),
          line(K.ALERT_RESOLVED, "", data={"key": "c.d"})], [1, 2]),
    ],
)  # fmt: skip
def test_pruning_keeps_the_events_that_folds_need(lines: list[Event], stay: list[int]) -> None:
    assert kept(*lines) == stay


kinds = [K.STARTED, K.ADOPTED, K.DIED, K.ENDED, K.ASKED, K.CONFIRMED, K.RELEASED, K.FAILED,
         K.PARKED, K.STALLED, K.READY, K.ALERT_RAISED, K.ALERT_RESOLVED,
         K.ALERT_ACKNOWLEDGED, K.NOTICED]  # fmt: skip
ledgers = st.lists(
    st.builds(
        lambda kind, pid, actor, verb, key, ran: line(
            kind, pid=pid, actor=actor, data={"verb": verb, "key": key, "uptime_s": ran}
        ),
        st.sampled_from(kinds),
        st.integers(1, 4),
        st.sampled_from([POLICY_ACTOR, "cli:ana"]),
        st.sampled_from(["kill", "restart", "ensure"]),
        st.sampled_from(["a.b", "c.d"]),
        st.sampled_from([1.0, 4000.0]),
    ),
    max_size=14,
)


@given(ledgers, ledgers)
def test_pruning_leaves_every_fold_unchanged(before: list[Event], after: list[Event]) -> None:
    every = [replace(one, id=number) for number, one in enumerate([*before, *after], 1)]
    old = every[: len(before)]
    gone = find_prunable_event_ids(old, [WORKER], NOW)
    left = [one for one in every if one.id not in gone]

    def memory(events: list[Event]) -> tuple[object, ...]:
        one = fold_events(events, WORKER)
        return one.wanted, one.pending_request, one.parked, one.last_start, one.last_death

    assert memory(left) == memory(every)
    assert alerts.fold_open_alerts(left) == alerts.fold_open_alerts(every)
    assert not set(gone) & set(
        find_prunable_event_ids([one for one in old if one.id not in gone], [WORKER], NOW)
    )
