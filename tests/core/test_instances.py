"""Which processes are a worker, and which only speak of one."""

from __future__ import annotations

from sys import getrefcount

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.processes.instances import (
    BOX_VARIABLE,
    ENV_MARKERS,
    OTHER_USER_REASON,
    BoxScope,
    ProcessForest,
    belongs_to_role,
    exclusion_reason,
    filter_candidates,
    find_surplus,
    group_instances,
    lineage,
    runs_inline_code,
)

BOOT = "b"
ROLE = Role("worker", match="rpa_worker.py", command=("python", "rpa_worker.py"))


def argv(line: str) -> tuple[str, ...]:
    """Words of a line; what stands after a bar is one word."""
    head, bar, last = line.partition("|")
    return (*head.split(), last) if bar else tuple(head.split())


def proc(
    pid: int, ppid: int, line: str = "bash", ticks: int | None = None, **more: object
) -> Process:
    """A process as the table shows it."""
    start = pid if ticks is None else ticks
    started = Moment(start / 100, start / 100, BOOT)
    return Process(Identity(pid, start, BOOT), ppid, argv(line), started, **more)  # type: ignore[arg-type]


def pids(instances: tuple[Instance, ...]) -> list[tuple[int, ...]]:
    """The trees' PIDs."""
    return [instance.pids for instance in instances]


def grouped(seen: list[Process]) -> tuple[Instance, ...]:
    """The role's instances in this table."""
    return group_instances(ROLE, seen, ProcessForest(seen), BoxScope("box"))


def test_a_launcher_and_its_interpreter_are_one() -> None:
    seen = [
        proc(3648, 1, "/agi/.venv/bin/python rpa_worker.py"),
        proc(52928, 3648, "/usr/bin/python3.11 rpa_worker.py"),
        proc(60000, 1, "vim rpa_worker.py"),
    ]
    assert pids(grouped(seen)) == [(3648, 52928)]


def test_a_long_chain_is_one_and_children_belong_to_it() -> None:
    seen = [
        proc(10, 1, "sudo -u rpa timeout 9 sh -c|python rpa_worker.py"),
        proc(11, 10, "timeout 9 sh -c|python rpa_worker.py"),
        proc(12, 11, "sh -c|python rpa_worker.py"),
        proc(13, 12, "python rpa_worker.py"),
        proc(14, 13, "chromium --headless"),
        proc(15, 14, "chromium --type=gpu"),
        proc(16, 13, "defunct", state="Z"),
    ]
    assert pids(grouped(seen)) == [(10, 11, 12, 13, 14, 15)]


def test_two_roots_are_two_oldest_first() -> None:
    seen = [proc(20, 1, "python rpa_worker.py", 900), proc(30, 1, "python rpa_worker.py", 100)]
    found = grouped(seen)
    assert pids(found) == [(30,), (20,)]
    assert pids(find_surplus(ROLE, found)) == [(20,)]
    newest = Role("worker", match="rpa_worker.py", keep="newest")
    assert pids(find_surplus(newest, found)) == [(30,)]


@pytest.mark.parametrize("program", ["shim/program.py", "shim.py"])
def test_a_shim_starts_an_instance_of_its_own(program: str) -> None:
    """The second path is that of version 0.1.0, whose shims may still run after an upgrade."""
    seen = [
        proc(10, 1, "python rpa_worker.py"),
        proc(11, 10, f"python -I -S /x/console/system/{program} worker 3 4 5 6"),
        proc(12, 11, "python rpa_worker.py"),
    ]
    assert pids(grouped(seen)) == [(10,), (12,)]


def test_a_torn_list_makes_no_strange_family() -> None:
    younger = [proc(10, 1, "python rpa_worker.py", 500), proc(11, 10, "python rpa_worker.py", 100)]
    assert pids(grouped(younger)) == [(11,), (10,)], "a parent younger than its child"
    loop = [
        proc(10, 11, "python rpa_worker.py", 7),
        proc(11, 10, "python rpa_worker.py", 7),
        proc(12, 12, "python rpa_worker.py", 7),
    ]
    assert pids(grouped(loop)) == [(11, 10), (12,)]


def test_boxes_are_told_apart() -> None:
    seen = proc(10, 1, "python rpa_worker.py", cwd="/a", env={BOX_VARIABLE: "one", "PORT": "1"})
    assert belongs_to_role(seen, ROLE, BoxScope("one")) and belongs_to_role(
        seen, ROLE, BoxScope("two")
    )
    (own,) = group_instances(ROLE, [seen], ProcessForest([seen]), BoxScope("one"))
    (other,) = group_instances(ROLE, [seen], ProcessForest([seen]), BoxScope("two"))
    assert (own.box, other.box) == (None, "one")
    here = Role("worker", match="rpa_worker.py", match_cwd="/a", match_env={"PORT": "1"})
    there = Role("worker", match="rpa_worker.py", match_cwd="/b")
    other = Role("worker", match="rpa_worker.py", match_env={"PORT": "2"})
    assert belongs_to_role(seen, here, BoxScope("one"))
    assert not belongs_to_role(seen, there, BoxScope("one")) and not belongs_to_role(
        seen, other, BoxScope("one")
    )
    unmarked = proc(10, 1, "python rpa_worker.py")
    assert belongs_to_role(unmarked, ROLE, BoxScope("one")) and not belongs_to_role(
        unmarked, there, BoxScope("one")
    )


def test_a_role_means_the_processes_of_its_own_user() -> None:
    """Those of another role's user are looked at as well, and are none of it."""
    seen = proc(10, 1, "python rpa_worker.py", uid=1000)
    robots = Role("robots", match="rpa_worker.py", user="robot")
    scope = BoxScope("box", (ROLE, robots), {"worker": 0, "robots": 1000})
    assert belongs_to_role(seen, robots, scope) and not belongs_to_role(seen, ROLE, scope)
    assert exclusion_reason(seen, ROLE, scope) == OTHER_USER_REASON
    everybody = BoxScope("box", (ROLE,), {})
    assert belongs_to_role(seen, ROLE, everybody)


def test_processes_of_one_grant_are_one_instance() -> None:
    """A child that was cut loose runs the same script; that of another role's grant is another."""
    marks = dict(zip(ENV_MARKERS, ("a", "worker", "7"), strict=True))
    line = "python rpa_worker.py"
    one, loose = proc(10, 1, line, env=marks), proc(20, 1, line, env=marks)
    both = [one, loose]
    assert pids(group_instances(ROLE, both, ProcessForest(both), BoxScope("b"))) == [(10, 20)]
    started = [proc(pid, 1, line, env=marks | {ENV_MARKERS[1]: "watchdog"}) for pid in (30, 40)]
    assert pids(group_instances(ROLE, started, ProcessForest(started), BoxScope("b"))) == [
        (30,),
        (40,),
    ]


def test_an_interpreter_under_another_name_is_known_by_its_program() -> None:
    seen = proc(10, 1, "/agi/rpa-runner rpa_worker.py")
    assert filter_candidates([ROLE], [seen]) == (seen,)
    assert not belongs_to_role(seen, ROLE, BoxScope("box"))
    assert belongs_to_role(
        proc(10, 1, "/agi/rpa-runner rpa_worker.py", exe="/usr/bin/python3.11"), ROLE, BoxScope("b")
    )
    assert not belongs_to_role(
        proc(10, 1, "/agi/edit rpa_worker.py", exe="/usr/bin/vim"), ROLE, BoxScope("b")
    )


def test_lineage_and_code() -> None:
    seen = [proc(1, 0, "init"), proc(5, 1, "sh -c|rpa-console ensure"), proc(9, 5, "rpa-console")]
    assert [one.pid for one in lineage(9, seen)] == [9, 5, 1]
    assert (
        runs_inline_code(argv("bash -lc|x"))
        and not runs_inline_code(argv("bash"))
        and not runs_inline_code(())
    )


LINES = ["python rpa_worker.py", "sh -c|python rpa_worker.py", "bash", "vim rpa_worker.py",
         "python -I -S /x/console/system/shim/program.py worker 3 4 5"]  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> list[Process]:
    """Any table, torn ones included: loops, parents that are gone, zombies, equal starts."""
    count = draw(st.integers(0, 12))
    return [
        proc(
            pid,
            draw(st.integers(0, 13)),
            draw(st.sampled_from(LINES)),
            draw(st.integers(0, 5)),
            state=draw(st.sampled_from("SSSRTZ")),
        )
        for pid in range(1, count + 1)
    ]


@given(tables())
def test_grouping_is_a_partition(seen: list[Process]) -> None:
    found = grouped(seen)
    members = [pid for instance in found for pid in instance.pids]
    assert len(members) == len(set(members)), "nobody is counted twice"
    assert {one.pid for one in seen if belongs_to_role(one, ROLE, BoxScope("box"))} <= set(members)
    assert all(belongs_to_role(instance.root, ROLE, BoxScope("box")) for instance in found)
    kinship = ProcessForest(seen)
    for instance in found:
        for one in instance.processes[1:]:
            assert instance.pid in kinship.ancestor_pids(one.pid)
    assert list(found) == sorted(found, key=lambda i: (i.identity.ticks, i.pid))
    assert grouped(list(reversed(seen))) == found, "whatever the order of the list"


def test_a_command_line_that_was_looked_at_is_not_kept() -> None:
    """Processes come and go for years, each with its own."""
    seen = proc(10, 1, "python other.py --with rpa_worker.py.log")
    before = getrefcount(seen.argv)
    filter_candidates([ROLE], [seen])
    after = getrefcount(seen.argv)  # not within the assertion, which keeps what it was told
    assert after == before


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("python -m console --state-dir /x daemon run", "console"),
        ("/agi/.venv/bin/python -P -m console.__main__", "__main__"),
        ("/usr/bin/python3 /usr/local/bin/rpa-console status", "rpa-console"),
        ("timeout 9 /usr/bin/rpa-console status", "bin/rpa-console"),
        ("python /opt/console/__main__.py", "__main__.py"),
    ],
)
def test_the_console_is_no_worker_whatever_a_role_says(line: str, match: str) -> None:
    assert not belongs_to_role(proc(5, 1, line), Role("worker", match), BoxScope("box"))


def test_a_shell_that_calls_the_console_and_then_the_worker_is_the_workers() -> None:
    line = "sh -c|rpa-console ensure watchdog; python rpa_worker.py"
    assert belongs_to_role(proc(5, 1, line), ROLE, BoxScope("box"))
