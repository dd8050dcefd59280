"""What became of the last tasks: how many failed, how many in a row, of which type, and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from console.core.frozen import frozen
from console.core.metrics.queue_metrics import SUCCESS_S, recent, tasks_ended
from console.core.model import Moment, Sample
from console.core.text.formatting import visible
from console.core.text.json_values import as_list, count, number, table, text

LAST, FEW, MOST = 20, 10, 100
"""The last tasks are 20; so many failures among them, or in a row, are a finding; a rate is taken
over at most 100."""
WARNING, CRITICAL = 85.0, 70.0
"""Percent of tasks that must succeed where nothing is configured."""
_END = re.compile(r'\s*\](\s*,\s*"\w{1,40}"\s*:\s*[\w.:"+-]{0,80})*\s*\}?\s*')
"""The end of the list, and of the answer."""
_WHOLE = re.compile(r"\s*\{[^\[\]{}]{0,200}(?=\[)")
"""The beginning of an answer that is there from its first character on."""
_COMMA = re.compile(r"\s*,\s*(?=\{)")
TRIES = 10_000
"""Places at which an item may begin that are tried."""
KINDS = 5
"""Different errors that are kept of one reading."""
ERROR = 120
"""Characters of an error that are kept."""
UNTYPED = "?"


@frozen
class Outcomes:
    """The last tasks of which the result is known, newest counted first."""

    n: int = 0
    """How many of the last 20 are known."""
    failed: int = 0
    """How many of those failed."""
    row: int = 0
    """How many failed after the last success."""
    good_most: int = 0
    n_most: int = 0
    """Successes among the last 100, and how many of the last 100 are known."""
    errors: tuple[tuple[str, str, int], ...] = ()
    """(task type, error, how often) among the last 20, most frequent first."""
    age_s: float = 0.0
    """Seconds from the newest failure to the reading."""


# --- reading results ------------------------------------------------------------------------


def items(body: str) -> list[dict[str, Any]]:
    """The complete items at the end of the text of a results list, oldest first.

    The beginning of `body` may be missing. An item is an object that follows the list's bracket or
    a comma, and from which objects follow one another up to the end of the list and the answer.
    """
    decoder, at = json.JSONDecoder(), 0
    if (whole := _WHOLE.match(body)) is not None:
        at = whole.end()
    for _ in range(TRIES):
        at = body.find("{", at)
        if at < 0:
            break
        found: list[dict[str, Any]] = []
        if body[max(0, at - 20) : at].rstrip()[-1:] in (",", "[", ""):
            end = _chain(decoder, body, at, found)
            if found and _END.fullmatch(body, end):
                return found if all("success" in one for one in found) else []
            at = max(at, end - 1)  # what a complete object holds is no item
        at += 1
    return []


def _chain(decoder: json.JSONDecoder, body: str, at: int, found: list[dict[str, Any]]) -> int:
    """Collect the objects that follow one another from `at` on; return where the last one ends."""
    end = at
    while True:
        try:
            item, end = decoder.raw_decode(body, at)
        except (ValueError, RecursionError):
            return end
        found.append(item)
        comma = _COMMA.match(body, end)
        if comma is None:
            return end
        at = comma.end()


def outcomes(
    results: Sequence[Mapping[str, Any]],
    types: Mapping[str, str],
    ignored: Collection[str] = (),
    age_s: float = 0.0,
) -> Outcomes:
    """The last tasks by their results, oldest first.

    A result without a task number was written by the server itself (a ping) and does not count, nor
    do the tasks in `ignored`. `types`: task number -> type, as far as it was seen.
    """
    told = [one for one in results if _counts(one, ignored)][-MOST:]
    last = told[-LAST:]
    row = 0
    for one in reversed(told):
        if one.get("success") is True:
            break
        row += 1
    bad = [one for one in last if one.get("success") is not True]
    kinds = Counter((_type(one, types), _error(one)) for one in bad)
    return Outcomes(
        len(last),
        len(bad),
        row,
        sum(one.get("success") is True for one in told),
        len(told),
        tuple((kind, error, times) for (kind, error), times in kinds.most_common(KINDS)),
        age_s,
    )


def _counts(item: Mapping[str, Any], ignored: Collection[str]) -> bool:
    task = text(item.get("task_id"), 200)
    return bool(task) and task not in ignored


def _type(item: Mapping[str, Any], types: Mapping[str, str]) -> str:
    data = table(item.get("data"))
    told = types.get(text(item.get("task_id"), 200) or "")
    named = (text(data.get(key), 60) for key in ("type", "task_type", "action"))
    return visible(told or next((one for one in named if one), UNTYPED), 60)


def _error(item: Mapping[str, Any]) -> str:
    data = table(item.get("data"))
    said = text(item.get("error")) or text(data.get("error")) or text(data.get("message"))
    return visible(" ".join((said or "no error text").split()), ERROR)


# --- in a sample ----------------------------------------------------------------------------


def encode(known: Outcomes) -> dict[str, Any]:
    """As plain JSON values."""
    return {
        "n": known.n,
        "failed": known.failed,
        "row": known.row,
        "good": known.good_most,
        "of": known.n_most,
        "errors": [list(one) for one in known.errors],
        "age_s": round(known.age_s, 1),
    }


def decode(value: object) -> Outcomes | None:
    """The inverse of `encode`; None for anything else."""
    told = table(value)
    n, failed, row, good, of = (count(told.get(k)) for k in ("n", "failed", "row", "good", "of"))
    if n is None or failed is None or row is None or good is None or of is None:
        return None
    return Outcomes(
        n, failed, row, good, of, _errors(told.get("errors")), number(told.get("age_s")) or 0.0
    )


def _errors(value: object) -> tuple[tuple[str, str, int], ...]:
    rows = ((*as_list(one), None, None, None)[:3] for one in as_list(value)[:KINDS])
    return tuple(
        (text(kind, 60) or UNTYPED, text(error, ERROR) or "?", count(times) or 1)
        for kind, error, times in rows
    )


def decode_errors(look: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    """The last errors that a look at the queue told, from the results or from watched tasks."""
    read = decode(look.get("tail"))
    return read.errors if read is not None else _errors(look.get("errors"))


def by_counters(history: Sequence[Sample]) -> Outcomes:
    """The last tasks by the counters alone, as the looks of the last hour told them."""
    looks = [one for one in recent(history, SUCCESS_S) if one.error is None]
    told = [
        (good, bad, one.moment)
        for one in looks
        if (good := count(one.data.get("successful"))) is not None
        and (bad := count(one.data.get("failed"))) is not None
    ]
    good_most, bad_most, row, whole = 0, 0, 0, True
    n, failed = 0, 0
    age_s: float | None = None
    for before, after in zip(told[-2::-1], told[:0:-1], strict=True):
        fell = after[0] < before[0] or after[1] < before[1]
        good = after[0] if fell else after[0] - before[0]
        bad = after[1] if fell else after[1] - before[1]
        if bad and age_s is None:
            age_s = told[-1][2].since(after[2])
        whole = whole and not good
        row += bad if whole else 0
        good_most, bad_most = good_most + good, bad_most + bad
        if n < LAST and good + bad:
            part = min(1.0, (LAST - n) / (good + bad))
            n, failed = n + round(part * (good + bad)), failed + round(part * bad)
        if good_most + bad_most >= MOST:
            break
    return Outcomes(n, failed, row, good_most, good_most + bad_most, (), age_s or 0.0)


def latest(history: Sequence[Sample]) -> tuple[Outcomes, Moment | None]:
    """The last tasks as the newest look knows them, and when the newest failure was, at most.

    Results that were read win over counters.
    """
    last = next((one for one in reversed(history) if one.error is None), None)
    if last is None:
        return Outcomes(), None
    read = decode(last.data.get("tail"))
    counted = by_counters(history)
    known = read or counted
    if read is not None and not read.failed and counted.row:
        known = counted
    return known, last.moment.plus(-known.age_s) if known.failed or known.row else None


# --- judging --------------------------------------------------------------------------------


@frozen
class Shortfall:
    """What the failing tasks amount to."""

    words: str
    down: bool = False
    critical: bool = False


def shortfall(
    history: Sequence[Sample], now: Moment, warning: float = WARNING, critical: float = CRITICAL
) -> Shortfall | None:
    """The worst that the last tasks and the last hour say, or None. Rates are percent.

    Failures that are more than an hour old, or followed by 20 successes, say nothing of now.
    """
    known, newest = latest(history)
    if newest is not None and now.since(newest) <= SUCCESS_S:
        if known.row >= FEW:
            return Shortfall(f"the last {known.row} tasks failed", True, True)
        if known.n >= FEW and known.failed >= FEW:
            return Shortfall(f"{known.failed} of the last {known.n} tasks failed", critical=True)
        rate = 100.0 * known.good_most / known.n_most if known.n_most >= LAST else 100.0
        if rate < warning and known.failed:
            words = f"{rate:.1f} % of the last {known.n_most} tasks succeeded"
            return Shortfall(words + _under(rate, warning, critical), critical=rate < critical)
    if known.n >= LAST and not known.failed:
        return None  # whatever failed before, it is over
    good, ended = tasks_ended(recent(history, SUCCESS_S))
    rate = 100.0 * good / ended if ended >= LAST else 100.0
    if rate < warning:
        words = f"{rate:.1f} % of {ended:.0f} tasks succeeded in the last hour"
        return Shortfall(words + _under(rate, warning, critical), critical=rate < critical)
    return None


def _under(rate: float, warning: float, critical: float) -> str:
    return f", under {critical if rate < critical else warning:g} %"


def quoted(errors: Iterable[tuple[str, str, int]], most: int = 2) -> str:
    """`3 × ocr: "no text", 1 × "timed out"`: the errors in words, without a type not known."""
    told = [f'{n} × {typed(kind)}"{error}"' for kind, error, n in errors]
    more = f", {len(told) - most} more kinds" if len(told) > most else ""
    return ", ".join(told[:most]) + more


def typed(kind: str) -> str:
    """A task's type before its error; nothing where the type is not known."""
    return "" if kind == UNTYPED else f"{kind}: "
