"""The queue: its sizes and counters, at a cost that does not grow with its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.frozen import replace
from console.core.metrics import task_outcomes
from console.core.metrics.queue_metrics import SUCCESS_S, recent, tasks_ended
from console.core.metrics.statistics import wilson
from console.core.metrics.task_outcomes import CRITICAL, WARNING, Shortfall, shortfall
from console.core.model import Health, HealthState, Moment, Sample
from console.core.text.formatting import duration, visible
from console.core.text.json_values import count, local_time, number, table, text, zones_apart
from console.monitors._queue_client import ask, knock
from console.monitors._thresholds import Limit, limit
from console.system import clock
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError
from console.system.threads import aside

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "queue"
SILENT, TASKS, LONG = "silent", "tasks", "long"
"""The kinds of trouble: no usable answer, tasks that fail, too many that wait."""
FIELDS = (
    "size", "urgent", "normal", "low", "inflight", "completed", "successful", "failed",
    "oldest_s", "oldest_lease_s", "lease_task", "elapsed_s", "clock_off_s", "zone_s", "status",
    "problem",
    "answered", "worked_s", "answered_s", "vanished", "pings", "tail", "errors", "results_note",
    "overrun_task", "overrun_s",
)  # fmt: skip
LISTED = 200
"""Up to this many waiting tasks are listed to find the oldest, and those that can be watched."""
WARN_ABOVE, FAIL_ABOVE = 5, 20
"""Waiting tasks: to 5 is normal, to 20 worth a word, more is failing."""
KNOCK_S = 1.0
CLOCK_S = 60.0
LEASE_LATE = 0.75
"""From this part of its lease on, a task in work is worth a word."""


def every(settings: Settings) -> float:
    """Seconds between two looks."""
    return settings.monitors.queue.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.queue.enabled


async def probe(box: Box) -> Sample:
    """Ask for health and counters. A server that gives no usable answer was looked at, too."""
    return await aside(look, box)  # one errand: a thread costs as much as a question


def look(box: Box) -> Sample:
    """The same, for a caller without a loop."""
    seen: dict[str, Any] = dict.fromkeys(FIELDS)
    try:
        began = clock.awake()
        health = table(ask(box.settings, "/api/health"))
        seen["elapsed_s"] = round(clock.awake() - began, 4)
        seen.update(_health(health, box.now()))
        stats = table(ask(box.settings, "/api/stats"))
        seen.update(_stats(stats, seen))
        _look_closer(box, seen)
    except HttpError as error:
        seen["problem"] = str(error)
    return Sample(NAME, box.now(), seen)


def _health(answer: Mapping[str, Any], now: Moment) -> dict[str, Any]:
    stamp = local_time(answer.get("timestamp"), now)
    off_s = 0.0 if stamp is None else stamp - now.at
    zone_s = zones_apart(off_s, CLOCK_S)  # it does not say in which zone its clock goes
    status = text(answer.get("status"), 60)
    return {
        "size": count(answer.get("queue_size")),
        "urgent": count(answer.get("queue_urgent")),
        "normal": count(answer.get("queue_normal")),
        "low": count(answer.get("queue_low")),
        "clock_off_s": None if stamp is None else round(off_s - zone_s, 1),
        "zone_s": None if stamp is None else zone_s,
        "status": None if status is None else visible(status),
    }


def server_off_s(seen: Mapping[str, Any]) -> float:
    """Seconds that the server's clock shows more than ours, zone included."""
    return sum(number(seen.get(key)) or 0.0 for key in ("clock_off_s", "zone_s"))


def _stats(answer: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """The counters, and the sizes where health did not tell them."""
    counters = ("inflight", "completed", "successful", "failed")
    sizes = {"size": "pending", **{name: f"pending_{name}" for name in ("urgent", "normal", "low")}}
    return {name: count(answer.get(name)) for name in counters} | {
        name: count(answer.get(key)) for name, key in sizes.items() if seen[name] is None
    }


def _look_closer(box: Box, seen: dict[str, Any]) -> None:
    """What waits and what is in work, where few enough to be listed, and what became of it."""
    from console.monitors._watched_tasks import (  # those that only judge do not
        listed,
        oldest_first,
        watch,
    )

    began = box.now()
    waiting: list[Mapping[str, Any]] | None = None if seen["size"] else []
    if seen["size"] and seen["size"] <= LISTED:
        waiting = listed(ask(box.settings, "/api/tasks"))
        now = box.now()
        off_s = server_off_s(seen)
        times = [local_time(task.get("created_at"), now) for task in waiting]
        seen["oldest_s"] = max(
            (max(0.0, now.at - at + off_s) for at in times if at is not None), default=None
        )
    leases: list[Mapping[str, Any]] = []
    if seen["inflight"]:
        leases = oldest_first(ask(box.settings, "/api/inflight"))
        oldest = next((one for one in leases if number(one.get("age_sec")) is not None), None)
        if oldest is not None:
            seen["oldest_lease_s"] = number(oldest.get("age_sec"))
            words = (text(oldest.get(key), 60) for key in ("type", "task_id"))
            seen["lease_task"] = visible(" ".join(word for word in words if word)) or None
    watched = watch(box.name, box.settings)
    watched.look(box.settings, seen, waiting, leases, began, box.now())
    watched.read_results(box.settings, seen, box.now())


def answers(sample: Sample) -> bool:
    """Whether a look found a server that answers."""
    return sample.error is None and sample.data.get("problem") is None


def changed(box: Box, known: Sample) -> Sample | None:
    """A new look, if the server answers now where it did not, or the other way round.

    One request, bounded by `KNOCK_S`, tells whether the look is worth its cost.
    """
    deadline_s = min(KNOCK_S, box.settings.queue.timeout_s)
    if knock(box.settings, "/api/health", deadline_s) is answers(known):
        return None
    return look(box)


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """A refused connection is certain at once; anything else that may be a blip counts twice.

    No answer, and too many waiting tasks (20, unless configured or learnt), must be seen in two
    looks in a row. Tasks that fail are a finding by the last 20 and 100 tasks and by the last hour;
    under a configured or learnt rate, where chance alone does not explain it.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "not looked yet")
    last = history[-1]
    before = history[-2].data if len(history) > 1 and history[-2].error is None else {}
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    if problem := text(last.data.get("problem")):
        certain = problem == "refused" or text(before.get("problem"))
        state = HealthState.FAILING if certain else HealthState.UNKNOWN
        return Health(state, result(last), kind=SILENT)
    size = count(last.data.get("size"))
    if size is None:
        return Health(HealthState.UNKNOWN, "the server does not tell its size")
    if (status := text(last.data.get("status"))) not in (None, "ok"):
        return Health(HealthState.FAILING, f"the server says {status!r}", kind=SILENT)
    wanted, known = settings.monitors.queue, learnt or Thresholds()
    most = limit(wanted.fail_above, known.queue_warning, FAIL_ABOVE)
    long = ""
    if most and size > most.value and (count(before.get("size")) or 0) > most.value:
        long = f"{size} tasks wait{most.words('above')}"
    if failing := _failing(history, now, settings, known):
        words = "; ".join(filter(None, (failing.words, long)))
        return Health(
            HealthState.FAILING, words, severe=failing.down, kind=TASKS, critical=failing.critical
        )
    if long:  # a worker that does not work is a finding of its own, and a graver one
        return Health(HealthState.FAILING, long, severe=False, kind=LONG)
    usual = limit(wanted.warn_above, known.queue_normal, WARN_ABOVE)
    remarks = (
        _clock(last.data),
        _running_out(last.data, settings.queue.lease_s),
        f"{size} tasks wait{usual.words('above')}" if usual and size > usual.value else "",
    )
    return Health(HealthState.OK, "; ".join(filter(None, remarks)))


def _failing(
    history: Sequence[Sample], now: Moment, settings: Settings, known: Thresholds
) -> Shortfall | None:
    """What the failing tasks amount to: by the usual limits, else by a configured or learnt one."""
    wanted = settings.monitors.queue.success_rate
    warning = WARNING if wanted is None else min(WARNING, wanted)
    found = shortfall(history, now, warning, min(CRITICAL, warning))
    if found is None:
        # One failure in an hour is within the target, however perfect the baseline was.
        learnt = known.success_rate
        least = None if learnt is None else min(learnt, settings.baseline.success_rate)
        few = _too_few(history, limit(wanted, least, None))
        return Shortfall(few) if few else None
    told = history[-1].data
    errors = task_outcomes.decode_errors(told)
    return (
        replace(found, words=f"{found.words}: {task_outcomes.quoted(errors)}") if errors else found
    )


def _too_few(history: Sequence[Sample], least: Limit | None) -> str:
    """In words, when surely fewer tasks succeeded in the last hour than should."""
    if least is None:
        return ""
    good, ended = tasks_ended(recent(history, SUCCESS_S))
    surely = wilson(good, ended)
    if surely is None or 100 * surely[1] >= least.value:
        return ""
    share = f"{100 * good / ended:.1f} % of {ended:.0f} tasks succeeded in the last hour"
    return share + least.words("under", " %")


def _clock(data: Mapping[str, Any]) -> str:
    off = number(data.get("clock_off_s"))
    if off is None or abs(off) <= CLOCK_S:
        return ""
    return f"server clock off by {'-' if off < 0 else '+'}{duration(abs(off))}"


def _running_out(data: Mapping[str, Any], lease_s: float) -> str:
    """In words, when the server will soon give a task that is in work to somebody else as well."""
    held = number(data.get("oldest_lease_s"))
    if held is None or held < LEASE_LATE * lease_s:
        return ""
    left = lease_s - held
    when = f"in {duration(left)}" if left > 0 else "at any moment"
    return f"a task in work for {duration(held)} is queued again {when}"


def result(sample: Sample) -> str:
    """`3 waiting, 1 in work, 24 done, 1 failed`; `?` for what the server did not tell properly."""
    problem = sample.error or text(sample.data.get("problem"))
    if problem:
        return visible(f"no answer: {problem}" if sample.error is None else problem, 200)
    words = {"size": "waiting", "inflight": "in work", "completed": "done", "failed": "failed"}
    known = {key: count(sample.data.get(key)) for key in words}
    return ", ".join(f"{'?' if known[k] is None else known[k]} {words[k]}" for k in words)
