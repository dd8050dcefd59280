"""The workers: instances, leases, CPU and memory of each role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.supervision.role_codec import RoleObservation, encode_observation
from console.core.text.json_values import as_object
from console.system.config.schema import Settings
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "worker"


def every(settings: Settings) -> float:
    """Return the interval between two samples, in seconds.

    A start or a death triggers a sample at once.
    """
    return settings.monitors.worker.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.worker.enabled


async def probe(box: Box) -> Sample:
    """Observe all roles at once."""
    return await run_in_thread(take_sample, box)


def take_sample(box: Box) -> Sample:
    """Return the sample of `probe`, for a caller without an event loop. Raises ProcessError."""
    data: dict[str, Any] = {"roles": {}}
    for observation in box.observe(box.roles):
        usage = {
            instance.pid: box.usage_meter.measure(instance) for instance in observation.instances
        }
        data["roles"][observation.role.name] = encode_observation(
            RoleObservation(
                observation.instances, observation.worst_lease, usage, observation.look_alikes
            )
        )
    data["instances"] = [
        {"pid": observation["pid"]} for observation in data["roles"][NAME]["instances"]
    ]
    return Sample(NAME, box.now(), data)


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Return the health: failing if a role has more or fewer instances than wanted."""
    counts = _count_instances(history[-1]) if history else {}
    mismatches = [
        f"{role.name} {counts[role.name]}/{role.count}"
        for role in settings.all_roles()
        if counts.get(role.name, role.count) != role.count
    ]
    return (
        Health(HealthState.FAILING, ", ".join(mismatches)) if mismatches else Health(HealthState.OK)
    )


def result(sample: Sample) -> str:
    """Return `worker 1, watchdog 1`."""
    return ", ".join(f"{name} {count}" for name, count in _count_instances(sample).items())


def _count_instances(sample: Sample) -> dict[str, int]:
    """Return the number of instances per role.

    The instances are counted without decoding them, because every snapshot needs the numbers.
    """
    roles = as_object(sample.data.get("roles")) if sample.error is None else {}
    instances_by_role = ((name, as_object(role).get("instances")) for name, role in roles.items())
    return {
        name: len(instances) for name, instances in instances_by_role if isinstance(instances, list)
    }
