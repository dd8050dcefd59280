"""The workers: instances, leases, CPU and memory of every role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.model import Health, HealthState, Moment, Sample
from console.core.supervision.role_codec import Seen, encode
from console.core.text.json_values import table
from console.system.config.schema import Settings
from console.system.threads import aside

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
        data["roles"][one.role.name] = encode(Seen(one.instances, one.lease, usage, one.others))
    data["instances"] = [{"pid": one["pid"]} for one in data["roles"][NAME]["instances"]]
    return Sample(NAME, box.now(), data)


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Failing where the number found is not the number wanted."""
    found = _found(history[-1]) if history else {}
    wrong = [
        f"{role.name} {found[role.name]}/{role.count}"
        for role in settings.all_roles()
        if found.get(role.name, role.count) != role.count
    ]
    return Health(HealthState.FAILING, ", ".join(wrong)) if wrong else Health(HealthState.OK)


def result(sample: Sample) -> str:
    """`worker 1, watchdog 1`."""
    return ", ".join(f"{name} {found}" for name, found in _found(sample).items())


def _found(sample: Sample) -> dict[str, int]:
    """How many instances of each role were seen: counted, not read, at every snapshot."""
    roles = table(sample.data.get("roles")) if sample.error is None else {}
    seen = ((name, table(one).get("instances")) for name, one in roles.items())
    return {name: len(some) for name, some in seen if isinstance(some, list)}
