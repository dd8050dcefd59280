"""The monitors: each file of this directory that does not begin with `_` is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from console.core.baseline.thresholds import Thresholds
    from console.core.model.samples import Health, Sample
    from console.core.model.time import Moment
    from console.system.box import Box
    from console.system.config.schema import Settings


class Monitor(Protocol):
    """Interface of a monitor's module. Histories are oldest first."""

    NAME: str

    def every(self, settings: Settings) -> float:
        """Return the interval between two samples, in seconds."""

    def enabled(self, settings: Settings) -> bool:
        """Return True if the monitor is enabled on this box."""

    async def probe(self, box: Box) -> Sample:
        """Return a new sample. An exception becomes a sample with an error, of unknown health."""

    def judge(
        self,
        history: Sequence[Sample],
        now: Moment,
        settings: Settings,
        learnt: Thresholds | None = None,
    ) -> Health:
        """Return the health (ok, failing or unknown), computed from the samples alone.

        `learnt`: the thresholds of the last good baseline; settings take precedence over them.
        """

    def result(self, sample: Sample) -> str:
        """Return the sample in a few words, safe for any screen."""


def discover_monitors() -> dict[str, Monitor]:
    """Return all monitors by name, in alphabetical order of their files."""
    from importlib import import_module

    files = sorted(os.listdir(__path__[0]))
    names = [file[:-3] for file in files if file.endswith(".py") and not file.startswith("_")]
    modules = [cast(Monitor, import_module(f"{__name__}.{name}")) for name in names]
    return {module.NAME: module for module in modules}
