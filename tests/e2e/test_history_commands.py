"""The history commands, run on a store that the tests fill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import Role, RoleState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import RoleView
from console.runtime.alerts.alerting import AlertManager
from console.system.box import Box, open_box
from console.system.config.schema import Settings

ROOT = Path(__file__).resolve().parents[2]


class Told:
    """The exit code and the output of one command."""

    def __init__(self, ran: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = ran.returncode, ran.stdout, ran.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(Settings(), tmp_path / "state") as box:
        yield box


def run(tmp_path: Path, *arguments: str) -> Told:
    config = tmp_path / "config.toml"
    config.write_text('[roles.worker]\nmatch = "no_such_worker_here.py"\n[queue]\n'
                      'url = "http://127.0.0.1:1"\n')  # fmt: skip
    command = [sys.executable, "-m", "console", "--config", str(config)]
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "TZ": "UTC"}
    return Told(
        subprocess.run(
            [*command, "--state-dir", str(tmp_path / "state"), *arguments],
            capture_output=True, text=True, env=env, timeout=60, check=False,
        )
    )  # fmt: skip


def fill(box: Box) -> None:
    """Record a worker that started, died, and was restarted by the restart policy."""
    now = box.now()
    dead, alive = Identity(7, 1, "b"), Identity(8, 1, "b")

    def write(
        ago: float, kind: EventKind, by: str, reason: str, who: Identity, **data: Any
    ) -> None:
        moment = Moment(now.at - ago, now.tick - ago, now.boot)
        box.store.add_event(Event(kind, moment, "worker", by, reason, who, None, data))

    write(7200, EventKind.STARTED, "cli:ana", "", dead)
    write(600, EventKind.DIED, "shim", "ended by SIGKILL", dead, uptime_s=6600.0)
    write(595, EventKind.STARTED, "policy", "", alive)


def test_why_explains_roles_and_the_verdict(tmp_path: Path, box: Box) -> None:
    fill(box)
    told = run(tmp_path, "why", "worker", "--json")
    assert (told.code, told.err) == (0, "")
    assert [step["part"] for step in told.json["steps"]] == [
        "symptom", "detector", "rule", "action", "outcome",
    ]  # fmt: skip
    assert told.json["steps"][0]["events"] == [2]
    text = run(tmp_path, "why", "worker").out
    assert "PID 7 was gone: ended by SIGKILL after 1h50m (#2)" in text
    nobody = run(tmp_path, "why", "nobody")
    assert nobody.code == 2 and "there are: worker, watchdog, canary" in nobody.err
    whole = run(tmp_path, "why").out.splitlines()
    assert whole[0].startswith("verdict ") and "the box is DOWN: worker: " in whole[0]
    assert any("no answer: refused" in one for one in whole)
    queue = run(tmp_path, "why", "queue")
    assert queue.code == 0 and "queue: failing: no answer: refused" in queue.out
    assert "no role is configured for it ([roles.queue])" in queue.out


def test_alerts_lists_and_acknowledges_alerts(tmp_path: Path, box: Box) -> None:
    none = run(tmp_path, "alerts")
    assert (none.code, none.out, none.err) == (0, "", "no alert stands\n")
    alerting = AlertManager(box)
    view = RoleView(Role("worker", "x.py"), RoleState.STOPPED, "not found")
    for _ in range(2):
        alerting.update(Snapshot("h", "b", box.now(), Verdict.DOWN, roles=(view,)))
    told = run(tmp_path, "alerts")
    assert told.code == 1 and "worker.down" in told.out and "(#1)" in told.out
    assert run(tmp_path, "alerts", "ack", "worker.up").code == 1
    assert run(tmp_path, "--read-only", "alerts", "ack", "all").code == 1
    assert run(tmp_path, "alerts", "ack", "worker.down").out == "acknowledged: worker.down\n"
    after = run(tmp_path, "alerts", "--json")
    assert after.code == 0 and after.json["alerts"][0]["acknowledged_by"].startswith("cli:")


def test_report_tells_deaths_and_restarts_since_a_time(tmp_path: Path, box: Box) -> None:
    fill(box)
    told = run(tmp_path, "report", "--since", "3h")
    assert told.code == 0 and told.out.startswith("# Hand-over: ")
    assert "PID 7 died after 1h50m: ended by SIGKILL; policy started PID 8 5s later (#2, #3)" in (
        told.out
    )
    late = run(tmp_path, "report", "--json", "--since", "2m")
    assert late.json["schema"] == 1 and late.json["happened"] == []
    wrong = run(tmp_path, "report", "--since", "tomorrow")
    assert wrong.code == 2 and "expected 18:40, 2h" in wrong.err


def test_report_creates_no_state_directory(tmp_path: Path) -> None:
    assert run(tmp_path, "report").code == 0
    assert not (tmp_path / "state").exists()


def test_baseline_commands_start_stop_and_export_a_run(tmp_path: Path, box: Box) -> None:
    assert run(tmp_path, "baseline", "status").code == 0
    assert run(tmp_path, "baseline", "export").code == 1
    wrong = run(tmp_path, "baseline", "start", "--hours", "5")
    assert wrong.code == 2 and "expected 6 to 8" in wrong.err
    assert "collecting for 7 h" in run(tmp_path, "baseline", "start", "--hours", "7").out
    assert run(tmp_path, "baseline", "start").code == 1
    status = run(tmp_path, "baseline", "status")
    assert status.code == 0 and "baseline collecting: undecided" in status.out
    assert "passes unless there is 1 more restart" in status.out
    assert 'state = "collecting"' in run(tmp_path, "baseline", "export").out
    assert "stopped: undecided" in run(tmp_path, "baseline", "stop").out
    run(tmp_path, "baseline", "start")
    assert "nothing is kept" in run(tmp_path, "baseline", "cancel").out
    history = run(tmp_path, "baseline", "history", "--json").json
    assert [one["conclusion"] for one in history["runs"]] == ["undecided"]
    assert run(tmp_path, "baseline", "history", "x", "y").code == 2
