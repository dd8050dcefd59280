"""Commands of an operator or of the policy, and their outcomes."""

from __future__ import annotations

from enum import StrEnum

from console.core.model.processes import Identity
from console.core.records import Record


class Verb(StrEnum):
    ENSURE = "ensure"
    RESTART = "restart"
    KILL = "kill"
    END_DUPLICATES = "end-duplicates"
    CANARY = "canary"
    BASELINE = "baseline"
    START_DAEMON = "start-daemon"
    ACKNOWLEDGE = "acknowledge"
    """`role` is the alert's key; without a key, the command applies to all open alerts."""


class Command(Record, frozen=True):
    """A command of an operator or of the policy, bound to the state on which it is based."""

    verb: Verb
    role: str = ""
    actor: str = ""
    target: Identity | None = None
    """The instance on the operator's screen. The command is refused if it is not there any more."""
    token: int | None = None
    force: bool = False
    dry_run: bool = False


class Outcome(Record, frozen=True):
    """The outcome of a command. `code` is the command line's exit code."""

    done: bool
    message: str
    code: int = 0
    pid: int | None = None
    changed: bool = False
