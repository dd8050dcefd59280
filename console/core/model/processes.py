"""Processes, and the process trees that are instances of a role."""

from __future__ import annotations

from collections.abc import Mapping

from console.core.model.time import Moment
from console.core.records import Record, field
from console.core.secret_redaction import redact_command_line


class Identity(Record, frozen=True):
    """The unique identity of a process.

    A PID alone is ambiguous, since the kernel reuses PIDs.
    """

    pid: int
    ticks: int
    """Kernel start time, clock ticks since boot (field 22 of `/proc/PID/stat`)."""
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.ticks}:{self.boot}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Return the inverse of `str()`. Raises ValueError."""
        pid, ticks, boot = text.split(":", 2)
        if not (len(pid) < 20 and len(ticks) < 20):
            raise ValueError(f"{text[:100]!r} names no process")
        return cls(int(pid), int(ticks), boot)


class Process(Record, frozen=True):
    """One process, as observed."""

    identity: Identity
    ppid: int
    argv: tuple[str, ...]
    started: Moment
    state: str = "S"
    """The kernel's state letter: R running, S sleeping, D uninterruptible, T stopped, Z zombie."""
    cwd: str | None = None
    """Working directory, read for candidates only; None if not read or not permitted."""
    exe: str | None = None
    """The program file behind argv[0], read for candidates only."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The variables that distinguish boxes, read for candidates only."""
    uid: int | None = None
    """Effective UID, read for candidates only; None if it could not be read."""
    in_container: bool = False
    """True if the process runs in a PID namespace below ours, as in a container. Determined for
    candidates only."""

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def command(self) -> str:
        """Return the command line for display, without secrets; it is not meant for parsing.

        Unsafe characters are not escaped yet: pass it to `sanitize_text`.
        """
        return redact_command_line(self.argv)


class Instance(Record, frozen=True):
    """One worker: a process tree whose root matches the role. Launchers are part of it."""

    role: str
    processes: tuple[Process, ...]
    """The root first, then its matching descendants and other children, by PID."""
    leased: bool = False
    """True if a process of this tree holds the role's lease."""
    token: int | None = None
    """Fencing token of the grant under which the instance was started; None if adopted."""
    box: str | None = None
    """State directory of the box that runs the instance; None if it is not another box."""

    @property
    def root(self) -> Process:
        return self.processes[0]

    @property
    def identity(self) -> Identity:
        return self.root.identity

    @property
    def pid(self) -> int:
        return self.root.pid

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self.processes)

    @property
    def adopted(self) -> bool:
        """Return True if the instance runs without a lease of a box on this machine.

        Another program than rpa-console started it.
        """
        return not self.leased and self.box is None

    @property
    def launcher_ended(self) -> bool:
        """Return True if the launcher has exited and the instance still runs.

        This is normal for a background job.
        """
        return self.adopted and self.root.ppid <= 1

    def uptime(self, now: Moment) -> float:
        """Return the seconds since the root started."""
        return now.since(self.root.started)


class LookAlike(Record, frozen=True):
    """A process that runs a role's script and is not an instance of the role."""

    identity: Identity
    user: str
    """User name, or the UID if the name is unknown."""
    why: str
    """Why it is not an instance: `another user's process`, `in a container`."""
    command: str = ""
    """Untrusted text: sanitize it before display."""
    box: str = ""
    """State directory of the rpa-console that verifiably leases the process, if we may read it."""
