"""What was seen to be done, and since when at the latest whoever did it has been at work."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from console.core.model import Moment, Sample
from console.core.work import work


def queue(*looks: tuple[float, object]) -> list[Sample]:
    """Looks at the queue: (when, how many tasks were completed)."""
    return [Sample("queue", Moment(when, when), {"completed": done}) for when, done in looks]


def canary(when: float, latency_s: float, ok: bool = True) -> Sample:
    return Sample("canary", Moment(when, when), {"ok": ok, "latency_s": latency_s})


@pytest.mark.parametrize(
    ("looks", "canaries", "since", "finished"),
    [
        ([(10, 1), (20, 1)], [], None, None),
        # done somewhen between two looks, perhaps right after the first
        ([(10, 1), (20, 2)], [], 10, 20),
        ([(10, 1), (20, 2), (30, 2)], [], 10, 20),
        # a counter that was set back is no work; one that is no number is no look
        ([(10, 5), (20, 2)], [], None, None),
        ([(10, 5), (20, "many"), (30, 6)], [], None, None),
        # a canary has been under way since it was sent
        ([], [canary(40, 3.0)], 37, None),
        ([], [canary(40, 3.0), canary(50, 3.0, ok=False)], 37, None),
        ([(38, 1), (45, 2)], [canary(40, 3.0)], 38, 45),
    ],
)
def test_what_was_done_may_have_been_done_by_who_died_since(
    looks: Sequence[tuple[float, object]],
    canaries: list[Sample],
    since: float | None,
    finished: float | None,
) -> None:
    found = work({"queue": queue(*looks), "canary": canaries})
    proof = found.proofs.get("worker")
    assert (proof.at if proof else None) == since
    assert (found.finished.at if found.finished else None) == finished
