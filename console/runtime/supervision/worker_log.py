"""`worker_monitor.log`, in the wording that its readers know, with date and level; and alerts."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import field

from console.core.frozen import slotted
from console.core.model import Health, HealthState, Role
from console.core.secret_redaction import redact
from console.core.supervision.role_codec import Seen
from console.core.text.command_hint import step
from console.core.text.formatting import day_clock, visible
from console.system.box import Box
from console.system.files import hanging_storage
from console.system.files.outside_files import GROUP
from console.system.files.safe_files import FileError, Problem

NAME = "worker_monitor.log"
MOST = 1_000
"""Lines that are kept while the storage does not answer; beyond that the oldest are given up."""


class CannotRepair(Exception):
    """A repair cannot be done now; the message says why."""


@slotted
class WorkerLog:
    """The log of one box."""

    box: Box
    _waiting: deque[str] = field(default_factory=lambda: deque(maxlen=MOST))
    _released: set[str] = field(default_factory=set)
    """Roles without a file about being parked, as far as is known."""
    failing: dict[str, str] = field(default_factory=dict)
    """Part of the watch -> why it fails now."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def started(self) -> None:
        """The monitors begin to run."""
        self.line(f"Daemon started. interval={self.box.settings.monitors.worker.every_s:g}s")

    def workers(self, seen: Seen, server: Health) -> None:
        """One look: who lives, and how the server is."""
        if seen.instances:
            pids = ",".join(str(instance.pid) for instance in seen.instances)
            self.line(f"Worker alive: PID(s)={pids}")
        else:
            self.line("Worker not found", "WARN")
        self.server(server)

    def server(self, health: Health) -> None:
        """How the queue server is, as far as it is known."""
        if health.state is HealthState.OK:
            self.line("Server health OK")
        elif health.state is HealthState.FAILING:
            self.line(f"Server health failing: {health.reason}", "WARN")

    def parked(self, role: Role, reason: str) -> None:
        """A role is given up until a person acts: said here, and in a file of its own."""
        self.line(f"{role.name} parked: {reason}", "ERROR")
        self._released.discard(role.name)
        text = (
            f"{role.name} is parked: {reason}\n{step(f'restart {role.name}')} takes it up again\n"
        )
        with contextlib.suppress(FileError):
            self.box.door.write(f"ALERT_{role.name}_parked.txt", redact(text), GROUP)

    def may_say_parked(self, role: Role) -> bool:
        """Whether there may be a file that says that a role is parked."""
        return role.name not in self._released

    def released(self, role: Role) -> None:
        """A role is not parked: the file that said so goes, also one of an earlier daemon."""
        self._released.add(role.name)
        try:
            self.box.door.remove(f"ALERT_{role.name}_parked.txt")
        except FileError:
            self._released.discard(role.name)

    @contextlib.contextmanager
    def going_on(self, part: str = "watch") -> Iterator[None]:
        """Catch what fails: it must not end the watch over the others.

        It stands in `failing` until the same part succeeds, and the log has it once.
        """
        try:
            yield
        except Exception as error:
            known = isinstance(error, CannotRepair)
            self.fails(part, str(error) if known else f"{type(error).__name__}: {error}")
        else:
            self.failing.pop(part, None)

    def fails(self, part: str, reason: str) -> None:
        """Note that a part of the watch fails."""
        words = f"repair fails: {part}: {visible(reason, 300)}"
        if self.failing.get(part) != words:
            self.failing[part] = words
            self.line(f"Cannot watch: {reason}", "ERROR")

    def line(self, words: str, level: str = "INFO") -> None:
        """Append `[2025-11-03 18:33:32][LEVEL] text`; levels are DEBUG, INFO, WARN and ERROR.

        Other tools parse this format. A disk that is full must not stop the watch.
        """
        self._waiting.append(f"[{day_clock(self.box.now())}][{level}] {visible(words)}")
        self.flush()

    def flush(self) -> None:
        """Write what waits; without waiting for storage that may not answer."""
        if hanging_storage.is_remote(str(self.box.outputs)):
            threading.Thread(target=self._write, daemon=True).start()
        else:
            self._write()

    def _write(self) -> None:
        """Write what waits, unless another thread does. What the disk refuses is given up."""
        while self._waiting and self._turn.acquire(blocking=False):
            try:
                while self._waiting:
                    try:
                        self.box.door.append(NAME, self._waiting[0])
                    except FileError as error:
                        if error.problem is Problem.SILENT:
                            return
                    self._waiting.popleft()
            finally:
                self._turn.release()
