"""Ending a worker and all its descendants, and no other process."""

from __future__ import annotations

import os
import signal

import pytest
from guard_harness import STARTED, Make, dead, kill, wait_for

from console.core.model.commands import Command, Verb
from console.core.model.events import EventKind
from console.core.processes.instances import DETACHED_CHILDREN_WARNING
from console.system.processes import process_table


@pytest.mark.parametrize("shim", ["alive", "killed"])
@pytest.mark.parametrize("child", ["child", "child-session", "child-session-deaf", "child-fork"])
def test_kill_ends_descendants_of_the_worker(make: Make, child: str, shim: str) -> None:
    a = make(modes=child, grace_s=0.5)
    pid = a.ensure().pid or 0
    (one,) = wait_for(lambda: a.lines("children"))
    if shim == "killed":
        kill(a.shim())
        wait_for(lambda: dead(a.shim()))
    assert a.do(Verb.KILL).done
    assert dead(pid) and dead(int(one)) and not a.living()
    assert not a.unexplained()


@pytest.mark.parametrize("child", ["child", "child-session-deaf"])
def test_shim_ends_leftovers_of_a_dead_worker(make: Make, child: str) -> None:
    a = make(modes=child, grace_s=0.3)
    pid = a.ensure().pid or 0
    (one,) = wait_for(lambda: a.lines("children"))
    kill(pid)
    wait_for(lambda: dead(int(one)))
    wait_for(lambda: not a.living())


def test_kill_of_an_adopted_worker_warns_of_detached_children(make: Make) -> None:
    """A detached child has its own session and no marker, so the guard cannot attribute it."""
    a = make()
    daemonize = 'setsid sh -c \'sleep 600 & echo $! >> "$0/children"\' "$0" & wait'
    pid = os.posix_spawnp(
        "sh", ["sh", "-c", f"{daemonize}; exec {a.run}", str(a.place)], os.environ
    )
    STARTED.append(pid)
    wait_for(lambda: a.lines("ready"))
    (loose,) = a.lines("children")
    outcome = a.do(Verb.KILL)
    assert outcome.done and outcome.message.endswith(DETACHED_CHILDREN_WARNING)
    assert dead(pid) and not dead(int(loose))
    a.ensure()
    assert DETACHED_CHILDREN_WARNING not in a.do(Verb.KILL).message


def test_leftover_without_the_lease_is_ended_before_the_next_start(make: Make) -> None:
    a = make(modes="close child-session")
    pid = a.ensure().pid or 0
    (one,) = wait_for(lambda: a.lines("children"))
    kill(a.shim())
    kill(pid)
    wait_for(lambda: dead(pid))
    assert not dead(int(one))
    assert a.ensure().pid != pid and dead(int(one)) and not a.duplicates


def test_kill_spares_another_roles_worker_with_the_same_token(make: Make) -> None:
    a = make()
    roles = a.settings.roles
    twin = a.place / "twin.py"
    twin.write_text("import time\nwhile True: time.sleep(600)\n")
    command = [*roles["worker"].command[:3], str(twin)]
    roles["twin"] = roles["worker"].__class__(match=str(twin), command=command, settle_s=0.1)
    other = a.guard.carry_out(Command(Verb.ENSURE, "twin", "test"))
    assert other.done and a.ensure().done, "both now run under token 1"
    assert a.do(Verb.KILL).done and other.pid and not dead(other.pid)
    assert a.guard.carry_out(Command(Verb.KILL, "twin", "test")).done


def test_zombie_is_not_counted_as_a_worker(make: Make) -> None:
    a = make()
    pid = a.outside()
    os.kill(pid, signal.SIGKILL)
    identity = process_table.identify(pid)
    wait_for(lambda: dead(pid))
    assert identity and process_table.identify(pid) == identity, "nobody has reaped it"
    assert not a.look().instances
    assert a.ensure().pid != pid
    os.waitpid(pid, 0)
    STARTED.remove(pid)


def test_kill_signals_nothing_when_a_target_is_unreachable(make: Make) -> None:
    a = make()
    pid = a.outside()
    a.box.table.scan()
    outcome = a.do(Verb.KILL, target=process_table.identify(os.getpid()))
    assert not outcome.done and not dead(pid)
    assert not a.events(EventKind.ASKED)
