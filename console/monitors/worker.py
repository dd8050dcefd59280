"""The workers: instances, leases, CPU and memory of every role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from console.core.learning import Thresholds
from console.core.model import Health, HealthState, Moment, Sample
from console.core.record import Seen, encode
from console.core.snapshot import last_seen
from console.system.aside import aside
from console.system.settings import Settings

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "worker"


def every(settings: Settings) -> float:
    """Seconds between two looks; a death or a start is looked at as it happens."""
    return settings.monitors.worker.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.worker.enabled


async def probe(box: Box) -> Sample:
    """Look at every role at once."""
    return await aside(look, box)


def look(box: Box) -> Sample:
    """The same, for a caller without a loop. Raises ProcessError."""
    data: dict[str, Any] = {"roles": {}}
    for one in box.observe(box.roles):
        usage = {instance.pid: box.meter.read(instance) for instance in one.instances}
        data["roles"][one.role.name] = encode(Seen(one.instances, one.lease, usage))
    data["instances"] = [{"pid": one["pid"]} for one in data["roles"][NAME]["instances"]]
    return Sample(NAME, box.now(), data)


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Failing where the number found is not the number wanted."""
    seen = last_seen(history[-1:])
    wrong = []
    for role in settings.all_roles():
        found = len(seen[role.name].instances) if role.name in seen else None
        if found is not None and found != role.count:
            wrong.append(f"{role.name} {found}/{role.count}")
    return Health(HealthState.FAILING, ", ".join(wrong)) if wrong else Health(HealthState.OK)


def result(sample: Sample) -> str:
    """`worker 1, watchdog 1`."""
    seen = last_seen([sample])
    return ", ".join(f"{name} {len(one.instances)}" for name, one in seen.items())
