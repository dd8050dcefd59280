"""What a person can ask for besides ensure, restart and kill: canary, baseline, daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.model import Command, EventKind, Outcome, Verb
from console.core.text import clock as clock_text
from console.system import daemon
from console.system.box import Box
from console.system.guard import Guard
from console.system.store import StoreError

if TYPE_CHECKING:
    from console.runtime import Runtime


async def run_canary(runtime: Runtime) -> Outcome:
    """Send a canary now; its sample is kept like any other."""
    sample = await runtime.probe("canary")
    if sample.error is not None:
        return Outcome(False, f"canary: unknown: {sample.error}", 3)
    told = runtime.monitors["canary"].result(sample)
    done = sample.data.get("ok") is True
    return Outcome(done, f"canary: {told}", 0 if done else 1)


def toggle_baseline(box: Box, actor: str) -> Outcome:
    """Start collecting a baseline, or stop the one that is being collected."""
    try:
        run = box.store.get("baseline")
        now = box.now()
        if isinstance(run, dict):
            box.store.put("baseline", None)
            box.record(EventKind.BASELINE_ENDED, "", actor, "stopped", None, None, run)
            return Outcome(True, "baseline: stopped", changed=True)
        hours = box.settings.baseline.hours
        started = {"started": [now.at, now.tick, now.boot], "hours": hours}
        box.store.put("baseline", started)
        box.record(EventKind.BASELINE_STARTED, "", actor, f"{hours:g} h", None, None, started)
        checkpoint = clock_text(now.plus(hours * 3600))
        message = f"baseline: collecting for {hours:g} h, checkpoint {checkpoint}"
        return Outcome(True, message, changed=True)
    except StoreError as error:
        return Outcome(False, f"baseline: {error}", 3)


def start_daemon(box: Box, actor: str) -> Outcome:
    """Start the monitors' daemon, detached, unless it runs."""
    return Guard(box).carry_out(Command(Verb.ENSURE, daemon.NAME, actor))


def stop_daemon(box: Box, actor: str) -> Outcome:
    """End the monitors' daemon; the workers and their shims live on."""
    return Guard(box).carry_out(Command(Verb.KILL, daemon.NAME, actor))
