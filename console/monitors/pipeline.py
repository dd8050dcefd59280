"""The realtime pipeline: read from another program's status file, or collected by us.

What we write is what readers of the old file know, and more. `seasonality`: for each channel its
newest value, the mean and sigma it was compared with, how many sigma it is off, and whether that
is an anomaly. It is compared with the same hour of the last 28 days where at least 5 of them tell
of it (`days`, and `period` is 24), else with its past day (`period` 0). `hourly`: each channel's
mean over each of the past 24 hours, oldest first, null where nothing is known. `simulation` keeps
the old readers' 28 floats: the queue's size over the window. `generator`, `schema` and
`generated_at_utc` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.metrics.file_age import SLEPT, ago
from console.core.metrics.statistics import percentile
from console.core.model import Health, HealthState, Moment, Sample
from console.core.text.formatting import duration, visible
from console.core.text.json_values import as_list, local_time, number, table, text
from console.system import clock
from console.system.config.schema import Settings
from console.system.files.safe_files import FileError, Problem
from console.system.threads import aside

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "pipeline"
CLOCK_S = 60.0
"""A file written this far in the future, in seconds, is a clock that is wrong."""
STALE_S = 600.0
"""A file may be this old where nothing says how often it is written; and this much later than it
should have been written again."""
TIMES, RUNS = 3.0, 3
"""A file that was seen to be written so often has a rhythm; it may be so many times as old."""
ONCE = "once"
"""The kind of a pipeline that was seen to run once, by its next runs or its window not yet due."""
SHOWN = 4
"""Seeds and states of a file that are shown."""
MOST = 50
"""Channels and next runs of a foreign file that are looked at."""


def every(settings: Settings) -> float:
    """Seconds between two looks."""
    return settings.monitors.pipeline.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.pipeline.enabled


def _path(box: Box) -> Path:
    return box.outputs / Path(box.settings.monitors.pipeline.file).expanduser()


async def probe(box: Box) -> Sample:
    """Read the status file where another program writes it, else write it."""
    mode, status, written = await _find(box)
    if mode == "collect":
        return _sample(box, mode, await _collect(box, _path(box)))
    return _sample(box, mode, await _read(box, status, written))


async def glance(box: Box) -> Sample | None:
    """A look that writes nothing; None where the status file is ours to write."""
    mode, status, written = await _find(box)
    return None if mode == "collect" else _sample(box, mode, await _read(box, status, written))


def _sample(box: Box, mode: str, seen: Mapping[str, Any]) -> Sample:
    unseen = mode == "collect" != box.settings.monitors.pipeline.mode
    about = {"mode": mode, "path": str(_path(box)), "unseen": unseen}
    return Sample(NAME, box.now(), {**about, **seen, SLEPT: clock.slept()})


async def _find(box: Box) -> tuple[str, Mapping[str, Any] | FileError, float | None]:
    """`read` or `collect`, the status file as it is, and when that was written."""
    path = _path(box)
    mode = box.settings.monitors.pipeline.mode
    status: Mapping[str, Any] | FileError
    written: float | None = None
    try:
        told, written = await aside(box.door.read_json, path)
        status = table(told)
    except FileError as error:
        status = error
    if mode == "auto":
        from console.monitors import _pipeline_collector  # who only judges needs none of it

        mode = "collect" if _pipeline_collector.ours(status) else "read"
    return mode, status, written


# --- reading --------------------------------------------------------------------------------


async def _read(
    box: Box, status: Mapping[str, Any] | FileError, written: float | None
) -> dict[str, Any]:
    if not isinstance(status, FileError):
        seen = _seen(status, box.now(), written)
        return seen | {"metrics_missing": await _missing_metrics(box, status)}
    problem = str(status)
    if status.problem is Problem.HALF:
        before = (await box.history(NAME, 2.5 * every(box.settings)))[-1:]
        if before and before[0].error is None and before[0].data.get("problem") is None:
            return {**before[0].data, "problem": f"{problem}; showing the look before"}
    return {**_seen({}, box.now()), "problem": problem}


async def _missing_metrics(box: Box, status: Mapping[str, Any]) -> str | None:
    """The name of the metrics file that the status names in its own directory, if it is not there.

    Any other path is not looked at: it may be anything, and anywhere.
    """
    named = Path(text(status.get("metrics_path"), 500) or ".")
    if not named.name or named.parent != _path(box).parent:
        return None
    try:
        await aside(box.door.read_json, named, 1)
    except FileError as error:
        return visible(named.name, 100) if error.problem is Problem.MISSING else None
    return None


def _seen(status: Mapping[str, Any], now: Moment, written: float | None = None) -> dict[str, Any]:
    """What a status file says, whoever wrote it."""
    seasons = [table(one) for one in as_list(status.get("seasonality"))[:MOST]]
    named = [(_clean(one.get("channel")), one) for one in seasons]
    runs = sorted(
        ((local_time(at, now), name, at) for name, at in
         [*table(status.get("next_runs")).items()][:MOST]),
        key=lambda run: (run[0] is None, run[0] or 0.0),
    )  # fmt: skip
    generated = local_time(status.get("generated_at"), now, None, written)
    return {
        "generated_at": generated,
        "anomalies": [_anomaly(name, one) for name, one in named if one.get("anomaly") is True],
        "channels": [[name, number(one.get("latest")), _word(one)] for name, one in named],
        "next_runs": {visible(name, 60): _clean(at) for _, name, at in runs},
        "next_at": max((at for at, _, _ in runs if at is not None), default=None),
        "window_hours": number(status.get("window_hours")),
        "about": _about(status),
        "problem": None if generated is not None else "it does not say when it was written",
    }


def _about(status: Mapping[str, Any]) -> list[list[str]]:
    """What the file is about: its seeds, its simulated series, and the state that this ends in."""
    simulation = table(status.get("simulation"))
    series = [
        one for one in map(number, as_list(simulation.get("resonance_series"))) if one is not None
    ]
    told = [
        ["seeds", _few(table(status.get("seeds")))],
        ["series", f"{len(series)} values, the last {series[-1]:.4g}" if series else ""],
        ["state", _few(table(simulation.get("final_state")))],
    ]
    return [[name, visible(words, 200)] for name, words in told if words]


def _few(figures: Mapping[str, Any]) -> str:
    """`a 0.12, b 0.3, 5 more`."""
    told = [f"{name} {value:.4g}" for name, one in [*figures.items()][:MOST]
            if (value := number(one)) is not None]  # fmt: skip
    more = f", {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more


def _clean(value: object) -> str:
    return visible(text(value, 60) or "?")


def _word(season: Mapping[str, Any]) -> str:
    """`ok`, or how severe; `?` where the file does not say."""
    anomaly = season.get("anomaly")
    if anomaly is True:
        return _clean(season.get("severity") or "anomaly")
    return "ok" if anomaly is False else "?"


def _anomaly(name: str, season: Mapping[str, Any]) -> str:
    """`queue_size 40 (usually 2)`, as far as the file says so."""
    latest, usual = number(season.get("latest")), number(season.get("baseline"))
    if latest is None:
        return name
    return f"{name} {latest:.4g}" + (f" (usually {usual:.4g})" if usual is not None else "")


# --- collecting -----------------------------------------------------------------------------


async def _collect(box: Box, path: Path) -> dict[str, Any]:
    """Write the status file, and read what it says."""
    from console.monitors import _pipeline_collector

    status, now, problem = await _pipeline_collector.collect(box, path, every(box.settings))
    seen = _seen(status, now) | {"generated_at": now.at}
    return seen | {"problem": problem} if problem else seen


# --- judging --------------------------------------------------------------------------------


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Failing when missing, too old, not writable, or with an anomaly in it.

    A file that was met half written is judged by the look before; the second time it is unknown,
    and once nobody could read it for as long as makes a file too old, that fails.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "not looked yet")
    last = history[-1]
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    problem = text(last.data.get("problem"))
    generated = number(last.data.get("generated_at"))
    if problem and (generated is None or last.data.get("mode") == "collect"):
        certain = problem.startswith((Problem.MISSING, "cannot write"))
        reason, silent_s = result(last), _silent_s(history)
        if silent_s is not None and silent_s > (settings.monitors.pipeline.stale_s or STALE_S):
            certain, reason = True, f"{reason}; readable last {duration(silent_s)} ago"
        return Health(HealthState.FAILING if certain else HealthState.UNKNOWN, reason)
    if generated is None:
        return Health(HealthState.UNKNOWN, "nothing known of it")
    age = ago(history, "generated_at") or 0.0
    if age < -CLOCK_S:
        return Health(HealthState.UNKNOWN, f"clock off: written {duration(-age)} in the future")
    limit_s, whose = _limit(history, settings)
    if age > limit_s:
        words = f"written {duration(age)} ago (limit {duration(limit_s)}: {whose})"
        return Health(HealthState.FAILING, words)
    anomalies = as_list(last.data.get("anomalies"))
    if anomalies:
        return Health(HealthState.FAILING, visible(f"anomaly: {', '.join(map(str, anomalies))}"))
    missing = text(last.data.get("metrics_missing"), 100)
    remarks = (problem or "", f"its metrics file {missing} does not exist" if missing else "")
    kind = ONCE if whose in (NEXT, WINDOW) else ""
    return Health(HealthState.OK, visible("; ".join(filter(None, remarks)), 200), kind=kind)


NEXT, WINDOW = "next_runs", "window_hours"


def _limit(history: Sequence[Sample], settings: Settings) -> tuple[float, str]:
    """How old the file may be in seconds, and what says so.

    A setting, else the rhythm in which the file was seen to be written; until it was seen to be
    written again, the latest of its next runs and the window that it looks back over.
    """
    configured = settings.monitors.pipeline.stale_s
    last = history[-1].data
    if configured is not None or last.get("mode") == "collect":
        return configured or STALE_S, "stale_s"
    times = [*dict.fromkeys(
        at for one in history if (at := number(one.data.get("generated_at"))) is not None
    )]  # fmt: skip
    gaps = [after - before for before, after in pairwise(times) if after > before]
    if len(gaps) >= RUNS - 1:
        usual = percentile(gaps, 95) or STALE_S
        return max(STALE_S, TIMES * usual), f"{TIMES:g} × its usual {duration(usual)}"
    generated, due = times[-1] if times else None, number(last.get("next_at"))
    hours = number(last.get("window_hours")) or 0.0
    next_s = due - generated + STALE_S if due and generated and due > generated else 0.0
    if max(next_s, hours * 3600.0) < STALE_S:
        return STALE_S, "stale_s"
    return (next_s, NEXT) if next_s > hours * 3600.0 else (hours * 3600.0, WINDOW)


def _silent_s(history: Sequence[Sample]) -> float | None:
    """Seconds since what the newest readable file told; None when none was readable."""
    for one in reversed(history):
        if (generated := number(one.data.get("generated_at"))) is not None:
            return history[-1].moment.at - generated
    return None


def result(sample: Sample) -> str:
    """`collect: 3 channels`, and what is anomalous or wrong."""
    if sample.error is not None:
        return visible(sample.error, 200)
    mode, problem = text(sample.data.get("mode")) or "?", text(sample.data.get("problem"))
    if problem:
        return visible(f"{mode}: {problem}", 200)
    n = len(as_list(sample.data.get("channels")))
    anomalies = ", ".join(map(str, as_list(sample.data.get("anomalies"))))
    word = "channel" if n == 1 else "channels"
    return visible(f"{mode}: {n} {word}" + (f", {anomalies}" if anomalies else ""), 200)
