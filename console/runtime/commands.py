"""What a person can ask for: ensure, restart, kill; canary, baseline, daemon, alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from console.core import alerts
from console.core.exit_codes import TIMED_OUT
from console.core.model import Command, EventKind, Outcome, Sample, Verb
from console.monitors import Monitor
from console.runtime.baseline import runs
from console.system import daemon_role
from console.system.box import Box
from console.system.guard.guard import Guard
from console.system.store.store import StoreError


class Host(Protocol):
    """What runs the monitors, as far as commands need it."""

    box: Box
    guard: Guard
    monitors: Mapping[str, Monitor]

    async def probe(self, name: str) -> Sample:
        """Run one monitor's probe now, and keep its sample."""


async def carry_out(runtime: Host, command: Command) -> Outcome:
    """Do what a console was asked for."""
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
            return await asyncio.to_thread(acknowledge, box, command.role, actor)
        case _:
            return await asyncio.to_thread(runtime.guard.carry_out, command)


async def run_canary(runtime: Host) -> Outcome:
    """Send a canary now; its sample is kept like any other."""
    sample = await runtime.probe("canary")
    if sample.error is not None:
        return Outcome(False, f"canary: unknown: {sample.error}", 3)
    told = runtime.monitors["canary"].result(sample)
    done = sample.data.get("ok") is True
    late = sample.data.get("failed_at") in ("taken", "finished")
    return Outcome(done, f"canary: {told}", 0 if done else TIMED_OUT if late else 1)


def toggle_baseline(box: Box, actor: str) -> Outcome:
    """Start collecting a baseline, or stop the one that is being collected."""
    return runs.toggle(box, actor)


def acknowledge(box: Box, key: str, actor: str) -> Outcome:
    """Take note of the alert with this key, or of every one that stands when it is empty."""
    try:
        stand = alerts.standing(box.store.events(kinds=alerts.KINDS))
        chosen = [one for one in stand if key in ("", one.key)]
        if not chosen:
            known = ", ".join(one.key for one in stand) or "none"
            return Outcome(False, f"no alert {key or 'at all'} stands (now: {known})", 1)
        fresh = [one for one in chosen if not one.acknowledged]
        for one in fresh:
            data = {"key": one.key, "alert": one.event}
            box.record(EventKind.ALERT_ACKNOWLEDGED, "", actor, one.title, None, None, data)
    except StoreError as error:
        return Outcome(False, f"alerts: {error}", 3)
    told = "acknowledged" if fresh else "acknowledged already"
    return Outcome(True, f"{told}: {', '.join(one.key for one in chosen)}", changed=bool(fresh))


def start_daemon(box: Box, actor: str) -> Outcome:
    """Start the monitors' daemon, detached, unless it runs."""
    outcome = Guard(box).carry_out(Command(Verb.ENSURE, daemon_role.NAME, actor))
    if outcome.done and outcome.pid is not None and daemon_role.stopped(outcome.pid):
        words = f"{outcome.message}, but it is stopped, and nothing is watched"
        return Outcome(False, f"{words}: kill -CONT {outcome.pid}", 1, outcome.pid)
    return outcome


def stop_daemon(box: Box, actor: str) -> Outcome:
    """End the monitors' daemon; the workers and their shims live on."""
    return Guard(box).carry_out(Command(Verb.KILL, daemon_role.NAME, actor))
