"""Evaluates the past day's samples and writes the pipeline's status file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.metrics.time_series import TimeSeries
from console.core.model.time import Moment
from console.monitors import _pipeline_channels, _seasonality
from console.system.files.outside_files import PUBLIC_MODE, OutsideDirectory
from console.system.files.safe_files import FileError, FileProblem
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.system.box import Box


def is_own_status(status: Mapping[str, Any] | FileError) -> bool:
    """Return True if no other program writes the status file.

    An unreadable file belongs to another program: rpa-console never leaves a half-written file.
    """
    if isinstance(status, FileError):
        return status.problem is FileProblem.MISSING
    return status.get("generator") == _pipeline_channels.GENERATOR


async def collect(
    box: Box, path: Path, every_s: float
) -> tuple[Mapping[str, Any], Moment, str | None]:
    """Evaluate the past day's samples, and write the status file and its summary.

    Returns (status, its time, error text or None). A status that cannot be written is returned,
    too.
    """
    queue = await box.read_series(
        "queue", _pipeline_channels.QUEUE_FIELDS, _pipeline_channels.WINDOW_S
    )
    canary = await box.read_series(
        "canary", _pipeline_channels.CANARY_FIELDS, _pipeline_channels.WINDOW_S
    )
    now = box.now()
    next_runs = {"pipeline": now.at + every_s}
    if canary.last_moment is not None:
        next_runs["canary"] = canary.last_moment.at + box.settings.monitors.canary.every_s
    seasons = await _read_seasons(box, now)
    status = await run_in_thread(_build_status, queue, canary, seasons, next_runs, now)
    try:
        await run_in_thread(_write_files, box.outside_directory, path, status)
    except FileError as error:
        return status, now, f"cannot write {path.name}: {error}"
    return status, now, None


async def _read_seasons(box: Box, now: Moment) -> dict[str, _seasonality.Season]:
    hours = {
        name: await box.read_hourly_rollups(monitor, field, _seasonality.LOOK_BACK_S)
        for name, (monitor, field) in _seasonality.FIELDS_BY_NAME.items()
    }
    return await run_in_thread(_seasonality.compute_seasons, hours, now)


def _build_status(
    queue: TimeSeries,
    canary: TimeSeries,
    seasons: Mapping[str, _seasonality.Season],
    next_runs: Mapping[str, float],
    now: Moment,
) -> dict[str, Any]:
    channels = _pipeline_channels.evaluate_channels(queue, canary, now, seasons)
    return _pipeline_channels.build_status(channels, queue, canary, next_runs, now)


def _write_files(door: OutsideDirectory, path: Path, status: Mapping[str, Any]) -> None:
    """Write the status file and its summary, readable by other programs. Raises FileError."""
    door.write(path, json.dumps(status, indent=2, allow_nan=False) + "\n", PUBLIC_MODE)
    door.write(path.with_suffix(".md"), _pipeline_channels.render_markdown(status), PUBLIC_MODE)
