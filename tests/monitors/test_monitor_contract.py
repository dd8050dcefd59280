"""Properties that hold for every monitor."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.text.formatting import sanitize_text
from console.monitors import Monitor, discover_monitors
from console.system.config.schema import Settings

NOW = Moment(1_762_165_640.0, 5000.0, "b1")
MONITORS = discover_monitors()
OWN = sorted({"canary", "queue", "watchdog", "pipeline"})

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    ["ok", "failed_at", "latency_s", "detail", "size", "inflight", "completed", "failed", "status",
     "clock_off_s", "zone_s", "problem", "pid", "started_at", "heartbeat_at", "anomalies", "path",
     "mode", "generated_at", "channels", "instances"]
)  # fmt: skip
samples = st.builds(
    Sample,
    st.just("any"),
    st.builds(Moment, st.floats(0, 4e9), st.floats(0, 1e6), st.sampled_from(["", "b1", "b2"])),
    st.dictionaries(keys, anything),
    st.none() | st.text(),
)


def test_monitors_are_discovered_in_order() -> None:
    assert list(MONITORS) == sorted(MONITORS)
    assert set(OWN) <= set(MONITORS)
    assert not any(name.startswith("_") for name in MONITORS)


@pytest.mark.parametrize("name", MONITORS)
def test_monitor_implements_the_interface(name: str) -> None:
    monitor: Monitor = MONITORS[name]
    assert name == monitor.NAME
    assert monitor.every(Settings()) > 0
    assert monitor.enabled(Settings()) is True
    assert asyncio.iscoroutinefunction(monitor.probe)


@pytest.mark.parametrize("name", OWN)
def test_judgement_without_data_is_unknown(name: str) -> None:
    assert MONITORS[name].judge([], NOW, Settings()).state is HealthState.UNKNOWN
    blind = Sample(name, NOW, error="it hung")
    assert MONITORS[name].judge([blind], NOW, Settings()) == Health(HealthState.UNKNOWN, "it hung")
    assert MONITORS[name].result(blind) == "it hung"


@pytest.mark.parametrize("name", OWN)
@given(st.lists(samples, max_size=3))
def test_judge_accepts_any_history(name: str, history: list[Sample]) -> None:
    health = MONITORS[name].judge(history, NOW, Settings())
    assert health.state in (HealthState.OK, HealthState.FAILING, HealthState.UNKNOWN)
    for sample in history:
        text = MONITORS[name].result(sample)
        assert sanitize_text(text) == text


@pytest.mark.parametrize("name", OWN)
async def test_probe_of_an_absent_service_returns_plain_json(name: str, box: Any) -> None:
    sample = await MONITORS[name].probe(box.with_queue("http://127.0.0.1:9"))
    assert (sample.monitor, sample.error) == (name, None)
    assert json.loads(json.dumps(sample.data, allow_nan=False)) == sample.data
    assert box.now().since(sample.moment) < 5
    assert MONITORS[name].result(sample)
