"""Outcomes of the last tasks: parsing the tail of a result list, and judging failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.metrics.task_outcomes import (
    assess_failures,
    decode_outcomes,
    encode_outcomes,
    format_errors,
    outcomes_from_counters,
    parse_result_items,
    summarize_results,
)
from console.core.model.samples import Sample
from console.core.model.time import Moment

NOW = Moment(1_000_000.0, 5000.0, "b")


def item(number: int, success: bool, error: str | None = None) -> dict[str, Any]:
    return {"task_id": f"t{number}", "success": success, "data": {}, "error": error}


PING = {"success": True, "data": {"message": "pong"}}


def body(results: list[dict[str, Any]]) -> str:
    return json.dumps({"results": results, "count": len(results)})


@given(st.integers(0, 2000))
def test_parse_result_items_reads_complete_items_of_a_tail(cut: int) -> None:
    nested = {"a": [{"success": 1}, {"success": 2}], "b": '},{"success": true}]'}
    results = [{**item(n, n % 2 == 0, 'x{["}]'), "data": nested} for n in range(10)]
    whole = body(results)
    found = parse_result_items(whole[cut:])
    assert found == results[len(results) - len(found) :]
    assert len(found) >= (len(whole) - cut) * 9 // len(whole) - 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"results": []}', "null", '[{"a": 1}]'])
def test_parse_result_items_ignores_other_documents(text: str) -> None:
    assert parse_result_items(text) == []


def test_summarize_results_counts_only_worker_results() -> None:
    items = [*(item(n, False, "Unsupported task type: x") for n in range(9)), PING, item(9, True)]
    known = summarize_results(items, {"t1": "x"}, ignored_tasks={"t9"})
    assert (known.n, known.failed, known.consecutive_failures) == (9, 9, 9)
    assert known.errors == (
        ("?", "Unsupported task type: x", 8),
        ("x", "Unsupported task type: x", 1),
    )
    assert format_errors(known.errors[1:]) == '1 × x: "Unsupported task type: x"'
    assert decode_outcomes(json.loads(json.dumps(encode_outcomes(known)))) == known


def results(*runs: tuple[bool, int]) -> dict[str, Any]:
    items = [item(0, good, "no") for good, times in runs for _ in range(times)]
    return {"tail": encode_outcomes(summarize_results(items, {}))}


def looks(*counters: tuple[float, int, int]) -> list[Sample]:
    """Return samples from (seconds ago, succeeded, failed), as the queue server counts them."""
    return [
        Sample("queue", NOW.plus(-ago), {"successful": good, "failed": bad})
        for ago, good, bad in counters
    ]


@pytest.mark.parametrize(
    ("history", "down", "critical", "words"),
    [
        ([Sample("queue", NOW, results((True, 50), (False, 10)))], True, True,
         "the last 10 tasks failed"),
        ([Sample("queue", NOW, results((False, 70)))], True, True, "the last 70 tasks failed"),
        ([Sample("queue", NOW, results((False, 10), (True, 10)))], False, True,
         "10 of the last 20 tasks failed"),
        ([Sample("queue", NOW, results((False, 9), (True, 1)))], None, None, ""),
        ([Sample("queue", NOW, results((True, 91), (False, 9)))], None, None, ""),
        ([Sample("queue", NOW, results((False, 31), (True, 60), (False, 9)))], False, True,
         "60.0 % of the last 100 tasks succeeded, under 70 %"),
        ([Sample("queue", NOW, results((False, 9), (True, 79), (False, 9), (True, 3)))], False,
         False, "82.0 % of the last 100 tasks succeeded, under 85 %"),
        # The counters alone show a streak after two samples.
        (looks((20, 5, 0), (10, 5, 12)), True, True, "the last 12 tasks failed"),
        (looks((20, 5, 0), (10, 5, 4), (0, 5, 8)), None, None, ""),
        (looks((20, 5, 0), (10, 8, 4), (0, 9, 10)), False, True,
         "10 of the last 14 tasks failed"),
        (looks((3000, 0, 0), (10, 60, 40), (0, 63, 40)), False, True,
         "61.2 % of the last 103 tasks succeeded, under 70 %"),
        # The failures are over: twenty tasks in a row succeeded since, or it was long ago.
        (looks((3000, 0, 0), (10, 60, 40), (0, 80, 40)), None, None, ""),
        (looks((9000, 5, 0), (8000, 5, 70), (0, 5, 70)), None, None, ""),
        ([], None, None, ""),
        # The queue server was restarted.
        (looks((20, 50, 50), (10, 0, 11)), True, True, "the last 11 tasks failed"),
    ],
)  # fmt: skip
def test_assess_failures_by_streak_and_success_rate(
    history: list[Sample], down: bool | None, critical: bool | None, words: str
) -> None:
    found = assess_failures(history, NOW)
    judged = (
        (None, None, "") if found is None else (found.is_down, found.is_critical, found.message)
    )
    assert judged == (down, critical, words)


def test_assess_failures_ignores_old_failures() -> None:
    tail = results((False, 20))["tail"] | {"age_s": 3000.0}
    assert assess_failures([Sample("queue", NOW.plus(-500), {"tail": tail})], NOW)
    assert assess_failures([Sample("queue", NOW.plus(-700), {"tail": tail})], NOW) is None


def test_outcomes_from_counters_cover_one_hour() -> None:
    assert (
        outcomes_from_counters(looks((9000, 0, 0), (8000, 0, 50), (10, 0, 50), (0, 5, 50))).failed
        == 0
    )
