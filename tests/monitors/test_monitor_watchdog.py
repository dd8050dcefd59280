"""The watchdog monitor: the process and its heartbeat, on real files."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from console.core.model.processes import Identity, Instance, Process
from console.core.model.samples import HealthState, Sample
from console.core.model.time import Moment
from console.monitors import watchdog
from console.system.config.schema import Settings

NOW = Moment(1_762_165_640.0, 5000.0, "b1")


def instance(pid: int, started: Moment) -> Instance:
    return Instance("watchdog", (Process(Identity(pid, 99, "b1"), 1, ("w",), started),))


def write(box: Any, raw: bytes) -> None:
    box.outputs_dir.mkdir(exist_ok=True)
    (box.outputs_dir / "watchdog_status_latest.json").write_bytes(raw)


def status(box: Any, ago: float, **more: Any) -> bytes:
    stamp = datetime.fromtimestamp(box.now().at - ago, UTC).isoformat()
    return json.dumps({"timestamp": stamp, "health_ok": True, "queue_size": 2, **more}).encode()


async def test_probe_reads_the_process_and_the_heartbeat(box: Any) -> None:
    box.seen = (instance(8, box.now()), instance(7, box.now().plus(-500)))
    write(box, b"\xef\xbb\xbf" + status(box, 12, anomalies="queue_stuck"))
    seen = (await watchdog.probe(box)).data
    assert (seen["pid"], seen["ticks"], seen["instances"], seen["problem"]) == (7, 99, 2, None)
    assert (seen["anomalies"], seen["health_ok"], seen["queue_size"]) == (["queue_stuck"], True, 2)
    assert box.now().at - seen["heartbeat_at"] == pytest.approx(12, abs=5)


async def test_a_timestamp_without_zone_is_utc(box: Any) -> None:
    stamp = datetime.fromtimestamp(box.now().at - 12, UTC).replace(tzinfo=None).isoformat()
    write(box, json.dumps({"timestamp": stamp + "1"}).encode())
    seen = (await watchdog.probe(box)).data
    assert box.now().at - seen["heartbeat_at"] == pytest.approx(12, abs=5)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"timestamp": "2025', "half written"),
        (b"<html>oh, a page</html>", "not JSON"),
        (b"[]", "no heartbeat in it"),
        (b'{"timestamp": 5, "anomalies": {"a": 1}, "queue_size": true}', "no heartbeat in it"),
    ],
)
async def test_unusable_heartbeat_file_is_unknown(box: Any, raw: bytes, problem: str) -> None:
    box.seen = (instance(7, box.now().plus(-500)),)
    write(box, raw)
    one = await watchdog.probe(box)
    assert one.error is None and one.data["heartbeat_at"] is None
    assert one.data["problem"].startswith(problem)
    assert watchdog.judge([one], NOW, box.settings).state is HealthState.UNKNOWN


def sample(beat: float | None = None, up: float | None = 9000, **data: Any) -> Sample:
    """Return a sample of a process `up` seconds old whose heartbeat is `beat` seconds old."""
    process = {"pid": 7, "started_at": NOW.at - up} if up is not None else {}
    heartbeat = None if beat is None else NOW.at - beat
    problem = "missing" if beat is None else None
    whole = {"heartbeat_at": heartbeat, "problem": problem, "path": "/o/w.json", **process, **data}
    return Sample("watchdog", NOW, whole)


@pytest.mark.parametrize(
    ("history", "state", "reason"),
    [
        ([sample(12)], HealthState.OK, ""),
        ([sample(180)], HealthState.OK, ""),
        ([sample(600)], HealthState.FAILING, "last heartbeat 10m ago"),
        ([sample(600, up=20)], HealthState.UNKNOWN, "last heartbeat 10m ago"),
        ([sample(-3600)], HealthState.UNKNOWN, "clock off: heartbeat 1h00m in the future"),
        ([sample(-2)], HealthState.OK, ""),
        ([sample(12, anomalies=["a", "b"])], HealthState.FAILING, "reports a, b as of 10s ago"),
        ([sample()], HealthState.FAILING, "no heartbeat: missing: /o/w.json"),
        ([sample(up=5)], HealthState.UNKNOWN, "no heartbeat: missing"),
        (
            [sample(up=None)],
            HealthState.FAILING,
            "not found: name it with `[roles.watchdog] match`",
        ),
        (
            [sample(12, up=None)],
            HealthState.FAILING,
            "no process matches, yet its heartbeat is 12s old: name it with "
            "`[roles.watchdog] match`",
        ),
        ([sample(600, up=None)], HealthState.FAILING, "no process; last heartbeat 10m"),
        ([sample(problem="not permitted")], HealthState.UNKNOWN, "no heartbeat: not permitted"),
        ([sample(30), sample(problem="half written: x")], HealthState.OK, ""),
        (
            [sample(problem="half written: x"), sample(problem="half written: x")],
            HealthState.UNKNOWN,
            "no heartbeat: half written: x",
        ),
    ],
)
def test_judge_by_process_and_heartbeat(
    history: list[Sample], state: HealthState, reason: str
) -> None:
    health = watchdog.judge(history, NOW, Settings())
    assert (health.state, health.reason) == (state, reason)


def test_result_describes_process_and_heartbeat() -> None:
    assert watchdog.result(sample(12, anomalies=["queue_stuck"])) == (
        "PID 7, heartbeat 12s old, queue_stuck"
    )
    assert watchdog.result(sample(up=None)) == "no process, no heartbeat"


async def test_heartbeat_of_the_demo_watchdog_is_read(rig: Any, box: Any, wait_for: Any) -> None:
    url = rig.queue()
    arguments = ("--server", url, "--outputs", str(box.outputs_dir), "--interval", "1")
    process = rig.start("task_watchdog.py", *arguments)
    wait_for((box.outputs_dir / "watchdog_status_latest.json").exists)
    box.seen = (instance(process.pid, box.now()),)

    def content() -> bool:
        one = asyncio.run(watchdog.probe(box))
        return watchdog.judge([one], box.now(), box.settings).state is HealthState.OK

    await asyncio.to_thread(wait_for, content)
