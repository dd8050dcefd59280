"""Queue metrics: proofs of work, time to drain the queue, and losses of the queue server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from console.core.metrics.queue_loss import detect_loss, find_last_loss
from console.core.metrics.queue_metrics import compute_queue_metrics, count_ended_tasks
from console.core.model.samples import Sample
from console.core.model.time import Moment


def look(when: float, **data: Any) -> Sample:
    return Sample("queue", Moment(when, when), data)


def queue(*looks: tuple[float, float | None]) -> list[Sample]:
    """Return queue samples from (time, seconds since the answered task was last unanswered)."""
    return [
        look(when, worked_s=worked, answered_s=None if worked is None else 0.0, completed=when)
        for when, worked in looks
    ]


def canary(when: float, latency_s: float, ok: bool = True) -> Sample:
    return Sample("canary", Moment(when, when), {"ok": ok, "latency_s": latency_s})


@pytest.mark.parametrize(
    ("looks", "canaries", "since", "finished"),
    [
        # A rising counter is no proof, because pings raise it.
        ([(10, None), (20, None)], [], None, None),
        # The task ended between two samples, perhaps right after the first one.
        ([(10, None), (20, 10.0)], [], 10, 20),
        # A canary may have been taken as soon as it was sent.
        ([], [canary(40, 3.0)], 37, 40),
        ([], [canary(40, 3.0), canary(50, 3.0, ok=False)], 37, 40),
        ([(38, None), (45, 7.0)], [canary(40, 3.0)], 38, 45),
    ],
)
def test_proof_of_work_uses_the_earliest_possible_time(
    looks: Sequence[tuple[float, float | None]],
    canaries: list[Sample],
    since: float | None,
    finished: float | None,
) -> None:
    found = compute_queue_metrics({"queue": queue(*looks), "canary": canaries})
    proof = found.proofs_of_work.get("worker")
    assert (proof.at if proof else None) == since
    assert (found.last_finished.at if found.last_finished else None) == finished


def busy(when: float, size: int, completed: int, answered: int) -> Sample:
    return look(when, size=size, inflight=1, completed=completed, answered=answered)


@pytest.mark.parametrize(
    ("looks", "drain_s"),
    [
        # Idle time does not count: 100 tasks were done in the 20 busy seconds.
        ([look(n, size=0, inflight=0, completed=0, answered=0) for n in range(0, 571, 30)]
         + [busy(580, 150, 0, 0), busy(590, 100, 50, 1), busy(600, 50, 100, 2)], 10.0),
        # Few answered tasks are counted one by one, so that pings do not count.
        ([busy(10, 3, 0, 0), busy(40, 2, 3, 1), busy(70, 2, 6, 2)], 60.0),
        # Many completions without an answered task are pings.
        ([busy(10, 2, 0, 0), busy(40, 2, 30, 0), busy(70, 2, 60, 0)], None),
        ([busy(10, 2, 0, 0), busy(70, 0, 60, 0)], 0.0),
    ],
)  # fmt: skip
def test_drain_time_follows_the_observed_work_rate(
    looks: list[Sample], drain_s: float | None
) -> None:
    assert compute_queue_metrics({"queue": looks}).drain_s == drain_s


def test_pings_do_not_count_as_successful_tasks() -> None:
    looks = [look(0, successful=10, failed=0, pings=10), look(9, successful=20, failed=5, pings=18)]
    assert count_ended_tasks(looks) == (2, 7)


def test_restarted_queue_server_is_reported_with_its_losses() -> None:
    before = look(0, size=36, inflight=1, completed=5, successful=4, failed=1)
    silent = look(10, problem="refused")
    after = look(20, size=0, inflight=0, completed=0, successful=0, failed=0)
    found = find_last_loss([before, silent, after, look(30, size=1, completed=0)])
    assert found is not None
    assert found.message == (
        "queue server began anew: 36 waiting, 1 in work, 5 results of the look before are gone"
    )
    assert find_last_loss([before, look(10, size=30, inflight=1, completed=9)]) is None


def test_vanished_task_reveals_a_restarted_server_with_equal_counters() -> None:
    before = look(0, size=3, inflight=0, completed=0)
    after = look(20, size=0, inflight=0, completed=0)
    assert detect_loss(before, after) is None, (
        "they may have been taken, and what is done not be told yet"
    )
    found = detect_loss(before, look(20, size=0, inflight=0, completed=0, vanished=True))
    assert found is not None and (found.waiting, found.task_count) == (3, 3)


def test_persistent_queue_server_loses_no_tasks() -> None:
    before = look(0, size=2, inflight=1, completed=9)
    found = detect_loss(before, look(20, size=3, inflight=0, completed=0))
    assert found is not None and (found.task_count, found.results) == (0, 9)
