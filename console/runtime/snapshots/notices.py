"""What a box without a word of configuration should be told: what was not found, what names it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from console.core.model import HealthState, RoleView, Snapshot
from console.core.text.command_hint import step
from console.core.text.formatting import clock
from console.system import daemon_settings
from console.system.box import Box
from console.system.files import hanging_storage
from console.system.store import disk_space, recovery


def full(box: Box) -> str | None:
    """Why nothing can be written to the state directory, if its disk says so."""
    why = disk_space.refusal(box.paths.state)
    if why is None or why == disk_space.NO_INODES:  # what is open already can be written to
        return why and f"{box.paths.state}: {why} there"
    return f"{box.paths.state}: {why}; what happens now is kept in memory only"


def notices(box: Box, snapshot: Snapshot) -> Iterator[str]:
    """One line for each thing that is wrong with the state, or was not found, and what to do."""
    yield from _state(box)
    yield from _configuration(box, snapshot)
    if snapshot.queue.anew:
        yield f"{snapshot.queue.anew} (seen at {clock(snapshot.queue.anew_at)})"
    yield from (one.words for one in snapshot.daemon.troubles)
    if not any(one.key == "storage" for one in snapshot.daemon.troubles):
        yield from hanging_storage.silent()
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
    yield f"no configuration file: `{step('config init')}` writes one"


def _configuration(box: Box, snapshot: Snapshot) -> Iterator[str]:
    """Settings that are not in force, here or in the daemon, though the file says so."""
    configured, daemon = box.configured, snapshot.daemon
    if trouble := configured.trouble or configured.mistake:
        yield f"configuration: {trouble}"
    if daemon.running and daemon.pid != os.getpid():
        yield from daemon_settings.unlike(box, daemon.pid)


def _state(box: Box) -> Iterator[str]:
    """What was moved aside."""
    for kept in recovery.kept_files(box.paths.store):
        yield f"the store was damaged, and is kept as {kept.name}: {recovery.advice(kept)}"


def _role(box: Box, view: RoleView) -> Iterator[str]:
    role = view.role
    if boxes := sorted({one.box for one in view.instances if one.box is not None}):
        yield (
            f"{role.name}: run by state directory {', '.join(boxes)} of the same user, which means "
            "the same processes; two boxes on one machine need match, match_args, match_cwd or "
            "match_env to tell them apart"
        )
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
