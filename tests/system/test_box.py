"""A box: what is seen of its roles, the meter, and the daemon's own lease."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arena import wait_for

from console.core.model.events import EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner, Role
from console.core.model.time import Moment
from console.core.processes.instances import ENV_MARKERS, BoxScope, ProcessForest
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


# --- whose lease it is ----------------------------------------------------------------------


def test_the_owners_tree_is_the_leased_instance() -> None:
    root, child = one(20), one(21, 20, "python", "child.py")
    found = [Instance("worker", (root,))]
    (leased,), held = attribute_lease(
        WORKER, found, Lease(LeaseState.HELD, owner(root)), survey(root, child)
    )
    assert (leased.leased, leased.token, leased.pids) == (True, 7, (20, 21))
    assert held.state is LeaseState.HELD


def test_an_owner_that_does_not_match_yet_is_an_instance_all_the_same() -> None:
    wrapper = one(20, 1, "sh", "-c", "sleep 1; exec python rpa_worker.py")
    (leased,), _ = attribute_lease(
        WORKER, [], Lease(LeaseState.HELD, owner(wrapper)), survey(wrapper)
    )
    assert (leased.pid, leased.leased) == (20, True)


def test_an_owner_that_lost_its_lock_is_one_instance_and_not_leased() -> None:
    root = one(20)
    found = [Instance("worker", (root,))]
    (free,), _ = attribute_lease(WORKER, found, Lease(LeaseState.FREE, owner(root)), survey(root))
    assert (free.leased, free.token) == (False, 7)


def test_an_owner_that_is_gone_a_zombie_or_a_mere_claim_owns_nothing() -> None:
    stranger = one(30)
    found = [Instance("worker", (stranger,))]
    for gone in (owner(one(20)), owner(one(30, state="Z")), owner(stranger, shim=None)):
        held = Lease(LeaseState.HELD, gone)
        zombie = one(30, state="Z") if gone.identity.pid == 30 and gone.shim else stranger
        (kept,), _ = attribute_lease(WORKER, found, held, survey(zombie))
        assert not kept.leased


def test_what_bears_the_owners_marks_is_part_of_its_instance() -> None:
    root, loose = one(20), one(30, env=dict(zip(ENV_MARKERS, ("box", "worker", "7"), strict=True)))
    found = [Instance("worker", (root,)), Instance("worker", (loose,))]
    held = Lease(LeaseState.HELD, owner(root))
    (whole,), _ = attribute_lease(WORKER, found, held, survey(root, loose))
    assert (whole.pids, whole.leased) == ((20, 30), True)
    none, _ = attribute_lease(WORKER, [Instance("worker", (loose,))], held, survey(loose))
    assert none == [], "its shim is ending what the dead worker has left"


def test_a_leftover_that_holds_the_lease_and_matches_is_the_instance() -> None:
    heir = one(22)
    held = Lease(LeaseState.ORPHANED, owner(one(20)), (22,), "its owner is gone")
    (kept,), now = attribute_lease(WORKER, [Instance("worker", (heir,))], held, survey(heir))
    assert (kept.leased, now.state) == (True, LeaseState.HELD)
    (other,), still = attribute_lease(WORKER, [Instance("worker", (one(23),))], held, survey(heir))
    assert (other.leased, still.state) == (False, LeaseState.ORPHANED)


def test_each_wanted_instance_has_a_lease_of_its_own(tmp_path: Path) -> None:
    settings = Settings(roles={"worker": RoleSettings(match="rpa_worker.py", count=3)})
    with open_box(settings, tmp_path / "state") as box:
        (seen, _) = box.observe(box.roles)
        assert len(seen.leases) == 3
    assert [slot_name(WORKER, slot) for slot in range(3)] == ["worker", "worker.2", "worker.3"]


# --- opening --------------------------------------------------------------------------------


def test_who_only_looks_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_box(Settings(), tmp_path / "state", ephemeral=True) as box:
        box.record(EventKind.NOTICED, "worker", "", "kept in memory")
        assert len(box.store.events()) == 1
        assert [one.worst_lease.state for one in box.observe(box.roles)] == [LeaseState.FREE] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_box_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
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


def test_where_the_outputs_are(box: Box, tmp_path: Path) -> None:
    assert box.outputs_dir == tmp_path / "state" / "outputs"
    with open_box(Settings(outputs="~/files"), tmp_path / "other") as other:
        assert other.outputs_dir == Path.home() / "files"


def test_we_are_never_a_worker_ourselves(box: Box) -> None:
    """A console, and the shell that calls it, may well name the script."""
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


def test_cpu_is_a_rate_between_two_looks_and_memory_is_now() -> None:
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


def test_a_meter_forgets_the_dead() -> None:
    meter = UsageMeter()
    for number in range(MAX_INSTANCES + 10):
        meter.measure(Instance("worker", (one(4_000_000 + number),)))
    assert len(meter._last_readings) == MAX_INSTANCES


# --- the daemon's lease ---------------------------------------------------------------------


def test_one_process_runs_the_monitors(box: Box) -> None:
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


def test_the_daemon_is_started_like_any_other_role(tmp_path: Path) -> None:
    role = daemon_role.build_role(tmp_path / "state", tmp_path / "config.toml")
    assert role.command[-2:] == ("daemon", "run")
    assert str(tmp_path / "config.toml") in role.command
    assert "--config" not in daemon_role.build_role(tmp_path, None).command
    assert role.cwd == "/"


def test_a_heartbeat_says_when_on_both_clocks(box: Box) -> None:
    assert daemon_role.read_heartbeat(box.paths) is None
    daemon_role.write_heartbeat(box.paths)
    beat = daemon_role.read_heartbeat(box.paths)
    assert beat is not None
    assert beat.boot == box.now().boot
    assert 0 <= box.now().since(beat) < 5


# --- what another look has seen already ------------------------------------------------------


class Blind(process_table.ProcessTable):
    """A table that cannot be looked at any more."""

    def scan(self, refresh_pids: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        raise process_table.ProcessError("looked again")


@contextmanager
def watchdog(box: Box) -> Iterator[subprocess.Popen[bytes]]:
    """One that does nothing, and that a look has found."""
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


async def test_who_was_seen_a_moment_ago_and_lives_is_not_looked_for(box: Box) -> None:
    with watchdog(box) as one:
        seen = box._last_observations["watchdog"].instances
        box.table = Blind()
        assert await box.find_instances("watchdog") == seen
        one.kill()
        one.wait(10)
        with pytest.raises(process_table.ProcessError, match="looked again"):
            await box.find_instances("watchdog")


async def test_that_nobody_was_there_is_asked_again_and_so_is_what_is_old(box: Box) -> None:
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
