"""Helpers that make samples and read store errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store.store import StoreError


def sample(number: float, monitor: str = "queue") -> Sample:
    return Sample(monitor, Moment(number, number, "boot"), {"n": number})


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        act()
    return str(caught.value)
