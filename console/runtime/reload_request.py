"""Has a running daemon take over the configuration, and waits until it has."""

from __future__ import annotations

import signal
import time
from contextlib import closing

from console.core.exit_codes import FAILURE, TIMED_OUT
from console.core.model import LeaseState, Outcome
from console.system import clock, daemon_role, daemon_settings
from console.system.box import Box
from console.system.daemon_settings import DaemonSettings
from console.system.locks import lease
from console.system.processes.pidfd import Handle
from console.system.processes.procfs import Gone, ProcessError

PATIENCE_S = 15.0
POLL_S = 0.05


def reload_daemon(box: Box) -> Outcome:
    """Hand the configuration that `box` was opened with to the box's daemon."""
    paths, config = box.paths, str(box.config) if box.config else None
    held = lease.look(paths.lease(daemon_role.NAME), paths.owner(daemon_role.NAME))
    if held.state is not LeaseState.HELD or held.owner is None:
        return Outcome(False, "the monitors' daemon is not running", FAILURE)
    identity = held.owner.identity
    record = _record(box, identity.pid)
    if record is None:
        words = f"the daemon (PID {identity.pid}) cannot reload: stop it, and start it again"
        return Outcome(False, words, FAILURE)
    if not record.hears:
        words = (
            f"a console (PID {identity.pid}) runs the monitors: it takes the file over by itself"
        )
        return Outcome(False, f"{words} within seconds", FAILURE)
    if record.config is not None and record.config != config:
        words = f"the daemon reads {record.config}, this command {config or 'no file'}"
        return Outcome(False, f"{words}: nothing was done", FAILURE)
    stamp = box.configured.in_force
    found = daemon_settings.unlike(box, identity.pid)
    try:
        with closing(Handle(identity)) as handle:
            handle.send(signal.SIGHUP)
    except (Gone, ProcessError) as error:
        return Outcome(False, f"the daemon cannot be told: {error}", FAILURE)
    deadline = clock.tick() + PATIENCE_S
    while clock.tick() < deadline:
        record = _record(box, identity.pid)
        if record is not None and record.stamp == stamp and not record.trouble:
            words = "the daemon goes by the configuration" + (" now" if found else " already")
            return Outcome(True, words, changed=bool(found))
        time.sleep(POLL_S)
    why = record.trouble if record else "it has ended meanwhile"
    words = f"the daemon has not taken it over within {PATIENCE_S:g} s"
    return Outcome(False, f"{words}: {why}" if why else words, TIMED_OUT)


def _record(box: Box, pid: int) -> DaemonSettings | None:
    record = daemon_settings.read(box.paths.state)
    return record if record is not None and record.pid == pid else None
