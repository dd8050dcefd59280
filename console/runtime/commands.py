"""Carries out commands: ensure, restart, kill; canary, baseline, daemon, alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from console.core import alerts
from console.core.exit_codes import TIMED_OUT
from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import EventKind
from console.core.model.samples import Sample
from console.monitors import Monitor
from console.runtime.baseline import runs
from console.system import daemon_role
from console.system.box import Box
from console.system.guard.guard import Guard
from console.system.store.store import StoreError


class MonitorRuntime(Protocol):
    """Interface of the monitor runtime, as far as commands use it."""

    box: Box
    guard: Guard
    monitors: Mapping[str, Monitor]

    async def probe(self, name: str) -> Sample:
        """Run the monitor's probe now, store its sample and return it."""


async def carry_out(runtime: MonitorRuntime, command: Command) -> Outcome:
    """Carry out a command and return its outcome."""
    box, actor = runtime.box, command.actor
    if box.settings.read_only:  # the configuration may have changed after the console was opened
        return Outcome(False, "read-only: nothing was done", 1)
    match command.verb:
        case Verb.CANARY:
            return await run_canary(runtime)
        case Verb.BASELINE:
            return await asyncio.to_thread(toggle_baseline, box, actor)
        case Verb.START_DAEMON:
            return await asyncio.to_thread(start_daemon, box, actor)
        case Verb.ACKNOWLEDGE:
            return await asyncio.to_thread(acknowledge_alerts, box, command.role, actor)
        case _:
            return await asyncio.to_thread(runtime.guard.carry_out, command)


async def run_canary(runtime: MonitorRuntime) -> Outcome:
    """Send a canary now, and store its sample like any other."""
    sample = await runtime.probe("canary")
    if sample.error is not None:
        return Outcome(False, f"canary: unknown: {sample.error}", 3)
    summary = runtime.monitors["canary"].result(sample)
    done = sample.data.get("ok") is True
    late = sample.data.get("failed_at") in ("taken", "finished")
    return Outcome(done, f"canary: {summary}", 0 if done else TIMED_OUT if late else 1)


def toggle_baseline(box: Box, actor: str) -> Outcome:
    """Start a baseline run, or stop the run in progress."""
    return runs.toggle(box, actor)


def acknowledge_alerts(box: Box, key: str, actor: str) -> Outcome:
    """Acknowledge the open alert with this key, or every open alert if `key` is empty."""
    try:
        open_alerts = alerts.fold_open_alerts(box.store.events(kinds=alerts.ALERT_KINDS))
        chosen = [alert for alert in open_alerts if key in ("", alert.key)]
        if not chosen:
            open_keys = ", ".join(alert.key for alert in open_alerts) or "none"
            return Outcome(False, f"no alert {key or 'at all'} stands (now: {open_keys})", 1)
        unacknowledged = [alert for alert in chosen if not alert.acknowledged]
        for alert in unacknowledged:
            data = {"key": alert.key, "alert": alert.event_id}
            box.record(EventKind.ALERT_ACKNOWLEDGED, actor=actor, reason=alert.title, data=data)
    except StoreError as error:
        return Outcome(False, f"alerts: {error}", 3)
    status = "acknowledged" if unacknowledged else "acknowledged already"
    return Outcome(
        True, f"{status}: {', '.join(alert.key for alert in chosen)}", changed=bool(unacknowledged)
    )


def start_daemon(box: Box, actor: str) -> Outcome:
    """Start the monitors' daemon, detached, unless it runs already.

    The outcome is a failure if the daemon is stopped (SIGSTOP).
    """
    outcome = Guard(box).carry_out(Command(Verb.ENSURE, daemon_role.ROLE_NAME, actor))
    if outcome.done and outcome.pid is not None and daemon_role.is_stopped(outcome.pid):
        problem = f"{outcome.message}, but it is stopped, and nothing is watched"
        return Outcome(False, f"{problem}: kill -CONT {outcome.pid}", 1, outcome.pid)
    return outcome


def stop_daemon(box: Box, actor: str) -> Outcome:
    """Stop the monitors' daemon. The workers and their shims keep running."""
    return Guard(box).carry_out(Command(Verb.KILL, daemon_role.ROLE_NAME, actor))
