"""Builds the notices about problems of the state and missing configuration, with their remedies."""

from __future__ import annotations

import os
from collections.abc import Iterator

from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import RoleView
from console.core.text.command_hint import format_command
from console.core.text.formatting import format_clock
from console.system import daemon_settings
from console.system.box import Box
from console.system.files import hanging_storage
from console.system.store import disk_space, recovery


def disk_full_reason(box: Box) -> str | None:
    """Return why the disk of the state directory cannot be written; None if it can."""
    reason = disk_space.write_refusal(box.paths.state)
    if reason is None or reason == disk_space.NO_INODES:  # open files can still be written
        return reason and f"{box.paths.state}: {reason} there"
    return f"{box.paths.state}: {reason}; what happens now is kept in memory only"


def build_notices(box: Box, snapshot: Snapshot) -> Iterator[str]:
    """Yield one line, with a remedy, for each problem of the state and each thing not found."""
    yield from _recovered_store_notices(box)
    yield from _configuration_notices(box, snapshot)
    if snapshot.queue.loss_message:
        yield f"{snapshot.queue.loss_message} (seen at {format_clock(snapshot.queue.loss_at)})"
    yield from (trouble.message for trouble in snapshot.daemon.troubles)
    if not any(trouble.key == "storage" for trouble in snapshot.daemon.troubles):
        yield from hanging_storage.unresponsive_messages()
    for view in snapshot.roles:
        yield from _role_notices(box, view)
    if not box.settings.outputs and not (
        snapshot.watchdog.heartbeat or snapshot.pipeline.generated
    ):
        yield f'no status files in {box.outputs_dir}: add `outputs = "DIRECTORY"` to read them'
    if box.config_path is not None:
        return
    if snapshot.queue.state is HealthState.FAILING:
        yield f'queue: nobody answers at {snapshot.queue.url}: add `url = "URL"` under [queue]'
    yield f"no configuration file: `{format_command('config init')}` writes one"


def _configuration_notices(box: Box, snapshot: Snapshot) -> Iterator[str]:
    """Yield a line if the settings in the file are not in force, here or in the daemon."""
    configured, daemon = box.watched_config, snapshot.daemon
    if trouble := configured.not_applied_reason or configured.file_error:
        yield f"configuration: {trouble}"
    if daemon.running and daemon.pid != os.getpid():
        yield from daemon_settings.settings_mismatch(box, daemon.pid)


def _recovered_store_notices(box: Box) -> Iterator[str]:
    """Yield a line for each damaged store that was moved aside."""
    for path in recovery.list_damaged_stores(box.paths.store):
        yield f"the store was damaged, and is kept as {path.name}: {recovery.recovery_hint(path)}"


def _role_notices(box: Box, view: RoleView) -> Iterator[str]:
    role = view.role
    if boxes := sorted({instance.box for instance in view.instances if instance.box is not None}):
        yield (
            f"{role.name}: run by state directory {', '.join(boxes)} of the same user, which means "
            "the same processes; two boxes on one machine need match, match_args, match_cwd or "
            "match_env to tell them apart"
        )
    if not view.instance_count and role.name not in box.settings.roles:
        yield (
            f"{role.name}: no process runs {role.match}: "
            f'add `match = "SCRIPT"` under [roles.{role.name}] if it has another name'
        )
    if not role.command:
        yield (
            f"{role.name}: can be watched and ended, not started: "
            f"add `command = [...]` under [roles.{role.name}]"
        )
