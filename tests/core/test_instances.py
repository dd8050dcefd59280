"""Grouping of processes into the instances of a role."""

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
    """Split a line into words. The text after `|` is one word."""
    head, bar, last = line.partition("|")
    return (*head.split(), last) if bar else tuple(head.split())


def proc(
    pid: int, ppid: int, line: str = "bash", ticks: int | None = None, **more: object
) -> Process:
    """Return a process as the process table shows it."""
    start = pid if ticks is None else ticks
    started = Moment(start / 100, start / 100, BOOT)
    return Process(Identity(pid, start, BOOT), ppid, argv(line), started, **more)  # type: ignore[arg-type]


def pids(instances: tuple[Instance, ...]) -> list[tuple[int, ...]]:
    """Return the PIDs of each instance."""
    return [instance.pids for instance in instances]


def grouped(seen: list[Process]) -> tuple[Instance, ...]:
    """Return the role's instances among these processes."""
    return group_instances(ROLE, seen, ProcessForest(seen), BoxScope("box"))


def test_launcher_and_its_interpreter_are_one_instance() -> None:
    seen = [
        proc(3648, 1, "/agi/.venv/bin/python rpa_worker.py"),
        proc(52928, 3648, "/usr/bin/python3.11 rpa_worker.py"),
        proc(60000, 1, "vim rpa_worker.py"),
    ]
    assert pids(grouped(seen)) == [(3648, 52928)]


def test_launcher_chain_and_its_children_are_one_instance() -> None:
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


def test_separate_roots_are_separate_instances_oldest_first() -> None:
    seen = [proc(20, 1, "python rpa_worker.py", 900), proc(30, 1, "python rpa_worker.py", 100)]
    found = grouped(seen)
    assert pids(found) == [(30,), (20,)]
    assert pids(find_surplus(ROLE, found)) == [(20,)]
    newest = Role("worker", match="rpa_worker.py", keep="newest")
    assert pids(find_surplus(newest, found)) == [(30,)]


@pytest.mark.parametrize("program", ["shim/program.py", "shim.py"])
def test_process_under_a_shim_is_a_separate_instance(program: str) -> None:
    """Shims of version 0.1.0 use the second path. They may still run after an upgrade."""
    seen = [
        proc(10, 1, "python rpa_worker.py"),
        proc(11, 10, f"python -I -S /x/console/system/{program} worker 3 4 5 6"),
        proc(12, 11, "python rpa_worker.py"),
    ]
    assert pids(grouped(seen)) == [(10,), (12,)]


def test_inconsistent_parents_do_not_join_instances() -> None:
    younger = [proc(10, 1, "python rpa_worker.py", 500), proc(11, 10, "python rpa_worker.py", 100)]
    assert pids(grouped(younger)) == [(11,), (10,)], "a parent younger than its child"
    loop = [
        proc(10, 11, "python rpa_worker.py", 7),
        proc(11, 10, "python rpa_worker.py", 7),
        proc(12, 12, "python rpa_worker.py", 7),
    ]
    assert pids(grouped(loop)) == [(11, 10), (12,)]


def test_belongs_to_role_distinguishes_boxes() -> None:
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


def test_role_matches_only_processes_of_its_own_user() -> None:
    """The scan also reads processes of another role's user. They do not belong to this role."""
    seen = proc(10, 1, "python rpa_worker.py", uid=1000)
    robots = Role("robots", match="rpa_worker.py", user="robot")
    scope = BoxScope("box", (ROLE, robots), {"worker": 0, "robots": 1000})
    assert belongs_to_role(seen, robots, scope) and not belongs_to_role(seen, ROLE, scope)
    assert exclusion_reason(seen, ROLE, scope) == OTHER_USER_REASON
    everybody = BoxScope("box", (ROLE,), {})
    assert belongs_to_role(seen, ROLE, everybody)


def test_processes_of_one_token_are_one_instance() -> None:
    """A detached child runs the same script. A process with another role's token is separate."""
    marks = dict(zip(ENV_MARKERS, ("a", "worker", "7"), strict=True))
    line = "python rpa_worker.py"
    one, detached = proc(10, 1, line, env=marks), proc(20, 1, line, env=marks)
    both = [one, detached]
    assert pids(group_instances(ROLE, both, ProcessForest(both), BoxScope("b"))) == [(10, 20)]
    started = [proc(pid, 1, line, env=marks | {ENV_MARKERS[1]: "watchdog"}) for pid in (30, 40)]
    assert pids(group_instances(ROLE, started, ProcessForest(started), BoxScope("b"))) == [
        (30,),
        (40,),
    ]


def test_renamed_interpreter_is_recognized_by_its_executable() -> None:
    seen = proc(10, 1, "/agi/rpa-runner rpa_worker.py")
    assert filter_candidates([ROLE], [seen]) == (seen,)
    assert not belongs_to_role(seen, ROLE, BoxScope("box"))
    assert belongs_to_role(
        proc(10, 1, "/agi/rpa-runner rpa_worker.py", exe="/usr/bin/python3.11"), ROLE, BoxScope("b")
    )
    assert not belongs_to_role(
        proc(10, 1, "/agi/edit rpa_worker.py", exe="/usr/bin/vim"), ROLE, BoxScope("b")
    )


def test_lineage_lists_ancestors_and_inline_code_is_detected() -> None:
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
    """Draw any process table, including loops, missing parents, zombies and equal start times."""
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
def test_grouping_assigns_each_process_once(seen: list[Process]) -> None:
    found = grouped(seen)
    members = [pid for instance in found for pid in instance.pids]
    assert len(members) == len(set(members)), "nobody is counted twice"
    assert {one.pid for one in seen if belongs_to_role(one, ROLE, BoxScope("box"))} <= set(members)
    assert all(belongs_to_role(instance.root, ROLE, BoxScope("box")) for instance in found)
    forest = ProcessForest(seen)
    for instance in found:
        for one in instance.processes[1:]:
            assert instance.pid in forest.ancestor_pids(one.pid)
    assert list(found) == sorted(found, key=lambda i: (i.identity.ticks, i.pid))
    assert grouped(list(reversed(seen))) == found, "whatever the order of the list"


def test_filter_candidates_keeps_no_reference_to_command_lines() -> None:
    """A cache of command lines would grow without limit in a process that runs for years."""
    seen = proc(10, 1, "python other.py --with rpa_worker.py.log")
    before = getrefcount(seen.argv)
    filter_candidates([ROLE], [seen])
    after = getrefcount(seen.argv)  # Outside the assertion, which would keep a reference.
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
def test_console_process_never_belongs_to_a_role(line: str, match: str) -> None:
    assert not belongs_to_role(proc(5, 1, line), Role("worker", match), BoxScope("box"))


def test_shell_that_runs_console_then_worker_belongs_to_the_role() -> None:
    line = "sh -c|rpa-console ensure watchdog; python rpa_worker.py"
    assert belongs_to_role(proc(5, 1, line), ROLE, BoxScope("box"))
