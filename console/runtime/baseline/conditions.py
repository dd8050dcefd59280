"""What a baseline is judged by, and what must not change while it is collected."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from console.core.baseline.evaluation import BaselineTargets
from console.system.config.schema import Settings


def targets(settings: Settings) -> BaselineTargets:
    """The baseline's targets as configured. A run under way keeps those it began with."""
    wanted, monitors = settings.baseline, settings.monitors
    return BaselineTargets(
        hours=wanted.hours,
        success_rate=wanted.success_rate,
        latency_s=wanted.latency_s,
        uptime=wanted.uptime,
        queue_size=wanted.queue_size,
        restarts=wanted.restarts,
        coverage=wanted.coverage,
        worker_every_s=monitors.worker.every_s,
        queue_every_s=monitors.queue.every_s,
        canary_every_s=monitors.canary.every_s,
    )


def conditions(settings: Settings) -> dict[str, Any]:
    """What must not change while a run lasts: its targets, and what it is that is measured."""
    from hashlib import sha256  # a library of its own: most who look need no baseline

    told = {f"baseline.{key}": value for key, value in asdict(targets(settings)).items()}
    told.pop("baseline.hours")  # the run keeps its own
    told["queue.url"] = settings.queue.address
    for role in settings.all_roles():
        about = repr((role.command, role.cwd, sorted(role.env.items())))
        told[f"roles.{role.name}.match"] = role.match
        told[f"roles.{role.name}.count"] = role.count
        # A command line can hold a secret: whether it changed is all that must be known.
        told[f"roles.{role.name}.command"] = sha256(about.encode()).hexdigest()[:16]
    return told
