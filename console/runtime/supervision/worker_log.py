"""Writes `worker_monitor.log`, whose wording its readers parse, and files about parked roles."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

from console.core.model.roles import Role
from console.core.model.samples import Health, HealthState
from console.core.records import Component, field
from console.core.secret_redaction import redact
from console.core.supervision.role_codec import RoleObservation
from console.core.text.command_hint import format_command
from console.core.text.formatting import format_date_time, sanitize_text
from console.system.box import Box
from console.system.files import hanging_storage
from console.system.files.outside_files import GROUP_MODE
from console.system.files.safe_files import FileError, FileProblem

LOG_FILE_NAME = "worker_monitor.log"
MAX_PENDING_LINES = 1_000
"""Lines kept while the storage does not respond. Beyond that, the oldest are dropped."""


class CannotRepair(Exception):
    """Raised when a repair is not possible now. The message states the reason."""


class WorkerLog(Component):
    """Log of one box."""

    box: Box
    _pending_lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_PENDING_LINES))
    _roles_without_parked_file: set[str] = field(default_factory=set)
    """Roles that are known to have no file about being parked."""
    failures: dict[str, str] = field(default_factory=dict)
    """Part of the supervision -> why it fails now."""
    _write_lock: threading.Lock = field(default_factory=threading.Lock)

    def log_start(self) -> None:
        """Log that the monitors start."""
        self.write(f"Daemon started. interval={self.box.settings.monitors.worker.every_s:g}s")

    def log_workers(self, observation: RoleObservation, queue_health: Health) -> None:
        """Log the running workers and the health of the queue server."""
        if observation.instances:
            pids = ",".join(str(instance.pid) for instance in observation.instances)
            self.write(f"Worker alive: PID(s)={pids}")
        else:
            self.write("Worker not found", "WARN")
        self.log_queue_health(queue_health)

    def log_queue_health(self, health: Health) -> None:
        """Log the health of the queue server, unless it is unknown."""
        if health.state is HealthState.OK:
            self.write("Server health OK")
        elif health.state is HealthState.FAILING:
            self.write(f"Server health failing: {health.reason}", "WARN")

    def report_parked(self, role: Role, reason: str) -> None:
        """Log that a role is parked until an operator acts, and write a file about it."""
        self.write(f"{role.name} parked: {reason}", "ERROR")
        self._roles_without_parked_file.discard(role.name)
        text = (
            f"{role.name} is parked: {reason}\n"
            f"{format_command(f'restart {role.name}')} takes it up again\n"
        )
        with contextlib.suppress(FileError):
            self.box.outside_directory.write(
                f"ALERT_{role.name}_parked.txt", redact(text), GROUP_MODE
            )

    def may_have_parked_file(self, role: Role) -> bool:
        """Return True if there may be a file about the role being parked."""
        return role.name not in self._roles_without_parked_file

    def remove_parked_file(self, role: Role) -> None:
        """Remove the file about the role being parked.

        It may have been written by an earlier daemon.
        """
        self._roles_without_parked_file.add(role.name)
        try:
            self.box.outside_directory.remove(f"ALERT_{role.name}_parked.txt")
        except FileError:
            self._roles_without_parked_file.discard(role.name)

    @contextlib.contextmanager
    def catch_failures(self, part: str = "watch") -> Iterator[None]:
        """Catch exceptions, so that one failing part does not end the supervision.

        The failure stays in `failures` until the same part succeeds. It is logged once.
        """
        try:
            yield
        except Exception as error:
            is_expected = isinstance(error, CannotRepair)
            self.record_failure(
                part, str(error) if is_expected else f"{type(error).__name__}: {error}"
            )
        else:
            self.failures.pop(part, None)

    def record_failure(self, part: str, reason: str) -> None:
        """Store the failure of a part of the supervision, and log it if it is new."""
        message = f"repair fails: {part}: {sanitize_text(reason, 300)}"
        if self.failures.get(part) != message:
            self.failures[part] = message
            self.write(f"Cannot watch: {reason}", "ERROR")

    def write(self, message: str, level: str = "INFO") -> None:
        """Append `[2025-11-03 18:33:32][LEVEL] text`. Levels are DEBUG, INFO, WARN and ERROR.

        Other tools parse this format. A full disk does not stop the supervision.
        """
        self._pending_lines.append(
            f"[{format_date_time(self.box.now())}][{level}] {sanitize_text(message)}"
        )
        self.flush()

    def flush(self) -> None:
        """Write the pending lines. Does not wait for remote storage, which may not respond."""
        if hanging_storage.is_remote(str(self.box.outputs_dir)):
            threading.Thread(target=self._write_pending, daemon=True).start()
        else:
            self._write_pending()

    def _write_pending(self) -> None:
        """Write the pending lines, unless another thread does.

        Drops lines that cannot be written, except if the storage does not respond.
        """
        while self._pending_lines and self._write_lock.acquire(blocking=False):
            try:
                while self._pending_lines:
                    try:
                        self.box.outside_directory.append(LOG_FILE_NAME, self._pending_lines[0])
                    except FileError as error:
                        if error.problem is FileProblem.NOT_RESPONDING:
                            return
                    self._pending_lines.popleft()
            finally:
                self._write_lock.release()
