"""The pipeline monitor: reading the file of another program, and collecting its own."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from console.core.model.samples import HealthState, Sample
from console.core.model.time import Moment
from console.monitors import pipeline
from console.system.config.schema import Monitors, Pipeline, Settings

NOW = Moment(1_762_165_640.0, 500_000.0, "b1")
STATUS = "realtime_pipeline_status.json"


def write(box: Any, content: object) -> Path:
    box.outputs_dir.mkdir(exist_ok=True)
    path: Path = box.outputs_dir / STATUS
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def foreign(box: Any, ago: float = 5, **more: Any) -> dict[str, Any]:
    return {"generated_at": datetime.fromtimestamp(box.now().at - ago).isoformat(), **more}


def looked(box: Any, ago: float, **data: Any) -> Sample:
    return Sample("queue", box.now().plus(-ago), {"size": 1, "successful": 0, "failed": 0, **data})


# --- read mode ------------------------------------------------------------------------------


async def test_file_of_another_program_is_read_and_not_changed(box: Any) -> None:
    season = {"channel": "lat\x1b", "latest": 2.5, "anomaly": True, "severity": "high",
              "deviation_sigma": 4.25, "baseline": 0.5}  # fmt: skip
    quiet = {"channel": "size", "latest": True, "anomaly": False}
    content = foreign(box, seasonality=[season, quiet, 5], next_runs={"report": "soon", "x": 1})
    path = write(box, content)
    before = path.read_bytes()
    one = await pipeline.probe(box)
    assert (one.data["mode"], one.data["problem"]) == ("read", None)
    assert one.data["channels"] == [
        ["lat\\x1b", 2.5, "high"], ["size", None, "ok"], ["?", None, "?"],
    ]  # fmt: skip
    assert one.data["anomalies"] == ["lat\\x1b 2.5 (usually 0.5)"]
    assert one.data["next_runs"] == {"report": "soon", "x": "?"}
    assert path.read_bytes() == before and list(box.outputs_dir.iterdir()) == [path]
    health = pipeline.judge([one], one.moment, box.settings)
    assert (health.state, health.reason) == (
        HealthState.FAILING,
        "anomaly: lat\\x1b 2.5 (usually 0.5)",
    )


async def test_file_written_on_windows_is_read(box: Any) -> None:
    stamp = datetime.fromtimestamp(box.now().at - 5).astimezone().isoformat()
    content = {"generated_at": stamp, "seasonality": {"channel": "one", "anomaly": False}}
    write(box, b"\xef\xbb\xbf" + json.dumps(content).encode())
    one = await pipeline.probe(box)
    assert one.data["channels"] == [["one", None, "ok"]]
    assert pipeline.judge([one], one.moment, box.settings).state is HealthState.OK
    assert pipeline.result(one) == "read: 1 channel"


async def test_local_time_zone_does_not_affect_the_file_age(
    box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(box, foreign(box))
    try:
        for zone in ("KST-9", "UTC0", "PST8"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            one = await pipeline.probe(box)
            assert abs(one.data["generated_at"] - box.now().at) < 60
            health = pipeline.judge([one], one.moment, box.settings)
            assert (health.state, health.reason) == (HealthState.OK, "")
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_half_written_file_is_tolerated_once(box: Any) -> None:
    path = write(box, foreign(box, seasonality=[{"channel": "one", "latest": 3}]))
    box.samples.append(await pipeline.probe(box))
    path.write_bytes(path.read_bytes()[:-20])
    first = await pipeline.probe(box)
    assert first.data["channels"] == box.samples[0].data["channels"]
    assert first.data["problem"].startswith("half written")
    assert pipeline.judge([box.samples[0], first], first.moment, box.settings).state is (
        HealthState.OK
    )
    box.samples.append(first)
    second = await pipeline.probe(box)
    assert (second.data["channels"], second.data["generated_at"]) == ([], None)
    health = pipeline.judge([first, second], second.moment, box.settings)
    assert health.state is HealthState.UNKNOWN and "half written" in health.reason
    assert path.read_bytes()  # neither treated as missing nor overwritten


@pytest.mark.parametrize(
    "content", [b"", b"<html>a page of some length</html>", [], {"generated_at": 5}, {"x": 1}]
)
async def test_unreadable_file_is_unknown_and_not_overwritten(box: Any, content: Any) -> None:
    path = write(box, content)
    before = path.read_bytes()
    one = await pipeline.probe(box)
    assert one.data["mode"] == "read" and one.data["problem"]
    assert pipeline.judge([one], one.moment, box.settings).state is HealthState.UNKNOWN
    assert path.read_bytes() == before


async def test_a_missing_file_in_read_mode_is_failing(box: Any) -> None:
    one = await pipeline.probe(box.with_monitor("pipeline", mode="read"))
    health = pipeline.judge([one], one.moment, box.settings)
    assert (health.state, health.reason) == (HealthState.FAILING, "read: missing")
    assert not box.outputs_dir.exists()


@pytest.mark.parametrize(
    ("age", "state", "reason"),
    [
        (30, HealthState.OK, ""),
        (3600, HealthState.FAILING, "written 1h00m ago (limit 10m: stale_s)"),
        (-3600, HealthState.UNKNOWN, "clock off: written 1h00m in the future"),
    ],
)
def test_judgement_depends_on_the_file_age(age: float, state: HealthState, reason: str) -> None:
    one = Sample("pipeline", NOW, {"mode": "read", "generated_at": NOW.at - age})
    health = pipeline.judge([one], NOW, Settings())
    assert (health.state, health.reason) == (state, reason)


def runs(*times: float, **more: Any) -> list[Sample]:
    """Return samples a minute apart, until now, of files written at these times."""
    return [
        Sample("pipeline", NOW.plus(60.0 * (n - len(times) + 1)),
               {"mode": "read", "generated_at": NOW.at + at, **more})
        for n, at in enumerate(times)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("history", "stale_s", "words"),
    [
        # One write only: the limit comes from the window or from the announced next run.
        (runs(-3600, window_hours=24), None, None),
        (runs(-90_000, window_hours=24), None, "1d01h ago (limit 1d00h: window_hours)"),
        (runs(-3600, next_at=NOW.at + 60), None, None),
        (runs(-3600, next_at=NOW.at - 660), None, "1h00m ago (limit 59m: next_runs)"),
        (runs(-660, window_hours=24), 600.0, "11m ago (limit 10m: stale_s)"),
        # An observed interval takes precedence over the window.
        (runs(-2000, -1700, -1400, window_hours=24), None,
         "23m ago (limit 15m: 3 × its usual 5m)"),
        (runs(-9000, -5400, -1800, window_hours=24), None, None),
        (runs(-2000, -1400, window_hours=24), None, None),
    ],
)  # fmt: skip
def test_age_limit_follows_settings_window_and_usual_interval(
    history: list[Sample], stale_s: float | None, words: str | None
) -> None:
    settings = Settings(monitors=Monitors(pipeline=Pipeline(stale_s=stale_s)))
    health = pipeline.judge(history, NOW, settings)
    assert health.state is (HealthState.FAILING if words else HealthState.OK)
    assert health.reason == (f"written {words}" if words else "")


async def test_file_contents_are_summarized(box: Any) -> None:
    write(box, {
        "generated_at": datetime.now().isoformat(), "window_hours": 24,
        "metrics_path": str(box.outputs_dir / "gone.jsonl"),
        "seeds": {"a": 0.5, "b": 2, "c": "x", "d": 1, "e": 2, "f": 3},
        "simulation": {"final_state": {"hope": 0.25}, "resonance_series": [1.0, 0.5]},
        "next_runs": {"late": "2030-01-02T03:10:00", "odd": "soon", "early": "2030-01-01T02:00:00"},
    })  # fmt: skip
    one = await pipeline.probe(box)
    assert one.data["about"] == [
        ["seeds", "a 0.5, b 2, d 1, e 2, 1 more"],
        ["series", "2 values, the last 0.5"],
        ["state", "hope 0.25"],
    ]
    assert list(one.data["next_runs"]) == ["early", "late", "odd"]
    health = pipeline.judge([one], one.moment, box.settings)
    assert (health.state, health.kind) == (HealthState.OK, "once")
    assert health.reason == "its metrics file gone.jsonl does not exist"


# --- collect mode ---------------------------------------------------------------------------


async def test_missing_file_starts_collect_mode(box: Any) -> None:
    box.samples = [
        looked(box, 20, size=2, successful=3),
        looked(box, 10, size=4, successful=6, failed=1),
        Sample("canary", box.now().plus(-15), {"ok": True, "latency_s": 0.25}),
    ]
    for _ in range(2):
        one = await pipeline.probe(box)
        assert (one.data["mode"], one.data["problem"]) == ("collect", None)
        assert one.data["unseen"] is True
        assert one.data["channels"] == [
            ["latency_s", 0.25, "ok"], ["queue_size", 4, "ok"], ["success_rate", 75.0, "ok"],
        ]  # fmt: skip
        assert set(one.data["next_runs"]) == {"pipeline", "canary"}
        assert pipeline.judge([one], one.moment, box.settings).state is HealthState.OK
    names = sorted(path.name for path in box.outputs_dir.iterdir())
    assert names == [STATUS, "realtime_pipeline_status.md"]
    assert "| queue_size | 4 |" in (box.outputs_dir / names[1]).read_text()


async def test_collected_file_keeps_the_original_format(box: Any) -> None:
    box.samples = [looked(box, 100.0 * n, size=n) for n in reversed(range(50))]
    await pipeline.probe(box)
    status = json.loads((box.outputs_dir / STATUS).read_bytes())
    assert (status["generator"], status["schema"], status["window_hours"]) == ("rpa-console", 1, 24)
    age = datetime.now() - datetime.fromisoformat(status["generated_at"])
    assert age.total_seconds() < 10
    season = status["seasonality"][0]
    assert {"channel", "latest", "period", "anomaly", "severity", "deviation_sigma", "baseline",
            "confidence", "mean", "sigma"} <= set(season)  # fmt: skip
    assert all(isinstance(value, float) for value in status["seeds"].values())
    series = status["simulation"]["resonance_series"]
    assert len(series) == 28 and all(isinstance(value, float) for value in series)
    for at in status["next_runs"].values():
        datetime.fromisoformat(at)


async def test_collected_file_without_data_says_so(box: Any) -> None:
    one = await pipeline.probe(box)
    assert (one.data["channels"], pipeline.result(one)) == ([], "collect: 0 channels")
    assert "nothing measured yet" in (box.outputs_dir / STATUS).with_suffix(".md").read_text()


async def test_unwritable_file_is_failing(box: Any) -> None:
    box.outputs_dir.write_text("in the way")
    one = await pipeline.probe(box.with_monitor("pipeline", mode="collect"))
    health = pipeline.judge([one], one.moment, box.settings)
    assert health.state is HealthState.FAILING
    assert health.reason.startswith(f"collect: cannot write {STATUS}: ")


async def test_configured_collect_mode_replaces_a_file_of_another_program(box: Any) -> None:
    write(box, foreign(box))
    one = await pipeline.probe(box.with_monitor("pipeline", mode="collect"))
    assert one.data["mode"] == "collect"
    assert json.loads((box.outputs_dir / STATUS).read_bytes())["generator"] == "rpa-console"


async def test_file_of_the_demo_pipeline_is_read(rig: Any, box: Any, wait_for: Any) -> None:
    url = rig.queue()
    arguments = ("--server", url, "--outputs", str(box.outputs_dir), "--interval", "1")
    rig.start("realtime_pipeline.py", *arguments)
    wait_for((box.outputs_dir / STATUS).exists)
    one = await pipeline.probe(box)
    assert (one.data["mode"], one.data["problem"]) == ("read", None)
    assert pipeline.judge([one], box.now(), box.settings).state is HealthState.OK
