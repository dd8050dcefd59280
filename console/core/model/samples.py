"""Samples of the monitors, and the assessment of their health."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from console.core.model.time import Moment
from console.core.records import Record, field


class Sample(Record, frozen=True):
    """One result of one monitor. If `error` is set, the observation failed and nothing is known."""

    monitor: str
    moment: Moment
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""
    error: str | None = None
    id: int = 0


class HealthState(StrEnum):
    OK = "ok"
    FAILING = "failing"
    OVERDUE = "overdue"
    UNKNOWN = "unknown"
    OFF = "off"


class Health(Record, frozen=True):
    """An assessment of a monitor's history."""

    state: HealthState
    reason: str = ""
    severe: bool = True
    """False: the subject works, but worse than it should."""
    kind: str = ""
    """Kind of the problem, where one monitor detects several: `tasks`, `long`, `silent`."""
    critical: bool = False
    """True if an alert about it is critical even though `severe` is False."""
