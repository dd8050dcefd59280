"""Targets of a baseline run, and the conditions that must not change while it is collected."""

from __future__ import annotations

from typing import Any

from console.core.baseline.evaluation import BaselineTargets
from console.core.records import asdict
from console.system.config.schema import Settings


def configured_targets(settings: Settings) -> BaselineTargets:
    """Return the configured targets. A run in progress keeps those that it started with."""
    baseline, monitors = settings.baseline, settings.monitors
    return BaselineTargets(
        hours=baseline.hours,
        success_rate=baseline.success_rate,
        latency_s=baseline.latency_s,
        uptime=baseline.uptime,
        queue_size=baseline.queue_size,
        restarts=baseline.restarts,
        coverage=baseline.coverage,
        worker_every_s=monitors.worker.every_s,
        queue_every_s=monitors.queue.every_s,
        canary_every_s=monitors.canary.every_s,
    )


def run_conditions(settings: Settings) -> dict[str, Any]:
    """Return what must not change during a run, as key -> value.

    These are the targets of the run, and the settings of the queue and of the roles that it
    measures.
    """
    from hashlib import sha256  # imported on demand: most callers need no baseline

    conditions = {
        f"baseline.{key}": value for key, value in asdict(configured_targets(settings)).items()
    }
    conditions.pop("baseline.hours")  # the run stores its own
    conditions["queue.url"] = settings.queue.address
    for role in settings.all_roles():
        command_text = repr((role.command, role.cwd, sorted(role.env.items())))
        conditions[f"roles.{role.name}.match"] = role.match
        conditions[f"roles.{role.name}.count"] = role.count
        # A digest, as a command line can contain a secret and only its change matters.
        conditions[f"roles.{role.name}.command"] = sha256(command_text.encode()).hexdigest()[:16]
    return conditions
