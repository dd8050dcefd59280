"""The format of `worker_monitor.log`, which other tools parse."""

from __future__ import annotations

import re

from console.core.model.samples import Health, HealthState
from console.core.supervision.role_codec import RoleObservation
from console.runtime.supervision.worker_log import WorkerLog
from console.system.box import Box

LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]\[(DEBUG|INFO|WARN|ERROR)\] (.+)")


def test_each_line_has_a_timestamp_level_and_text(box: Box) -> None:
    log = WorkerLog(box)
    log.log_start()
    log.log_workers(RoleObservation(), Health(HealthState.OK))
    log.log_queue_health(Health(HealthState.FAILING, "no answer: refused"))
    log.write("could not start: \x1b[2J\nsecond", "ERROR")
    path = box.outputs_dir / "worker_monitor.log"
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert [match.groups() for match in found if match] == [
        ("INFO", "Daemon started. interval=300s"),
        ("WARN", "Worker not found"),
        ("INFO", "Server health OK"),
        ("WARN", "Server health failing: no answer: refused"),
        ("ERROR", r"could not start: \x1b[2J\nsecond"),
    ]
    assert all(found)
