"""The status files of the demo watchdog and pipeline, and the task generator."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from console.demo.environment import find_free_port

FIELDS = {
    "timestamp",
    "server_url",
    "health_ok",
    "queue_size",
    "results_count",
    "oldest_task_age_sec",
    "anomalies",
    "recommendations",
    "self_test",
    "self_test_task_id",
}


class Outputs:
    """The status files of one output directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, name: str) -> Any:
        """Return a JSON file's content, or None while the file is missing."""
        path = self.directory / name
        return json.loads(path.read_text()) if path.exists() else None

    def watchdog(self) -> Any:
        """Return the latest watchdog status."""
        return self.read("watchdog_status_latest.json")

    def pipeline(self) -> Any:
        """Return the pipeline status."""
        return self.read("realtime_pipeline_status.json")


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Return an output directory that does not exist yet."""
    return Outputs(tmp_path / "outputs")


def watch(bench: Any, url: str, outputs: Outputs, *more: str) -> None:
    """Start a watchdog with a short interval."""
    place = ["--outputs", str(outputs.directory)]
    bench.start("task_watchdog.py", "--server", url, "--interval", "0.05", *place, *more)


def test_watchdog_reports_no_anomalies_for_a_healthy_server(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    watch(bench, queue.url, outputs)
    status = wait_for(outputs.watchdog)
    assert status.keys() == FIELDS
    seen = datetime.fromisoformat(status.pop("timestamp"))
    assert seen.tzinfo == UTC and abs((datetime.now(UTC) - seen).total_seconds()) < 5
    assert status == {
        "server_url": queue.url,
        "health_ok": True,
        "queue_size": 0,
        "results_count": 0,
        "oldest_task_age_sec": None,
        "anomalies": [],
        "recommendations": [],
        "self_test": False,
        "self_test_task_id": None,
    }


def test_watchdog_reports_a_server_that_is_down(
    bench: Any, outputs: Outputs, wait_for: Any
) -> None:
    watch(bench, f"http://127.0.0.1:{find_free_port()}", outputs, "--auto-recover")
    status = wait_for(outputs.watchdog)
    assert status.keys() == FIELDS
    assert (status["health_ok"], status["queue_size"], status["results_count"]) == (
        False,
        None,
        None,
    )
    assert status["anomalies"] == ["server_down"] and len(status["recommendations"]) == 1
    wait_for(lambda: "only recommends" in bench.log("task_watchdog.py"))


def test_watchdog_reports_a_stuck_queue_without_consumers(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    queue.add("wait")
    watch(bench, queue.url, outputs, "--stuck-s", "0.4")
    both = ["queue_stuck", "consumers_not_consuming"]
    wait_for(lambda: (outputs.watchdog() or {}).get("anomalies") == both)
    assert outputs.watchdog()["oldest_task_age_sec"] > 0.4
    queue.get("/api/tasks/next")
    wait_for(lambda: outputs.watchdog()["anomalies"] == [])


def test_watchdog_keeps_only_the_newest_status_files(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    outputs.directory.mkdir()
    old = [outputs.directory / f"watchdog_status_20200101_{n:012}.json" for n in range(200)]
    for path in [*old, outputs.directory / "watchdog_status_notes.json"]:
        path.write_text("{}")
    watch(bench, queue.url, outputs)
    wait_for(lambda: not old[151].exists())
    assert old[-1].exists()
    kept = [path.name for path in outputs.directory.glob("watchdog_status_*.json")]
    assert "watchdog_status_notes.json" in kept and "watchdog_status_latest.json" in kept
    assert len(kept) <= 50 + 3


def pipe(bench: Any, url: str, outputs: Outputs, *more: str) -> Any:
    """Start a pipeline with a short interval."""
    outputs.directory.mkdir(exist_ok=True)
    place = ["--outputs", str(outputs.directory)]
    return bench.start("realtime_pipeline.py", "--server", url, "--interval", "0.05", *place, *more)


def test_pipeline_status_has_every_field(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    body = {"success": True, "data": {"duration_ms": 40}}
    queue.post(f"/api/tasks/{queue.add('x')}/result", body)
    pipe(bench, queue.url, outputs)
    wait_for(lambda: len((outputs.pipeline() or {}).get("seasonality", [])) == 3)
    status = outputs.pipeline()
    assert list(status) == [
        "generated_at",
        "metrics_path",
        "window_hours",
        "seeds",
        "seasonality",
        "simulation",
        "next_runs",
    ]
    assert datetime.fromisoformat(status["generated_at"]).tzinfo is None
    assert status["window_hours"] == 24
    assert status["seeds"] == {"latency_ms": 40.0, "queue_size": 0.0, "success_rate": 100.0}
    assert status["seasonality"][0].keys() == {
        "channel",
        "latest",
        "period",
        "anomaly",
        "severity",
        "deviation_sigma",
        "baseline",
        "confidence",
    }
    series = status["simulation"]["resonance_series"]
    assert len(series) == 28 and all(isinstance(value, float) for value in series)
    assert status["simulation"]["final_state"] == status["seeds"]
    assert all(datetime.fromisoformat(when) for when in status["next_runs"].values())
    summary = outputs.directory / "realtime_pipeline_status.md"
    wait_for(summary.exists)  # the pipeline writes it after the JSON file
    assert "| queue_size |" in summary.read_text()


def test_pipeline_reports_a_jump_in_queue_size(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    pipe(bench, queue.url, outputs)
    metrics = outputs.directory / "realtime_pipeline_metrics.jsonl"
    wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 15)
    for _ in range(20):
        queue.add("wait")

    def jumps() -> list[str]:
        seen = [one for one in outputs.pipeline()["seasonality"] if one["severity"] == "high"]
        return [one["channel"] for one in seen if one["anomaly"]]

    # a sample taken while tasks are added shows a smaller jump
    assert wait_for(jumps) == ["queue_size"]
    assert max(outputs.pipeline()["simulation"]["resonance_series"]) > 0


def test_pipeline_ignores_a_single_waiting_task(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    pipe(bench, queue.url, outputs)
    metrics = outputs.directory / "realtime_pipeline_metrics.jsonl"
    wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 15)
    queue.add("wait")

    def depth() -> Any:
        seen = {one["channel"]: one for one in outputs.pipeline()["seasonality"]}
        return seen["queue_size"] if seen["queue_size"]["latest"] == 1 else None

    assert wait_for(depth)["severity"] == "none"


def test_restarted_pipeline_keeps_its_samples(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    first = pipe(bench, queue.url, outputs)
    metrics = outputs.directory / "realtime_pipeline_metrics.jsonl"
    wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 10)
    first.kill()
    first.wait(5)
    metrics.write_text(metrics.read_text() + '{"at": 17')
    pipe(bench, queue.url, outputs)
    wait_for(lambda: '{"at": 17\n' not in metrics.read_text() + "\n")
    samples = [json.loads(line) for line in metrics.read_text().splitlines()[:-1]]
    assert len(samples) >= 10 and all(sample["at"] > 1e9 for sample in samples)


def test_torn_option_leaves_a_truncated_status_file(
    bench: Any, queue: Any, outputs: Outputs, wait_for: Any
) -> None:
    pipe(bench, queue.url, outputs, "--torn")
    wait_for((outputs.directory / "realtime_pipeline_status.md").exists)
    with pytest.raises(json.JSONDecodeError):
        outputs.pipeline()


def test_task_generator_stops_adding_at_the_queue_limit(
    bench: Any, queue: Any, wait_for: Any
) -> None:
    trickle = bench.start("task_generator.py", "--server", queue.url, "--every", "0.02")
    wait_for(lambda: "nothing added: 6" in bench.log("task_generator.py"))
    assert queue.get("/api/stats")["pending"] == 6
    bench.start("rpa_worker.py", "--server", queue.url, "--interval", "0.02")
    wait_for(lambda: queue.get("/api/stats")["successful"] >= 5)
    stats = queue.get("/api/stats")
    assert stats["pending"] <= 6 and stats["failed"] == 0
    queue.kill()
    wait_for(lambda: "Refused" in bench.log("task_generator.py"))
    assert trickle.poll() is None
