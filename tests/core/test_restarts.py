"""The restart count is the same for events and for the role history."""

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
def test_iter_restarts_and_fold_events_count_the_same_restarts(
    kinds: list[EventKind], expected: int
) -> None:
    events = [
        Event(kind, Moment(float(at)), "worker", identity=Identity(at, at, "b"), id=at)
        for at, kind in enumerate(kinds)
    ]
    assert len([*iter_restarts(events)]) == fold_events(events, ROLE).restart_count == expected


def test_start_of_another_role_is_no_restart() -> None:
    events = [Event(DIED, Moment(1.0), "worker"), Event(STARTED, Moment(2.0), "watchdog")]
    assert [*iter_restarts(events)] == []
