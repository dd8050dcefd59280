"""After a restart of the machine, deaths of earlier workers are recorded with that reason."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from console.system import clock
from console.system.locks import ofd_lock

Wait = Callable[..., Any]
WORDS = "the machine was restarted at "


@pytest.fixture
def restarted(box: Any, wait_for: Wait) -> Any:
    """A box whose worker ran in an earlier boot. The worker and its shim recorded no death."""
    assert box.run("ensure").returncode == 0
    (pid,) = box.workers()
    record = box.state / "locks" / "worker.owner.json"
    shim = int(json.loads(record.read_text())["shim"].partition(":")[0])
    for one in (shim, pid):
        os.kill(one, signal.SIGKILL)
    wait_for(lambda: not ofd_lock.is_locked(box.state / "locks" / "worker.lock"))
    now, before = clock.boot_id(), "00000000-aaaa-bbbb-cccc-000000000000"
    told = json.loads(record.read_text().replace(now, before))
    told["since"][0] -= 9_000
    record.write_text(json.dumps(told))
    connection = apsw.Connection(str(box.state / "store.sqlite"))
    connection.execute(
        "UPDATE events SET boot = ?, at = at - 9000, identity = replace(identity, ?, ?)",
        (before, now, before),
    )
    connection.execute("UPDATE samples SET boot = ?", (before,))
    connection.close()
    return box


def test_ensure_records_the_death_by_the_machine_restart(restarted: Any) -> None:
    assert restarted.run("ensure").returncode == 0
    (death,) = restarted.lives("died")
    assert death["reason"].startswith(WORDS), death
    assert len(restarted.workers()) == 1


def test_daemon_records_the_machine_restart_and_restarts_the_worker(
    restarted: Any, wait_for: Wait
) -> None:
    assert restarted.run("daemon", "start").returncode == 0
    (death,) = wait_for(lambda: restarted.lives("died"), 30)
    assert death["reason"].startswith(WORDS), death
    wait_for(restarted.workers, 30)
    assert WORDS in restarted.run("why", "worker").stdout
    report = restarted.run("report").stdout
    assert WORDS in report and "How worker" not in report
