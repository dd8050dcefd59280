"""The monitors: each file of this folder that does not begin with `_` is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from console.core.baseline.thresholds import Thresholds
    from console.core.model import Health, Moment, Sample
    from console.system.box import Box
    from console.system.config.schema import Settings


class Monitor(Protocol):
    """The one shape of a monitor's module. Histories are oldest first."""

    NAME: str

    def every(self, settings: Settings) -> float:
        """Seconds between two looks."""

    def enabled(self, settings: Settings) -> bool:
        """Whether it is wanted on this box."""

    async def probe(self, box: Box) -> Sample:
        """Look at the machine and say what was seen; what it raises becomes an unknown sample."""

    def judge(
        self,
        history: Sequence[Sample],
        now: Moment,
        settings: Settings,
        learnt: Thresholds | None = None,
    ) -> Health:
        """Ok, failing or unknown, from the samples alone.

        `learnt`: what the last good baseline has shown to be normal; settings win over it.
        """

    def result(self, sample: Sample) -> str:
        """The sample in a few words, clean for any screen."""


def discover() -> dict[str, Monitor]:
    """Every monitor by its name, in alphabetical order."""
    from importlib import import_module

    files = sorted(os.listdir(__path__[0]))
    names = [file[:-3] for file in files if file.endswith(".py") and not file.startswith("_")]
    modules = [cast(Monitor, import_module(f"{__name__}.{name}")) for name in names]
    return {module.NAME: module for module in modules}
