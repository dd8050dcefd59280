"""What a box without a word of configuration should be told: what was not found, what names it."""

from __future__ import annotations

from collections.abc import Iterator

from console.core.model import HealthState, RoleView, Snapshot
from console.system.box import Box


def notices(box: Box, snapshot: Snapshot) -> Iterator[str]:
    """One line for each thing that was not found, with the line of configuration that names it."""
    for view in snapshot.roles:
        yield from _role(box, view)
    if not box.settings.outputs and not (
        snapshot.watchdog.heartbeat or snapshot.pipeline.generated
    ):
        yield f'no status files in {box.outputs}: add `outputs = "DIRECTORY"` to read them'
    if box.config is not None:
        return
    if snapshot.queue.state is HealthState.FAILING:
        yield f'queue: nobody answers at {snapshot.queue.url}: add `url = "URL"` under [queue]'
    yield "no configuration file: `rpa-console config init` writes one"


def _role(box: Box, view: RoleView) -> Iterator[str]:
    role = view.role
    if not view.found and role.name not in box.settings.roles:
        yield (
            f"{role.name}: no process runs {role.match}: "
            f'add `match = "SCRIPT"` under [roles.{role.name}] if it has another name'
        )
    if not role.command:
        yield (
            f"{role.name}: can be watched and ended, not started: "
            f"add `command = [...]` under [roles.{role.name}]"
        )
