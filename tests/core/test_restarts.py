"""What counts as a restart, for every count of them."""

from __future__ import annotations

import pytest

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.supervision.restarts import iter_restarts
from console.core.supervision.role_history import fold_events

ADOPTED, ASKED, DIED = EventKind.ADOPTED, EventKind.ASKED, EventKind.DIED
ENDED, STARTED = EventKind.ENDED, EventKind.STARTED
ROLE = Role("worker", "rpa_worker.py")


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], 0),
        ([STARTED], 0),
        ([ADOPTED, DIED, STARTED], 1),
        ([STARTED, DIED, ADOPTED], 0),
        ([STARTED, ASKED, DIED, ENDED, STARTED], 1),
        ([STARTED, DIED, STARTED, DIED, STARTED], 2),
        ([STARTED, STARTED, STARTED], 0),
    ],
)
def test_the_ledger_and_the_memory_of_a_role_count_alike(
    kinds: list[EventKind], expected: int
) -> None:
    events = [
        Event(kind, Moment(float(at)), "worker", identity=Identity(at, at, "b"), id=at)
        for at, kind in enumerate(kinds)
    ]
    assert len([*iter_restarts(events)]) == fold_events(events, ROLE).restart_count == expected


def test_one_role_is_not_restarted_by_another() -> None:
    events = [Event(DIED, Moment(1.0), "worker"), Event(STARTED, Moment(2.0), "watchdog")]
    assert [*iter_restarts(events)] == []
