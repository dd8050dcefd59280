"""Evidence that a worker is stalled, as tables of samples with a fixed current time."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_builders import at

from console.core.metrics.stall_detection import collect_stall_signals, find_stall_evidence
from console.core.model.samples import Sample

NOW = 10_000
OLD = 0
"""The start time of a worker that has run for a long time."""
BOTH = ("canary", "queue")


def queue(*looks: tuple[float, int | None, int | None, int | None], **more: Any) -> list[Sample]:
    """Return queue samples from (time, waiting, in work, finished)."""
    return [
        Sample("queue", at(when), {"size": size, "inflight": inflight, "answered": done, **more})
        for when, size, inflight, done in looks
    ]


def steady(every: float, until: float, last: int = 50) -> list[Sample]:
    """Return samples of a busy queue with one task finished at each sample."""
    first = until - every * last
    return queue(*((first + every * n, 3, 0, n) for n in range(last + 1)))


def still(since: float, inflight: int | None = 0, done: int = 50, size: int = 4) -> list[Sample]:
    """Return equal samples every ten seconds, until now."""
    return queue(*((when, size, inflight, done) for when in range(int(since), NOW + 1, 10)))


def judged(
    looks: list[Sample], canary: Sample | None = None, started: float = OLD,
    worked: float | None = None, fresh: tuple[str, ...] = BOTH,
) -> str | None:  # fmt: skip
    seen = collect_stall_signals({"queue": looks, "canary": [canary] if canary else []})
    return find_stall_evidence(
        seen, fresh, None if worked is None else at(worked), at(started), at(NOW)
    )


def canary(when: float, stage: str | None = "taken", error: str | None = None) -> Sample:
    data = {"ok": stage is None, "failed_at": stage, "detail": "no worker took it within 30 s"}
    return Sample("canary", at(when), data, error)


@pytest.mark.parametrize(
    ("looks", "started", "words"),
    [
        ([], OLD, None),
        (still(NOW - 20), OLD, None),
        (still(NOW - 30), OLD, "4 waiting, nothing finished for 30s (limit 30s, no habit known)"),
        # The worker has just started. Time before its start does not count.
        (still(NOW - 300), NOW - 25, None),
        (still(NOW - 300), NOW - 45, "4 waiting, nothing finished for 40s (limit 30s, no habit"),
        # No task waits, or a task was finished meanwhile, even as failed.
        (still(NOW - 300, size=0), OLD, None),
        ([*still(NOW - 300)[:-2], *still(NOW - 10, done=51)], OLD, None),
        (queue(*((NOW - 40 + n, 1, 0, 5) for n in (0, 20, 40)))
         + queue((NOW, 1, 0, 6)), OLD, None),
        # The queue server answers pings itself. They raise its counter and are no work.
        ([Sample("queue", at(NOW - n), {"size": 2, "inflight": 0, "answered": 0,
                                        "completed": 99 - n})
          for n in range(60, -1, -10)], OLD, "2 waiting, nothing finished for 1m"),
        # A task is in work and may be a long one.
        (still(NOW - 290, inflight=1), OLD, None),
        (still(NOW - 290, inflight=None), OLD, None),
        (still(NOW - 300, inflight=1), OLD, "(limit 5m, no habit known)"),
        # The limit is three times the usual interval.
        (steady(20, NOW - 60) + still(NOW - 50), OLD, "for 1m (limit 1m, usual 20s)"),
        (steady(40, NOW - 60) + still(NOW - 50), OLD, None),
        (steady(40, NOW - 120) + still(NOW - 110), OLD, "for 2m (limit 2m, usual 40s)"),
        (steady(10, NOW - 100) + still(NOW - 90, inflight=1), OLD, None),
        (steady(10, NOW - 120) + still(NOW - 110, inflight=1), OLD, "(limit 2m, usual 10s)"),
        # Two samples are no proof, however far apart, and neither is a time without samples.
        (queue((NOW - 500, 4, 0, 5), (NOW, 4, 0, 5)), OLD, None),
        (queue((NOW - 5000, 4, 1, 5), (NOW - 10, 4, 1, 5), (NOW, 4, 1, 5)), OLD, None),
        # The server was away, was restarted, or reports no count.
        ([*still(NOW - 60)[:3], *queue((NOW - 30, None, None, None), problem="refused"),
          *still(NOW - 20)], OLD, None),
        (queue(*((NOW - n, 4, 0, 9 if n > 20 else 0) for n in (60, 50, 40, 20, 10, 0))), OLD, None),
        (queue(*((NOW - n, 4, 0, None) for n in range(100, -1, -10))), OLD, None),
    ],
)  # fmt: skip
def test_queue_that_does_not_shrink_is_stall_evidence(
    looks: list[Sample], started: float, words: str | None
) -> None:
    evidence = judged(looks, started=started)
    assert (evidence is None) if words is None else words in (evidence or ""), evidence


def test_one_long_stall_does_not_change_the_usual_interval() -> None:
    """The usual interval is the same before and after the stall."""
    past = steady(10, 5000) + queue((5060, 3, 1, 50), (9000, 3, 1, 51))
    assert "usual 10s" in (judged(past + still(NOW - 100)) or "")


@pytest.mark.parametrize(
    ("sample", "looks", "started", "worked", "stalled"),
    [
        (canary(NOW - 5), [], OLD, None, True),
        (canary(NOW - 5, "accepted"), [], OLD, None, False),
        (canary(NOW - 5, "finished"), [], OLD, None, False),
        (canary(NOW - 5, None), [], OLD, None, False),
        (canary(NOW - 5, error="timed out"), [], OLD, None, False),
        # The last proof of work is after the canary, or before it.
        (canary(NOW - 50), [], OLD, NOW - 20, False),
        (canary(NOW - 50), [], OLD, NOW - 90, True),
        # The worker has not run long enough to take the canary.
        (canary(NOW - 50), [], NOW - 60, None, False),
        (canary(NOW - 50), [], NOW - 40, None, False),
        (canary(NOW - 50), [], NOW - 81, None, True),
        # The worker has another task in work.
        (canary(NOW - 5), queue((NOW, 1, 1, 5)), OLD, None, False),
        (canary(NOW - 5), queue((NOW, 1, 0, 5)), OLD, None, True),
    ],
)
def test_untaken_canary_is_stall_evidence(
    sample: Sample, looks: list[Sample], started: float, worked: float | None, stalled: bool
) -> None:
    words = "canary not taken: no worker took it within 30 s" if stalled else None
    assert judged(looks, sample, started, worked) == words


@pytest.mark.parametrize(
    ("held", "started", "usual", "words"),
    [
        (290, OLD, None, None),
        (300, OLD, None, "a task in work for 5m (limit 5m, no habit known)"),
        (119, OLD, 10.0, None),
        (120, OLD, 10.0, "a task in work for 2m (limit 2m, usual 10s)"),
        (170, OLD, 60.0, None),
        (180, OLD, 60.0, "(limit 3m, usual 1m)"),
        # The task was taken before this worker started. A dead worker left it behind.
        (300, NOW - 290, None, None),
    ],
)
def test_task_held_too_long_is_stall_evidence(
    held: float, started: float, usual: float | None, words: str | None
) -> None:
    past = [
        Sample("queue", at(5000 + n), {"answered": n, "oldest_lease_s": None if n % 2 else usual})
        for n in range(8)
    ]
    data = {"size": 0, "inflight": 1, "answered": 8, "oldest_lease_s": held}
    evidence = judged([*past, Sample("queue", at(NOW), data)], started=started)
    assert (evidence is None) if words is None else words in (evidence or ""), evidence


def test_outdated_samples_are_no_stall_evidence() -> None:
    for blind in ("queue", "canary"):
        fresh = tuple(name for name in BOTH if name != blind)
        looks, sample = (still(NOW - 300), None) if blind == "queue" else ([], canary(NOW - 5))
        assert judged(looks, sample)
        assert judged(looks, sample, fresh=fresh) is None
