"""Asks a running daemon to reload the configuration, and waits until it has."""

from __future__ import annotations

import signal
import time
from contextlib import closing

from console.core.exit_codes import FAILURE, TIMED_OUT
from console.core.model.commands import Outcome
from console.core.model.roles import LeaseState
from console.system import clock, daemon_role, daemon_settings
from console.system.box import Box
from console.system.daemon_settings import DaemonSettings
from console.system.locks import lease
from console.system.processes.pidfd import ProcessHandle
from console.system.processes.procfs import ProcessError, ProcessGone

RELOAD_TIMEOUT_S = 15.0
POLL_INTERVAL_S = 0.05


def reload_daemon(box: Box) -> Outcome:
    """Have the daemon of the box apply the configuration that `box` was opened with."""
    paths, config = box.paths, str(box.config_path) if box.config_path else None
    daemon_lease = lease.read_lease(
        paths.lease(daemon_role.ROLE_NAME), paths.owner(daemon_role.ROLE_NAME)
    )
    if daemon_lease.state is not LeaseState.HELD or daemon_lease.owner is None:
        return Outcome(False, "the monitors' daemon is not running", FAILURE)
    identity = daemon_lease.owner.identity
    record = _read_daemon_settings(box, identity.pid)
    if record is None:
        message = f"the daemon (PID {identity.pid}) cannot reload: stop it, and start it again"
        return Outcome(False, message, FAILURE)
    if not record.reloads_on_sighup:
        message = (
            f"a console (PID {identity.pid}) runs the monitors: it takes the file over by itself"
        )
        return Outcome(False, f"{message} within seconds", FAILURE)
    if record.config is not None and record.config != config:
        message = f"the daemon reads {record.config}, this command {config or 'no file'}"
        return Outcome(False, f"{message}: nothing was done", FAILURE)
    stamp = box.watched_config.applied_stamp
    differences = daemon_settings.settings_mismatch(box, identity.pid)
    try:
        with closing(ProcessHandle(identity)) as handle:
            handle.send_signal(signal.SIGHUP)
    except (ProcessGone, ProcessError) as error:
        return Outcome(False, f"the daemon cannot be told: {error}", FAILURE)
    deadline = clock.tick() + RELOAD_TIMEOUT_S
    while clock.tick() < deadline:
        record = _read_daemon_settings(box, identity.pid)
        if record is not None and record.stamp == stamp and not record.not_applied_reason:
            message = "the daemon goes by the configuration" + (
                " now" if differences else " already"
            )
            return Outcome(True, message, changed=bool(differences))
        time.sleep(POLL_INTERVAL_S)
    reason = record.not_applied_reason if record else "it has ended meanwhile"
    message = f"the daemon has not taken it over within {RELOAD_TIMEOUT_S:g} s"
    return Outcome(False, f"{message}: {reason}" if reason else message, TIMED_OUT)


def _read_daemon_settings(box: Box, pid: int) -> DaemonSettings | None:
    record = daemon_settings.read(box.paths.state)
    return record if record is not None and record.pid == pid else None
