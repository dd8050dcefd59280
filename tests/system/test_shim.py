"""The shim: its memory, the starts and deaths it records, the log sizes it enforces."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guard_harness import Make, dead, kill, wait_for

from console.core.model.commands import Verb
from console.core.model.events import EventKind
from console.core.model.roles import LeaseState
from console.system.guard import shim_launcher
from console.system.locks import ofd_lock
from console.system.shim import supervise

USS_KB = 9_000


def test_shim_memory_is_bounded_and_has_no_third_party_code(make: Make) -> None:
    a = make()
    a.ensure()
    rollup = Path(f"/proc/{a.shim()}/smaps_rollup").read_text()
    private = [line.split() for line in rollup.splitlines() if line.startswith("Private_")]
    assert sum(int(line[1]) for line in private) <= USS_KB
    maps = Path(f"/proc/{a.shim()}/maps").read_text()
    assert "apsw" not in maps and "site-packages" not in maps


def test_shim_imports_only_its_own_modules() -> None:
    root = supervise.__file__.rpartition("/console/")[0]
    code = f"import sys; sys.path.append({root!r}); import console.system.shim.main\n"
    code += "print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heavy = {"json", "typing", "contextlib", "asyncio", "pathlib", "subprocess", "re"}
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("console.")}
    assert (
        ours
        == {
            f"console.system{name}"
            for name in ("", ".shim", ".shim.main", ".shim.supervise", ".shim.worker")
        }
        and not heavy & loaded
    )


def test_worker_does_not_start_when_the_owner_file_is_unwritable(make: Make) -> None:
    a = make()
    owner = a.box.paths.owner("worker")
    owner.mkdir(parents=True)
    outcome = a.do(Verb.ENSURE)
    assert not outcome.done and str(owner) in outcome.message, outcome.message
    assert not (a.place / "starts").exists() and not a.look().instances
    owner.rmdir()
    assert a.ensure().changed


def test_exec_format_error_leaves_the_lease_free(make: Make, tmp_path: Path) -> None:
    program = tmp_path / "of-no-format"
    program.write_bytes(b"\0" * 64)
    program.chmod(0o700)
    a = make(command=[str(program)])
    for _ in range(2):
        outcome = a.do(Verb.ENSURE)
        assert not outcome.done and f"{program}: Exec format error" in outcome.message
        assert a.look().worst_lease.state is LeaseState.FREE
    assert not a.events(EventKind.STARTED) and not a.deaths()
    assert len(a.events(EventKind.FAILED)) == 2


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV"), (signal.SIGTERM, "SIGTERM")],
)
def test_worker_death_by_signal_is_recorded_promptly(make: Make, number: int, name: str) -> None:
    a = make()
    pid = a.ensure().pid or 0
    began = time.monotonic()
    kill(pid, number)
    (death,) = wait_for(a.deaths)
    assert time.monotonic() - began < 3.0, "the aim is one second on a quiet machine"
    assert death.data["signal"] == name and death.data["exit_code"] is None
    assert death.identity and death.identity.pid == pid and death.token == 1
    assert 0 <= death.data["uptime_s"] < 30
    assert death.moment.at - a.events()[0].moment.at >= death.data["uptime_s"] - 0.5
    wait_for(lambda: a.look().worst_lease.state is LeaseState.FREE)


def test_death_record_has_the_exit_code_and_last_stderr_lines(make: Make) -> None:
    a = make(modes="exit7", settle_s=1.0)
    assert not a.do(Verb.ENSURE).done
    (death,) = wait_for(a.deaths)
    assert death.data["exit_code"] == 7 and death.data["stderr"] == ["last words"]
    kinds = {event.kind for event in a.events()}
    assert {EventKind.STARTED, EventKind.DIED} <= kinds and not a.unexplained()


def test_next_start_records_the_death_missed_by_a_killed_shim(make: Make) -> None:
    a = make()
    pid = a.ensure().pid or 0
    kill(a.shim())
    kill(pid)
    wait_for(lambda: dead(pid) and not ofd_lock.is_locked(a.box.paths.lease("worker")))
    assert not a.deaths()
    a.ensure()
    (death,) = a.deaths()
    assert "cause is unknown" in death.reason and death.token == 1 and not a.unexplained()


def test_sigterm_to_the_shim_ends_the_worker(make: Make) -> None:
    a = make(modes="deaf", grace_s=0.3)
    pid, shim = a.ensure().pid or 0, a.shim()
    wait_for(lambda: a.lines("ready"))
    kill(shim, signal.SIGTERM)
    wait_for(lambda: dead(pid) and dead(shim))
    assert a.deaths()[0].data["signal"] == "SIGKILL"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGPIPE])
def test_shim_ignores_terminal_signals(make: Make, number: int) -> None:
    a = make()
    pid = a.ensure().pid
    kill(a.shim(), number)
    assert a.ensure().pid == pid and not dead(a.shim())


def test_log_size_is_bounded_under_heavy_output(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_launcher, "MAX_LOG_BYTES", 200_000)
    a = make(modes="print50000000")
    a.ensure()
    log = a.box.paths.log("worker", "out")
    wait_for(lambda: a.lines("ready"))
    wait_for(lambda: log.stat().st_size <= 200_000)
    old = log.with_name(f"{log.name}.1")
    assert old.stat().st_size <= 200_000 and old.read_bytes().endswith(b"x\n")
    assert not dead(a.only().pid), "the worker has not noticed"


def test_log_size_is_bounded_after_an_idle_period(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_launcher, "MAX_LOG_BYTES", 1_000)
    a = make()
    a.ensure()
    log = a.box.paths.log("worker", "out")
    for number in range(3):
        with log.open("a") as file:  # as the worker does
            file.write(f"{number}" * 2_000)
        wait_for(lambda: log.stat().st_size == 0)
        assert log.with_name(f"{log.name}.1").read_text() == f"{number}" * 1_000


@pytest.mark.parametrize(
    ("before", "size", "seconds", "expected"),
    [
        (500, 500, 2.0, 2.0),
        (1_000, 0, 0.25, 0.02),  # the log was emptied
        (0, 100, 0.25, 0.25),  # 400 bytes a second: far from the limit
        (0, 900, 0.25, 0.02),
        (0, 5_000, 0.25, 0.02),
    ],
)
def test_next_log_check_comes_before_the_limit_is_exceeded(
    before: int, size: int, seconds: float, expected: float
) -> None:
    assert supervise.next_check_delay_s(before, size, seconds, 1_000) == expected


def test_symbolic_link_in_place_of_a_log_is_not_followed(make: Make) -> None:
    a = make()
    victim = a.place / "precious"
    victim.write_text("precious")
    a.box.paths.log("worker", "out").symlink_to(victim)
    outcome = a.do(Verb.ENSURE)
    assert not outcome.done and victim.read_text() == "precious"


def test_program_is_searched_on_the_path_of_the_role(make: Make) -> None:
    a = make(match="my-own-sleep")
    place = a.place / "bin"
    place.mkdir()
    shutil.copy("/bin/sleep", place / "my-own-sleep")
    role = a.settings.roles["worker"]
    role.env["PATH"] = str(place)
    role.command[:] = ["my-own-sleep", "600"]
    assert a.ensure().done
    assert a.do(Verb.KILL).done


def test_worker_environment_has_only_its_own_markers(make: Make) -> None:
    os.environ["RPA_CONSOLE_TOKEN"] = "77"
    try:
        a = make()
        a.ensure()
    finally:
        del os.environ["RPA_CONSOLE_TOKEN"]
    environ = Path(f"/proc/{a.only().pid}/environ").read_bytes().split(b"\0")
    assert b"RPA_CONSOLE_TOKEN=1" in environ and b"RPA_CONSOLE_ROLE=worker" in environ
    assert b"RPA_CONSOLE_BOX=" + os.fsencode(a.box.name) in environ
    marks = Path(f"/proc/{a.shim()}/environ").read_bytes()
    assert b"RPA_CONSOLE_TOKEN" not in marks


GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def _leave(place: Path) -> None:
    wait_for(lambda: not (place / "cgroup.procs").read_text())
    place.rmdir()


@pytest.fixture
def group() -> Iterator[Path]:
    """Create a control group with a small memory limit, or skip the test."""
    for root in GROUPS:
        place = root / f"rpa-test-{os.getpid()}"
        limit = place / ("memory.limit_in_bytes" if root == GROUPS[0] else "memory.max")
        try:
            place.mkdir()
        except OSError:
            continue
        try:
            limit.write_text("60000000")
            yield place
            return
        except OSError:
            continue
        finally:
            _leave(place)
    pytest.skip("no control group can be made here")


def test_death_by_the_oom_killer_is_recorded_as_such(make: Make, group: Path) -> None:
    a = make()
    go = a.place / "go"
    a.script.write_text(
        "import os, sys, time\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        "waste = [bytearray(b'x' * 1_000_000) for _ in range(10_000)]\n"
    )
    pid = a.ensure().pid
    for one in (a.shim(), pid):
        (group / "cgroup.procs").write_text(str(one))
    go.touch()
    (death,) = wait_for(a.deaths)
    assert death.data["signal"] == "SIGKILL" and "OOM" in death.reason
    wait_for(lambda: a.look().worst_lease.state is LeaseState.FREE)


def test_shim_ends_leftovers_after_losing_its_state_directory(make: Make) -> None:
    """The shim loses the copy of the package it runs along with the state directory."""
    a = make(modes="child-session")
    a.ensure()
    worker, shim = a.only().pid, a.shim()
    child = int(wait_for(lambda: a.lines("children"))[0])
    wait_for(lambda: a.lines("ready"))
    state = a.box.paths.state
    state.rename(state.with_name("lost"))
    try:
        kill(worker)
        wait_for(lambda: dead(shim))
        assert dead(child)
        assert not state.exists()
    finally:
        state.with_name("lost").rename(state)
