"""Snapshots of past moments and the trends of the day before, read from a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner, RoleState
from console.core.model.samples import HealthState, Sample
from console.core.model.snapshot import Verdict
from console.core.model.time import Moment
from console.core.supervision.role_codec import RoleObservation, encode_observation
from console.monitors import discover_monitors
from console.runtime.snapshots.time_travel import TimeTravelReader
from console.system.box import Box, open_box
from console.system.clock import Clock, override_clock
from console.system.config.schema import RoleSettings, Settings

ONE, TWO = Identity(4001, 1_000, "b"), Identity(4002, 2_000, "b")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    roles = {"worker": RoleSettings("rpa_worker.py", ["python", "rpa_worker.py"])}
    with open_box(Settings(roles=roles), tmp_path / "state") as opened:
        yield opened


def instance(identity: Identity, started: Moment) -> Instance:
    process = Process(identity, 1, ("python", "rpa_worker.py"), started)
    return Instance("worker", (process,), leased=True, token=1)


def sample(box: Box, monitor: str, moment: Moment, data: dict) -> None:
    box.store.add_samples([Sample(monitor, moment, data)])


def saw(box: Box, moment: Moment, *instances: Instance) -> None:
    owner = Owner(instances[0].identity, 1, moment) if instances else None
    lease = Lease(LeaseState.HELD, owner) if owner else Lease(LeaseState.FREE)
    roles = {
        "worker": encode_observation(RoleObservation(instances, lease)),
        "watchdog": encode_observation(RoleObservation()),
    }
    sample(box, "worker", moment, {"roles": roles})


def told(box: Box, kind: EventKind, moment: Moment, identity: Identity | None = None) -> None:
    data = {"verdict": "down"} if kind is EventKind.VERDICT_CHANGED else {}
    box.store.add_event(Event(kind, moment, "worker", "shim", "killed", identity, 1, data))


@pytest.fixture
def night(box: Box) -> tuple[TimeTravelReader, Moment]:
    """A worker started 2 h ago, killed 1 h ago and replaced 6 s later, with queue samples."""
    now = box.now()
    told(box, EventKind.DAEMON_STARTED, now.plus(-7300))
    told(box, EventKind.STARTED, now.plus(-7200), ONE)
    for age in range(7200, 0, -60):
        data = {"size": 2, "completed": 7200 - age, "successful": 7200 - age, "failed": 0}
        data |= {"answered": 7200 - age, "worked_s": 1.0, "answered_s": 0.5}
        sample(box, "queue", now.plus(-age), data)
        if age == 3720:
            saw(box, now.plus(-3700), instance(ONE, now.plus(-7200)))
        if age == 3600:
            saw(box, now.plus(-3593), instance(TWO, now.plus(-3594)))
    told(box, EventKind.DIED, now.plus(-3600), ONE)
    told(box, EventKind.VERDICT_CHANGED, now.plus(-3599))
    told(box, EventKind.STARTED, now.plus(-3594), TWO)
    return TimeTravelReader(box, discover_monitors()), now


def test_snapshot_before_a_death_shows_the_instance(night: tuple[TimeTravelReader, Moment]) -> None:
    past, now = night
    shown = past.snapshot(now.plus(-3650))
    assert shown is not None and shown.moment.at == pytest.approx(now.at - 3650)
    worker = shown.role("worker")
    assert worker is not None and [instance.pid for instance in worker.instances] == [4001]
    assert worker.state is RoleState.READY
    assert shown.queue.size == 2
    assert all(event.moment.at <= shown.moment.at for event in shown.events)
    assert shown.daemon.running


def test_snapshot_after_a_death_shows_the_role_down(night: tuple[TimeTravelReader, Moment]) -> None:
    past, now = night
    shown = past.snapshot(now.plus(-3596))
    worker = shown and shown.role("worker")
    assert shown is not None and worker is not None
    assert worker.instances == () and worker.state is RoleState.BACKOFF
    assert shown.verdict is Verdict.DOWN
    assert worker.last_death is not None


def test_role_is_unknown_where_its_monitor_was_overdue(
    night: tuple[TimeTravelReader, Moment],
) -> None:
    past, now = night
    shown = past.snapshot(now.plus(-1800))
    assert shown is not None
    monitor, worker = shown.monitor("worker"), shown.role("worker")
    assert monitor is not None and monitor.health.state is HealthState.OVERDUE
    assert worker is not None and worker.state is RoleState.UNKNOWN


def test_steps_visit_every_event_back_and_forth(night: tuple[TimeTravelReader, Moment]) -> None:
    past, now = night
    at, ages = now, []
    while (shown := past.snapshot(at, -1)) is not None:
        at = shown.moment
        ages.append(round(now.since(at)))
    assert ages == [3594, 3599, 3600, 7200, 7300]
    while (shown := past.snapshot(at, 1)) is not None:
        at = shown.moment
        ages.append(round(now.since(at)))
    assert ages[5:] == [7200, 3600, 3599, 3594]


def test_no_snapshot_exists_before_the_first_event_or_in_the_future(
    night: tuple[TimeTravelReader, Moment],
) -> None:
    past, now = night
    assert past.snapshot(now.plus(-90_000)) is None
    assert past.snapshot(now.plus(3600)) is None


def test_baseline_under_way_at_the_moment_is_shown(
    night: tuple[TimeTravelReader, Moment], box: Box
) -> None:
    past, now = night
    began = now.plus(-3000)
    run = {"started": [began.at, began.tick, began.boot], "hours": 6.0}
    box.record(EventKind.BASELINE_STARTED, actor="ana", reason="6 h", data=run)
    shown = past.snapshot(box.now())
    assert shown is not None and shown.baseline.started == began
    before = past.snapshot(now.plus(-3500))
    assert before is not None and before.baseline.state == "off"


def test_trends_read_new_samples_and_end_at_the_requested_moment(
    night: tuple[TimeTravelReader, Moment], box: Box
) -> None:
    past, now = night
    whole = past.trends()
    assert len([point for point in whole.points if point.queue_size is not None]) == 120
    assert len(whole.restart_times) == 1
    sample(box, "queue", box.now(), {"size": 7})
    assert past.trends().points[-1].queue_size == 7
    then = past.trends(now.plus(-3597))
    assert then.restart_times == () and then.ends_at == now.at - 3597
    assert max(point.at for point in then.points) <= then.ends_at


# --- wall clock changes ---------------------------------------------------------------------


def look(box: Box, at: float, tick: float, boot: str, size: int) -> Moment:
    moment = Moment(at, tick, boot)
    sample(box, "queue", moment, {"size": size, "problem": None})
    box.store.add_event(Event(EventKind.NOTICED, moment, reason=str(size)))
    return moment


def sizes(past: TimeTravelReader, around: Moment, way: int, steps: int) -> list[int | None]:
    """Return the queue's size at each of some steps from event to event."""
    found: list[int | None] = []
    for _ in range(steps):
        shown = past.snapshot(around, way)
        if shown is None:
            break
        around = shown.moment
        found.append(shown.queue.size)
    return found


@pytest.mark.parametrize("set_s", [-3600.0, -63_072_000.0, 63_072_000.0])
def test_steps_follow_event_order_when_the_clock_was_set(box: Box, set_s: float) -> None:
    now, past = box.now(), TimeTravelReader(box, discover_monitors())
    ages = [100.0, 90.0, 80.0, 70.0, 60.0, 50.0]
    for number, age in enumerate(ages):
        off = set_s if age in (80.0, 70.0) else 0.0  # wrong for a while, then corrected
        look(box, now.at - age + off, now.tick - age, now.boot, number)
    assert sizes(past, now, -1, 9) == [5, 4, 3, 2, 1, 0]
    first = past.snapshot(now.plus(-100.0))
    assert first is not None and sizes(past, first.moment, 1, 9) == [1, 2, 3, 4, 5]
    seen = past.trends()
    assert [point.queue_size for point in seen.points] == [0, 1, 2, 3, 4, 5]
    assert [round(now.at - point.at) for point in seen.points] == ages


def test_boot_that_began_in_1970_does_not_hide_earlier_boots(box: Box) -> None:
    now, past = box.now(), TimeTravelReader(box, discover_monitors())
    for number in range(3):
        look(box, now.at - 500 + number * 100, 900.0 + number * 100, "before", number)
    look(box, 20.0, now.tick - 40, now.boot, 3)  # before the wall clock is set
    look(box, now.at - 20, now.tick - 20, now.boot, 4)
    assert sizes(past, now, -1, 9) == [4, 3, 2, 1, 0]
    typed = past.snapshot(Moment(now.at - 390))
    assert typed is not None and typed.queue.size == 1


def test_repeated_hour_resolves_to_the_later_one(box: Box) -> None:
    now, past = box.now(), TimeTravelReader(box, discover_monitors())
    # The first sample is older, taken while the wall clock was ahead.
    look(box, now.at - 30, now.tick - 200, now.boot, 1)
    look(box, now.at - 40, now.tick - 40, now.boot, 2)
    typed = past.snapshot(Moment(now.at - 25))
    assert typed is not None and typed.queue.size == 2


def test_trends_are_recomputed_when_the_clock_is_set(box: Box) -> None:
    time = Shifted()
    with override_clock(time):
        past, now = TimeTravelReader(box, discover_monitors()), box.now()
        look(box, now.at - 60, now.tick - 60, now.boot, 1)
        before = past.trends()
        time.ahead_s = 3600.0
        after = past.trends()
    assert round(after.points[0].at - before.points[0].at) == 3600


class Shifted(Clock):
    """The machine's clocks with an adjustable offset of the wall clock."""

    ahead_s = 0.0

    def wall_time(self) -> float:
        return super().wall_time() + self.ahead_s
