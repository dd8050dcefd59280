"""Builders for the test histories of a role: moments, instances and events."""

from __future__ import annotations

from console.core.model.commands import Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Role
from console.core.model.time import Moment
from console.core.supervision.state_machine import POLICY_ACTOR

BOOT = "boot"
ROLE = Role("worker", match="rpa_worker.py", command=("python", "rpa_worker.py"))
FREE, HELD = Lease(LeaseState.FREE), Lease(LeaseState.HELD)
PERSON = "cli:ana@pts/3"


def at(seconds: float) -> Moment:
    """Return a moment with the same offset on the wall clock and on the monotonic clock."""
    return Moment(1_700_000_000 + seconds, 5_000 + seconds, BOOT)


def who(number: int) -> Identity:
    """Return the identity of the worker with this number."""
    return Identity(number, number, BOOT)


def instance(number: int, token: int | None = 1, since: float = 0, kind: str = "S") -> Instance:
    """Return a running worker instance."""
    process = Process(who(number), 1, ("python", "rpa_worker.py"), at(since), state=kind)
    return Instance("worker", (process,), leased=token is not None, token=token)


def started(when: float, number: int, actor: str = POLICY_ACTOR) -> Event:
    return Event(EventKind.STARTED, at(when), "worker", actor, "", who(number), number)


def died(when: float, number: int, uptime: float) -> Event:
    data = {"uptime_s": uptime}
    return Event(EventKind.DIED, at(when), "worker", "shim", "crash", who(number), number, data)


def asked(when: float, number: int | None, verb: Verb, actor: str = PERSON) -> Event:
    identity = who(number) if number is not None else None
    return Event(
        EventKind.ASKED, at(when), "worker", actor, "", identity, data={"verb": verb.value}
    )


def failed(when: float, number: int | None, actor: str = POLICY_ACTOR) -> Event:
    identity = who(number) if number is not None else None
    data = {"verb": Verb.ENSURE.value}
    return Event(EventKind.FAILED, at(when), "worker", actor, "exit 1", identity, data=data)
