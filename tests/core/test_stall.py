"""Evidence that a worker does no work, as tables of looks with a literal now."""

from __future__ import annotations

from typing import Any

import pytest
from story import at

from console.core.metrics.stall_detection import collect_stall_signals, find_stall_evidence
from console.core.model.samples import Sample

NOW = 10_000
OLD = 0
"""A worker that started long ago."""
BOTH = ("canary", "queue")


def queue(*looks: tuple[float, int | None, int | None, int | None], **more: Any) -> list[Sample]:
    """Looks at the queue: (when, waiting, in work, finished)."""
    return [
        Sample("queue", at(when), {"size": size, "inflight": inflight, "answered": done, **more})
        for when, size, inflight, done in looks
    ]


def steady(every: float, until: float, last: int = 50) -> list[Sample]:
    """A busy queue of which one task is finished at each look."""
    first = until - every * last
    return queue(*((first + every * n, 3, 0, n) for n in range(last + 1)))


def still(since: float, inflight: int | None = 0, done: int = 50, size: int = 4) -> list[Sample]:
    """The same picture every ten seconds, until now."""
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
        # the worker has come only just now: what was not done before is none of its doing
        (still(NOW - 300), NOW - 25, None),
        (still(NOW - 300), NOW - 45, "4 waiting, nothing finished for 40s (limit 30s, no habit"),
        # nothing waits; or something was finished meanwhile, be it as failed
        (still(NOW - 300, size=0), OLD, None),
        ([*still(NOW - 300)[:-2], *still(NOW - 10, done=51)], OLD, None),
        (queue(*((NOW - 40 + n, 1, 0, 5) for n in (0, 20, 40)))
         + queue((NOW, 1, 0, 6)), OLD, None),
        # pings, which the server answers itself, raise its counter and are no work
        ([Sample("queue", at(NOW - n), {"size": 2, "inflight": 0, "answered": 0,
                                        "completed": 99 - n})
          for n in range(60, -1, -10)], OLD, "2 waiting, nothing finished for 1m"),
        # a task is in work, and may be a long one
        (still(NOW - 290, inflight=1), OLD, None),
        (still(NOW - 290, inflight=None), OLD, None),
        (still(NOW - 300, inflight=1), OLD, "(limit 5m, no habit known)"),
        # its own habit: three times what is usual
        (steady(20, NOW - 60) + still(NOW - 50), OLD, "for 1m (limit 1m, usual 20s)"),
        (steady(40, NOW - 60) + still(NOW - 50), OLD, None),
        (steady(40, NOW - 120) + still(NOW - 110), OLD, "for 2m (limit 2m, usual 40s)"),
        (steady(10, NOW - 100) + still(NOW - 90, inflight=1), OLD, None),
        (steady(10, NOW - 120) + still(NOW - 110, inflight=1), OLD, "(limit 2m, usual 10s)"),
        # two looks are no proof, however far apart; nor is a night that nobody watched
        (queue((NOW - 500, 4, 0, 5), (NOW, 4, 0, 5)), OLD, None),
        (queue((NOW - 5000, 4, 1, 5), (NOW - 10, 4, 1, 5), (NOW, 4, 1, 5)), OLD, None),
        # a server that was away, started anew, or tells nothing
        ([*still(NOW - 60)[:3], *queue((NOW - 30, None, None, None), problem="refused"),
          *still(NOW - 20)], OLD, None),
        (queue(*((NOW - n, 4, 0, 9 if n > 20 else 0) for n in (60, 50, 40, 20, 10, 0))), OLD, None),
        (queue(*((NOW - n, 4, 0, None) for n in range(100, -1, -10))), OLD, None),
    ],
)  # fmt: skip
def test_a_queue_that_does_not_shrink(
    looks: list[Sample], started: float, words: str | None
) -> None:
    said = judged(looks, started=started)
    assert (said is None) if words is None else words in (said or ""), said


def test_one_long_stall_is_no_habit() -> None:
    """What was usual before it is usual after it."""
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
        # seen to work since; or only before
        (canary(NOW - 50), [], OLD, NOW - 20, False),
        (canary(NOW - 50), [], OLD, NOW - 90, True),
        # it was not there long enough to take it
        (canary(NOW - 50), [], NOW - 60, None, False),
        (canary(NOW - 50), [], NOW - 40, None, False),
        (canary(NOW - 50), [], NOW - 81, None, True),
        # it has something else to do
        (canary(NOW - 5), queue((NOW, 1, 1, 5)), OLD, None, False),
        (canary(NOW - 5), queue((NOW, 1, 0, 5)), OLD, None, True),
    ],
)
def test_a_canary_that_nobody_takes(
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
        # taken before this worker came: left behind by a dead one
        (300, NOW - 290, None, None),
    ],
)
def test_a_task_that_is_held(
    held: float, started: float, usual: float | None, words: str | None
) -> None:
    past = [
        Sample("queue", at(5000 + n), {"answered": n, "oldest_lease_s": None if n % 2 else usual})
        for n in range(8)
    ]
    data = {"size": 0, "inflight": 1, "answered": 8, "oldest_lease_s": held}
    said = judged([*past, Sample("queue", at(NOW), data)], started=started)
    assert (said is None) if words is None else words in (said or ""), said


def test_what_was_seen_too_long_ago_is_no_evidence() -> None:
    for blind in ("queue", "canary"):
        fresh = tuple(name for name in BOTH if name != blind)
        looks, sample = (still(NOW - 300), None) if blind == "queue" else ([], canary(NOW - 5))
        assert judged(looks, sample)
        assert judged(looks, sample, fresh=fresh) is None
