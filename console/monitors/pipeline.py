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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.foreign import as_list, local_time, number, table, text
from console.core.learning import Thresholds
from console.core.model import Health, HealthState, Moment, Sample
from console.core.text import duration, visible
from console.core.written import SLEPT, ago
from console.system import clock
from console.system.aside import aside
from console.system.files import FileError, Problem
from console.system.settings import Settings

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "pipeline"
CLOCK_S = 60.0
"""A file written this far in the future, in seconds, is a clock that is wrong."""
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
    about = {"mode": mode, "path": str(_path(box))}
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
        from console.monitors import _collecting  # who only judges needs none of it

        mode = "collect" if _collecting.ours(status) else "read"
    return mode, status, written


# --- reading --------------------------------------------------------------------------------


async def _read(
    box: Box, status: Mapping[str, Any] | FileError, written: float | None
) -> dict[str, Any]:
    if not isinstance(status, FileError):
        return _seen(status, box.now(), written)
    problem = str(status)
    if status.problem is Problem.HALF:
        before = (await box.history(NAME, 2.5 * every(box.settings)))[-1:]
        if before and before[0].error is None and before[0].data.get("problem") is None:
            return {**before[0].data, "problem": f"{problem}; showing the look before"}
    return {**_seen({}, box.now()), "problem": problem}


def _seen(status: Mapping[str, Any], now: Moment, written: float | None = None) -> dict[str, Any]:
    """What a status file says, whoever wrote it."""
    seasons = [table(one) for one in as_list(status.get("seasonality"))[:MOST]]
    named = [(_clean(one.get("channel")), one) for one in seasons]
    runs = list(table(status.get("next_runs")).items())[:MOST]
    generated = local_time(status.get("generated_at"), now, None, written)
    return {
        "generated_at": generated,
        "anomalies": [_anomaly(name, one) for name, one in named if one.get("anomaly") is True],
        "channels": [[name, number(one.get("latest")), _word(one)] for name, one in named],
        "next_runs": {visible(name, 60): _clean(at) for name, at in runs},
        "problem": None if generated is not None else "it does not say when it was written",
    }


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
    from console.monitors import _collecting

    status, now, problem = await _collecting.collect(box, path, every(box.settings))
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
        if silent_s is not None and silent_s > settings.monitors.pipeline.stale_s:
            certain, reason = True, f"{reason}; readable last {duration(silent_s)} ago"
        return Health(HealthState.FAILING if certain else HealthState.UNKNOWN, reason)
    if generated is None:
        return Health(HealthState.UNKNOWN, "nothing known of it")
    age = ago(history, "generated_at") or 0.0
    if age < -CLOCK_S:
        return Health(HealthState.UNKNOWN, f"clock off: written {duration(-age)} in the future")
    if age > settings.monitors.pipeline.stale_s:
        return Health(HealthState.FAILING, f"written {duration(age)} ago")
    anomalies = as_list(last.data.get("anomalies"))
    if anomalies:
        return Health(HealthState.FAILING, visible(f"anomaly: {', '.join(map(str, anomalies))}"))
    return Health(HealthState.OK, visible(problem or "", 200))


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
