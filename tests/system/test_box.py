"""Tests of the box: observed instances, usage meter, and the daemon's lease."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from guard_harness import wait_for

from console.core.model.events import EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner, Role
from console.core.model.time import Moment
from console.core.processes.instances import ENV_MARKERS, BoxScope, ProcessForest
from console.core.records import replace
from console.system import clock, daemon_role
from console.system.box import MAX_LIVENESS_CHECKS, MAX_OBSERVATION_AGE_S, Box, open_box, slot_name
from console.system.config.schema import RoleSettings, Settings
from console.system.locks import lease
from console.system.paths import PathError
from console.system.processes import process_table
from console.system.processes.lease_attribution import attribute_lease
from console.system.processes.role_survey import Survey
from console.system.processes.usage import MAX_INSTANCES, UsageMeter
from console.system.store.store import StoreError

NOW = Moment(1_000.0, 1_000.0, "boot")
WORKER = Role("worker", "rpa_worker.py")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(Settings(), tmp_path / "state") as opened:
        yield opened


def one(pid: int, ppid: int = 1, *argv: str, **more: Any) -> Process:
    identity = Identity(pid, pid, "boot")
    return Process(identity, ppid, argv or ("python", "rpa_worker.py"), NOW, **more)


def owner(of: Process, shim: int | None = 9) -> Owner:
    return Owner(of.identity, 7, NOW, Identity(shim, 1, "boot") if shim else None, "cli:ana")


def survey(*seen: Process) -> Survey:
    return Survey(ProcessForest(seen), seen, (), BoxScope("box"), (), {})


# --- lease attribution ----------------------------------------------------------------------


def test_owner_process_tree_is_the_leased_instance() -> None:
    root, child = one(20), one(21, 20, "python", "child.py")
    found = [Instance("worker", (root,))]
    (leased,), held = attribute_lease(
        WORKER, found, Lease(LeaseState.HELD, owner(root)), survey(root, child)
    )
    assert (leased.leased, leased.token, leased.pids) == (True, 7, (20, 21))
    assert held.state is LeaseState.HELD


def test_owner_that_does_not_match_yet_is_an_instance() -> None:
    wrapper = one(20, 1, "sh", "-c", "sleep 1; exec python rpa_worker.py")
    (leased,), _ = attribute_lease(
        WORKER, [], Lease(LeaseState.HELD, owner(wrapper)), survey(wrapper)
    )
    assert (leased.pid, leased.leased) == (20, True)


def test_owner_without_its_lock_is_an_unleased_instance() -> None:
    root = one(20)
    found = [Instance("worker", (root,))]
    (free,), _ = attribute_lease(WORKER, found, Lease(LeaseState.FREE, owner(root)), survey(root))
    assert (free.leased, free.token) == (False, 7)


def test_dead_zombie_or_shimless_owner_holds_no_lease() -> None:
    stranger = one(30)
    found = [Instance("worker", (stranger,))]
    for gone in (owner(one(20)), owner(one(30, state="Z")), owner(stranger, shim=None)):
        held = Lease(LeaseState.HELD, gone)
        zombie = one(30, state="Z") if gone.identity.pid == 30 and gone.shim else stranger
        (kept,), _ = attribute_lease(WORKER, found, held, survey(zombie))
        assert not kept.leased


def test_process_with_the_owners_env_markers_joins_its_instance() -> None:
    root, loose = one(20), one(30, env=dict(zip(ENV_MARKERS, ("box", "worker", "7"), strict=True)))
    found = [Instance("worker", (root,)), Instance("worker", (loose,))]
    held = Lease(LeaseState.HELD, owner(root))
    (whole,), _ = attribute_lease(WORKER, found, held, survey(root, loose))
    assert (whole.pids, whole.leased) == ((20, 30), True)
    none, _ = attribute_lease(WORKER, [Instance("worker", (loose,))], held, survey(loose))
    assert none == [], "its shim is ending what the dead worker has left"


def test_matching_leftover_that_holds_the_lease_is_the_instance() -> None:
    leftover = one(22)
    held = Lease(LeaseState.ORPHANED, owner(one(20)), (22,), "its owner is gone")
    (kept,), now = attribute_lease(
        WORKER, [Instance("worker", (leftover,))], held, survey(leftover)
    )
    assert (kept.leased, now.state) == (True, LeaseState.HELD)
    (other,), still = attribute_lease(
        WORKER, [Instance("worker", (one(23),))], held, survey(leftover)
    )
    assert (other.leased, still.state) == (False, LeaseState.ORPHANED)


def test_each_wanted_instance_has_its_own_lease(tmp_path: Path) -> None:
    settings = Settings(roles={"worker": RoleSettings(match="rpa_worker.py", count=3)})
    with open_box(settings, tmp_path / "state") as box:
        (seen, _) = box.observe(box.roles)
        assert len(seen.leases) == 3
    assert [slot_name(WORKER, slot) for slot in range(3)] == ["worker", "worker.2", "worker.3"]


# --- opening --------------------------------------------------------------------------------


def test_ephemeral_box_leaves_no_files(tmp_path: Path) -> None:
    with open_box(Settings(), tmp_path / "state", ephemeral=True) as box:
        box.record(EventKind.NOTICED, role="worker", reason="kept in memory")
        assert len(box.store.events()) == 1
        assert [one.worst_lease.state for one in box.observe(box.roles)] == [LeaseState.FREE] * 2
    assert list(tmp_path.iterdir()) == []


def test_open_box_error_states_the_reason(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with (
        pytest.raises(PathError, match="not a directory"),
        open_box(Settings(), tmp_path / "state"),
    ):
        raise AssertionError("opened")
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "other" / "store.sqlite").write_bytes(b"no database, but long enough to see it")
    with (
        pytest.raises(StoreError, match="not a database"),
        open_box(Settings(), tmp_path / "other", ephemeral=True),
    ):
        raise AssertionError("opened")


def test_outputs_directory_follows_state_or_settings(box: Box, tmp_path: Path) -> None:
    assert box.outputs_dir == tmp_path / "state" / "outputs"
    with open_box(Settings(outputs="~/files"), tmp_path / "other") as other:
        assert other.outputs_dir == Path.home() / "files"


def test_observing_process_is_never_a_worker(box: Box) -> None:
    """The command line of a console, or of its shell, may contain the script's name."""
    script = (
        "import sys; from pathlib import Path; from console.system.box import open_box;"
        "from console.system.config.schema import Settings;"
        f"box = open_box(Settings(), Path({str(box.paths.state)!r})).__enter__();"
        "print([one.pid for one in box.observe(box.roles)[0].instances], __import__('os').getpid())"
    )
    argv = [sys.executable, "-c", script, "rpa_worker.py"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    listed, _, pid = ran.stdout.strip().rpartition(" ")
    assert pid not in listed.strip("[]").split(", ")


# --- the meter ------------------------------------------------------------------------------


def test_usage_meter_reports_cpu_rate_and_current_memory() -> None:
    meter = UsageMeter()
    identity = process_table.identify(os.getpid())
    assert identity is not None
    own = Instance("worker", (Process(identity, 1, (), clock.now()),))
    first = meter.measure(own)
    assert first[0] is None
    assert first[1] > 1_000_000
    assert meter.measure(own)[0] is None  # too soon for a rate
    meter = UsageMeter()
    meter.measure(own)
    ends = time.monotonic() + 0.7
    while time.monotonic() < ends:
        pass
    cpu, _ = meter.measure(own)
    assert cpu is not None
    assert 5 < cpu < 150


def test_usage_meter_keeps_a_bounded_number_of_readings() -> None:
    meter = UsageMeter()
    for number in range(MAX_INSTANCES + 10):
        meter.measure(Instance("worker", (one(4_000_000 + number),)))
    assert len(meter._last_readings) == MAX_INSTANCES


# --- the daemon's lease ---------------------------------------------------------------------


def test_daemon_lease_is_granted_once_until_it_is_closed(box: Box) -> None:
    grant = daemon_role.acquire_lease(box.paths, box.store)
    assert grant is not None
    assert daemon_role.acquire_lease(box.paths, box.store) is None
    held = lease.read_lease(
        box.paths.lease(daemon_role.ROLE_NAME), box.paths.owner(daemon_role.ROLE_NAME)
    )
    assert held.state is LeaseState.HELD
    assert held.owner is not None
    assert held.owner.identity.pid == os.getpid()
    grant.close()
    held = lease.read_lease(
        box.paths.lease(daemon_role.ROLE_NAME), box.paths.owner(daemon_role.ROLE_NAME)
    )
    assert held.state is LeaseState.FREE
    again = daemon_role.acquire_lease(box.paths, box.store)
    assert again is not None
    again.close()


def test_daemon_role_command_runs_the_daemon_with_its_config(tmp_path: Path) -> None:
    role = daemon_role.build_role(tmp_path / "state", tmp_path / "config.toml")
    assert role.command[-2:] == ("daemon", "run")
    assert str(tmp_path / "config.toml") in role.command
    assert "--config" not in daemon_role.build_role(tmp_path, None).command
    assert role.cwd == "/"


def test_heartbeat_reads_back_with_boot_and_time(box: Box) -> None:
    assert daemon_role.read_heartbeat(box.paths) is None
    daemon_role.write_heartbeat(box.paths)
    beat = daemon_role.read_heartbeat(box.paths)
    assert beat is not None
    assert beat.boot == box.now().boot
    assert 0 <= box.now().since(beat) < 5


# --- reuse of a recent observation -----------------------------------------------------------


class Blind(process_table.ProcessTable):
    """A process table whose scan always fails."""

    def scan(self, refresh_pids: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        raise process_table.ProcessError("looked again")


@contextmanager
def watchdog(box: Box) -> Iterator[subprocess.Popen[bytes]]:
    """Run an idle watchdog that an observation has found."""
    script = box.paths.state / "task_watchdog.py"
    script.write_text("input()")
    role = next(role for role in box.roles if role.name == "watchdog")
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE) as one:
        try:
            assert wait_for(
                lambda: one.pid in {each.pid for each in box.observe([role])[0].instances}
            )
            yield one
        finally:
            one.kill()


async def test_find_instances_reuses_a_recent_observation_of_live_processes(box: Box) -> None:
    with watchdog(box) as one:
        seen = box._last_observations["watchdog"].instances
        box.table = Blind()
        assert await box.find_instances("watchdog") == seen
        one.kill()
        one.wait(10)
        with pytest.raises(process_table.ProcessError, match="looked again"):
            await box.find_instances("watchdog")


async def test_find_instances_scans_again_after_an_empty_or_stale_observation(box: Box) -> None:
    box.observe(box.roles)
    known = box._last_observations["watchdog"]
    box.table = Blind()
    alone = process_table.identify(os.getpid())
    assert alone is not None
    ours = Instance("watchdog", (Process(alone, 1, (), clock.now()),))
    old = box.now().plus(-MAX_OBSERVATION_AGE_S - 1)
    for seen in (
        replace(known, instances=()),
        replace(known, instances=(ours,), moment=old),
        replace(known, instances=(ours, Instance("watchdog", (one(4_000_000),)))),
        replace(known, instances=(ours,) * (MAX_LIVENESS_CHECKS + 1)),
    ):
        box._last_observations["watchdog"] = seen
        with pytest.raises(process_table.ProcessError, match="looked again"):
            await box.find_instances("watchdog")
    box._last_observations["watchdog"] = replace(known, instances=(ours,))
    assert await box.find_instances("watchdog") == (ours,)
