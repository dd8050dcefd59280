"""The half of the pipeline monitor that collects: the past day, judged and written to the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.model import Moment
from console.core.series import Series
from console.monitors import _channels, _seasons
from console.system.aside import aside
from console.system.door import PUBLIC, Door
from console.system.files import FileError, Problem

if TYPE_CHECKING:
    from console.system.box import Box


def ours(status: Mapping[str, Any] | FileError) -> bool:
    """Nobody else writes it. What cannot be read is another's: we never leave half a file."""
    if isinstance(status, FileError):
        return status.problem is Problem.MISSING
    return status.get("generator") == _channels.GENERATOR


async def collect(
    box: Box, path: Path, every_s: float
) -> tuple[Mapping[str, Any], Moment, str | None]:
    """Judge the past day's samples, and write the status file and its summary.

    What was written, of which moment, and why it could not be.
    """
    queue = await box.window("queue", _channels.QUEUE, _channels.WINDOW_S)
    canary = await box.window("canary", _channels.CANARY, _channels.WINDOW_S)
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


async def _usual(box: Box, now: Moment) -> dict[str, _seasons.Season]:
    hours = {
        name: await box.hours(monitor, field, _seasons.LOOK_BACK_S)
        for name, (monitor, field) in _seasons.FIELDS.items()
    }
    return await aside(_seasons.seasons, hours, now)


def _compose(
    queue: Series,
    canary: Series,
    usual: Mapping[str, _seasons.Season],
    next_runs: Mapping[str, float],
    now: Moment,
) -> dict[str, Any]:
    found = _channels.channels(queue, canary, now, usual)
    return _channels.status(found, queue, canary, next_runs, now)


def _publish(door: Door, path: Path, status: Mapping[str, Any]) -> None:
    """Write the file and its summary: for other programs to read. Raises FileError."""
    door.write(path, json.dumps(status, indent=2, allow_nan=False) + "\n", PUBLIC)
    door.write(path.with_suffix(".md"), _channels.markdown(status), PUBLIC)
