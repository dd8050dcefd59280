"""`worker_monitor.log`, in the wording that its readers know, with date and level; and alerts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from console.core.frozen import frozen
from console.core.model import Health, HealthState, Role
from console.core.record import Seen
from console.core.redact import redact
from console.core.text import day_clock, visible
from console.system.box import Box
from console.system.files import FileError, append_rotating, write_atomically


@frozen
class WorkerLog:
    """The log of one box."""

    box: Box

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
        text = (
            f"{role.name} is parked: {reason}\nrpa-console restart {role.name} takes it up again\n"
        )
        with contextlib.suppress(FileError):
            path = self.box.outputs / f"ALERT_{role.name}_parked.txt"
            write_atomically(path, redact(text))

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Whatever fails is told in the log; it must not end the watch over the others."""
        try:
            yield
        except Exception as error:
            self.line(f"Cannot watch: {type(error).__name__}: {error}", "ERROR")

    def line(self, words: str, level: str = "INFO") -> None:
        """Append `[2025-11-03 18:33:32][LEVEL] text`; levels are DEBUG, INFO, WARN and ERROR.

        Other tools parse this format. A disk that is full must not stop the watch.
        """
        stamp = day_clock(self.box.now())
        with contextlib.suppress(FileError):
            append_rotating(
                self.box.outputs / "worker_monitor.log", f"[{stamp}][{level}] {visible(words)}"
            )
