"""The half of the pipeline monitor that collects: the past day, judged and written to the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.metrics.time_series import Series
from console.core.model import Moment
from console.monitors import _pipeline_channels, _seasonality
from console.system.files.outside_files import PUBLIC, Door
from console.system.files.safe_files import FileError, Problem
from console.system.threads import aside

if TYPE_CHECKING:
    from console.system.box import Box


def ours(status: Mapping[str, Any] | FileError) -> bool:
    """Nobody else writes it. What cannot be read is another's: we never leave half a file."""
    if isinstance(status, FileError):
        return status.problem is Problem.MISSING
    return status.get("generator") == _pipeline_channels.GENERATOR


async def collect(
    box: Box, path: Path, every_s: float
) -> tuple[Mapping[str, Any], Moment, str | None]:
    """Judge the past day's samples, and write the status file and its summary.

    What was written, of which moment, and why it could not be.
    """
    queue = await box.window("queue", _pipeline_channels.QUEUE, _pipeline_channels.WINDOW_S)
    canary = await box.window("canary", _pipeline_channels.CANARY, _pipeline_channels.WINDOW_S)
    now = box.now()
    next_runs = {"pipeline": now.at + every_s}
    if canary.last is not None:
        next_runs["canary"] = canary.last.at + box.settings.monitors.canary.every_s
    usual = await _usual(box, now)
    status = await aside(_compose, queue, canary, usual, next_runs, now)
    try:
        await aside(_publish, box.door, path, status)
    except FileError as error:
        return status, now, f"cannot write {path.name}: {error}"
    return status, now, None


async def _usual(box: Box, now: Moment) -> dict[str, _seasonality.Season]:
    hours = {
        name: await box.hours(monitor, field, _seasonality.LOOK_BACK_S)
        for name, (monitor, field) in _seasonality.FIELDS.items()
    }
    return await aside(_seasonality.seasons, hours, now)


def _compose(
    queue: Series,
    canary: Series,
    usual: Mapping[str, _seasonality.Season],
    next_runs: Mapping[str, float],
    now: Moment,
) -> dict[str, Any]:
    found = _pipeline_channels.channels(queue, canary, now, usual)
    return _pipeline_channels.status(found, queue, canary, next_runs, now)


def _publish(door: Door, path: Path, status: Mapping[str, Any]) -> None:
    """Write the file and its summary: for other programs to read. Raises FileError."""
    door.write(path, json.dumps(status, indent=2, allow_nan=False) + "\n", PUBLIC)
    door.write(path.with_suffix(".md"), _pipeline_channels.markdown(status), PUBLIC)
