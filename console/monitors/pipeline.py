"""The realtime pipeline: reads another program's status file, or collects and writes its own.

The written file has all that readers of the old format expect, and more. `seasonality`: for each
channel its newest value, the mean and sigma that it is compared with, its deviation in sigma, and
whether that is an anomaly. It is compared with the same hour of the last 28 days if at least 5 of
them have values (`days`; `period` is 24), else with the past day (`period` 0). `hourly`: the mean
of each channel for each of the past 24 hours, oldest first, null where it is unknown. `simulation`
keeps the 28 floats of the old format: the queue size over the window. `generator`, `schema` and
`generated_at_utc` are additions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.metrics.file_age import SLEPT_KEY, file_age_s
from console.core.metrics.statistics import percentile
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_list, as_number, as_object, as_text, parse_local_time
from console.system import clock
from console.system.config.schema import Settings
from console.system.files.safe_files import FileError, FileProblem
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "pipeline"
CLOCK_TOLERANCE_S = 60.0
"""A file dated this many seconds in the future shows that a clock is wrong."""
DEFAULT_STALE_S = 600.0
"""Maximum age of a file whose interval is unknown; and maximum delay after the time at which the
file should have been written again."""
STALE_INTERVAL_FACTOR, MIN_OBSERVED_WRITES = 3.0, 3
"""A file seen written `MIN_OBSERVED_WRITES` times has a known interval of writes; it may be
`STALE_INTERVAL_FACTOR` intervals old."""
KIND_ONCE = "once"
"""The health kind of a pipeline that ran once, and whose next run or window is not over yet."""
MAX_SHOWN_FIGURES = 4
"""Maximum number of shown seeds, and of shown states, of a file."""
MAX_FOREIGN_ENTRIES = 50
"""Maximum number of channels, and of next runs, that are read from another program's file."""


def every(settings: Settings) -> float:
    """Return the interval between two samples, in seconds."""
    return settings.monitors.pipeline.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.pipeline.enabled


def _status_path(box: Box) -> Path:
    return box.outputs_dir / Path(box.settings.monitors.pipeline.file).expanduser()


async def probe(box: Box) -> Sample:
    """Read the status file if another program writes it, else write it."""
    mode, status, written = await _find_status(box)
    if mode == "collect":
        return _make_sample(box, mode, await _collect_status(box, _status_path(box)))
    return _make_sample(box, mode, await _read_status(box, status, written))


async def glance(box: Box) -> Sample | None:
    """Return a sample without writing anything; None if rpa-console writes the status file."""
    mode, status, written = await _find_status(box)
    return (
        None
        if mode == "collect"
        else _make_sample(box, mode, await _read_status(box, status, written))
    )


def _make_sample(box: Box, mode: str, sample_data: Mapping[str, Any]) -> Sample:
    has_no_other_writer = mode == "collect" != box.settings.monitors.pipeline.mode
    origin = {"mode": mode, "path": str(_status_path(box)), "unseen": has_no_other_writer}
    return Sample(NAME, box.now(), {**origin, **sample_data, SLEPT_KEY: clock.suspended_s()})


async def _find_status(box: Box) -> tuple[str, Mapping[str, Any] | FileError, float | None]:
    """Return (`read` or `collect`, content of the status file or error, time of its last write)."""
    path = _status_path(box)
    mode = box.settings.monitors.pipeline.mode
    status: Mapping[str, Any] | FileError
    written_at: float | None = None
    try:
        content, written_at = await run_in_thread(box.outside_directory.read_json, path)
        status = as_object(content)
    except FileError as error:
        status = error
    if mode == "auto":
        from console.monitors import _pipeline_collector  # not needed for judging only

        mode = "collect" if _pipeline_collector.is_own_status(status) else "read"
    return mode, status, written_at


# --- reading --------------------------------------------------------------------------------


async def _read_status(
    box: Box, status: Mapping[str, Any] | FileError, written_at: float | None
) -> dict[str, Any]:
    if not isinstance(status, FileError):
        sample_data = _parse_status(status, box.now(), written_at)
        return sample_data | {"metrics_missing": await _missing_metrics_name(box, status)}
    problem = str(status)
    if status.problem is FileProblem.TRUNCATED:
        previous = (await box.read_samples(NAME, 2.5 * every(box.settings)))[-1:]
        if previous and previous[0].error is None and previous[0].data.get("problem") is None:
            return {**previous[0].data, "problem": f"{problem}; showing the look before"}
    return {**_parse_status({}, box.now()), "problem": problem}


async def _missing_metrics_name(box: Box, status: Mapping[str, Any]) -> str | None:
    """Return the name of the metrics file that the status names, if that file is missing.

    Only a name in the status file's own directory is checked: any other path may lead anywhere.
    """
    path = Path(as_text(status.get("metrics_path"), 500) or ".")
    if not path.name or path.parent != _status_path(box).parent:
        return None
    try:
        await run_in_thread(box.outside_directory.read_json, path, 1)
    except FileError as error:
        return sanitize_text(path.name, 100) if error.problem is FileProblem.MISSING else None
    return None


def _parse_status(
    status: Mapping[str, Any], now: Moment, written_at: float | None = None
) -> dict[str, Any]:
    """Return the sample data of a status file of any program."""
    seasons = [
        as_object(season) for season in as_list(status.get("seasonality"))[:MAX_FOREIGN_ENTRIES]
    ]
    named_seasons = [(_safe_label(season.get("channel")), season) for season in seasons]
    runs = sorted(
        ((parse_local_time(at, now), name, at) for name, at in
         [*as_object(status.get("next_runs")).items()][:MAX_FOREIGN_ENTRIES]),
        key=lambda run: (run[0] is None, run[0] or 0.0),
    )  # fmt: skip
    generated = parse_local_time(status.get("generated_at"), now, None, written_at)
    return {
        "generated_at": generated,
        "anomalies": [
            _anomaly_text(name, season)
            for name, season in named_seasons
            if season.get("anomaly") is True
        ],
        "channels": [
            [name, as_number(season.get("latest")), _severity_label(season)]
            for name, season in named_seasons
        ],
        "next_runs": {sanitize_text(name, 60): _safe_label(at) for _, name, at in runs},
        "next_at": max((at for at, _, _ in runs if at is not None), default=None),
        "window_hours": as_number(status.get("window_hours")),
        "about": _summarize_contents(status),
        "problem": None if generated is not None else "it does not say when it was written",
    }


def _summarize_contents(status: Mapping[str, Any]) -> list[list[str]]:
    """Return the file's contents in words: its seeds, its simulated series, its final state."""
    simulation = as_object(status.get("simulation"))
    series = [
        value
        for value in map(as_number, as_list(simulation.get("resonance_series")))
        if value is not None
    ]
    contents = [
        ["seeds", _format_figures(as_object(status.get("seeds")))],
        ["series", f"{len(series)} values, the last {series[-1]:.4g}" if series else ""],
        ["state", _format_figures(as_object(simulation.get("final_state")))],
    ]
    return [[name, sanitize_text(text, 200)] for name, text in contents if text]


def _format_figures(figures: Mapping[str, Any]) -> str:
    """Return the figures as `a 0.12, b 0.3, 5 more`."""
    figure_texts = [
        f"{name} {value:.4g}"
        for name, figure in [*figures.items()][:MAX_FOREIGN_ENTRIES]
        if (value := as_number(figure)) is not None
    ]
    more = (
        f", {len(figure_texts) - MAX_SHOWN_FIGURES} more"
        if len(figure_texts) > MAX_SHOWN_FIGURES
        else ""
    )
    return ", ".join(figure_texts[:MAX_SHOWN_FIGURES]) + more


def _safe_label(value: object) -> str:
    return sanitize_text(as_text(value, 60) or "?")


def _severity_label(season: Mapping[str, Any]) -> str:
    """Return `ok`, or the severity; `?` if the file does not say."""
    anomaly = season.get("anomaly")
    if anomaly is True:
        return _safe_label(season.get("severity") or "anomaly")
    return "ok" if anomaly is False else "?"


def _anomaly_text(name: str, season: Mapping[str, Any]) -> str:
    """Return `queue_size 40 (usually 2)`, as far as the file has the values."""
    latest, usual = as_number(season.get("latest")), as_number(season.get("baseline"))
    if latest is None:
        return name
    return f"{name} {latest:.4g}" + (f" (usually {usual:.4g})" if usual is not None else "")


# --- collecting -----------------------------------------------------------------------------


async def _collect_status(box: Box, path: Path) -> dict[str, Any]:
    """Write the status file, and return its sample data."""
    from console.monitors import _pipeline_collector

    status, now, problem = await _pipeline_collector.collect(box, path, every(box.settings))
    sample_data = _parse_status(status, now) | {"generated_at": now.at}
    return sample_data | {"problem": problem} if problem else sample_data


# --- judging --------------------------------------------------------------------------------


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Return the health: failing for a missing, outdated, unwritable or anomalous status file.

    A file that is read half-written is judged by the previous sample. The second time, it is
    unknown. Once it has been unreadable for longer than the maximum age of a file, it is failing.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "not looked yet")
    last = history[-1]
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    problem = as_text(last.data.get("problem"))
    generated = as_number(last.data.get("generated_at"))
    if problem and (generated is None or last.data.get("mode") == "collect"):
        is_certain = problem.startswith((FileProblem.MISSING, "cannot write"))
        reason, unreadable_s = result(last), _unreadable_s(history)
        if unreadable_s is not None and unreadable_s > (
            settings.monitors.pipeline.stale_s or DEFAULT_STALE_S
        ):
            is_certain, reason = (
                True,
                f"{reason}; readable last {format_duration(unreadable_s)} ago",
            )
        return Health(HealthState.FAILING if is_certain else HealthState.UNKNOWN, reason)
    if generated is None:
        return Health(HealthState.UNKNOWN, "nothing known of it")
    age_s = file_age_s(history, "generated_at") or 0.0
    if age_s < -CLOCK_TOLERANCE_S:
        return Health(
            HealthState.UNKNOWN, f"clock off: written {format_duration(-age_s)} in the future"
        )
    limit_s, source = _age_limit(history, settings)
    if age_s > limit_s:
        age_text = (
            f"written {format_duration(age_s)} ago (limit {format_duration(limit_s)}: {source})"
        )
        return Health(HealthState.FAILING, age_text)
    anomalies = as_list(last.data.get("anomalies"))
    if anomalies:
        return Health(
            HealthState.FAILING, sanitize_text(f"anomaly: {', '.join(map(str, anomalies))}")
        )
    missing = as_text(last.data.get("metrics_missing"), 100)
    remarks = (problem or "", f"its metrics file {missing} does not exist" if missing else "")
    kind = KIND_ONCE if source in (SOURCE_NEXT_RUNS, SOURCE_WINDOW_HOURS) else ""
    return Health(HealthState.OK, sanitize_text("; ".join(filter(None, remarks)), 200), kind=kind)


SOURCE_NEXT_RUNS, SOURCE_WINDOW_HOURS = "next_runs", "window_hours"


def _age_limit(history: Sequence[Sample], settings: Settings) -> tuple[float, str]:
    """Return (maximum age of the file in seconds, source of that limit).

    The source is a setting, else the observed interval of writes. Until enough writes were
    observed, it is the latest of the file's next runs or the window that it covers.
    """
    configured = settings.monitors.pipeline.stale_s
    last = history[-1].data
    if configured is not None or last.get("mode") == "collect":
        return configured or DEFAULT_STALE_S, "stale_s"
    write_times = [*dict.fromkeys(
        at for sample in history if (at := as_number(sample.data.get("generated_at"))) is not None
    )]  # fmt: skip
    intervals = [after - before for before, after in pairwise(write_times) if after > before]
    if len(intervals) >= MIN_OBSERVED_WRITES - 1:
        usual_s = percentile(intervals, 95) or DEFAULT_STALE_S
        return max(
            DEFAULT_STALE_S, STALE_INTERVAL_FACTOR * usual_s
        ), f"{STALE_INTERVAL_FACTOR:g} × its usual {format_duration(usual_s)}"
    generated, due_at = write_times[-1] if write_times else None, as_number(last.get("next_at"))
    hours = as_number(last.get("window_hours")) or 0.0
    next_s = (
        due_at - generated + DEFAULT_STALE_S if due_at and generated and due_at > generated else 0.0
    )
    if max(next_s, hours * 3600.0) < DEFAULT_STALE_S:
        return DEFAULT_STALE_S, "stale_s"
    return (
        (next_s, SOURCE_NEXT_RUNS)
        if next_s > hours * 3600.0
        else (hours * 3600.0, SOURCE_WINDOW_HOURS)
    )


def _unreadable_s(history: Sequence[Sample]) -> float | None:
    """Return the seconds since the newest readable file was written; None if none was readable."""
    for sample in reversed(history):
        if (generated := as_number(sample.data.get("generated_at"))) is not None:
            return history[-1].moment.at - generated
    return None


def result(sample: Sample) -> str:
    """Return `collect: 3 channels`, with the anomalies or the problem."""
    if sample.error is not None:
        return sanitize_text(sample.error, 200)
    mode, problem = as_text(sample.data.get("mode")) or "?", as_text(sample.data.get("problem"))
    if problem:
        return sanitize_text(f"{mode}: {problem}", 200)
    n = len(as_list(sample.data.get("channels")))
    anomalies = ", ".join(map(str, as_list(sample.data.get("anomalies"))))
    word = "channel" if n == 1 else "channels"
    return sanitize_text(f"{mode}: {n} {word}" + (f", {anomalies}" if anomalies else ""), 200)
