"""Every command of the console, once: keys, footer, help and palette are views of this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Entry:
    """One command."""

    id: str
    key: str
    label: str
    help: str
    selection: bool = False
    """It needs a selected role or instance."""
    destructive: bool = False
    """It ends something, and asks first."""
    changes: bool = False
    """It changes the box: refused when read-only."""
    other_keys: tuple[str, ...] = ()
    footer: bool = True


COMMANDS = (
    Entry("help", "question_mark", "help", "What the panes and keys mean", other_keys=("f1",)),
    Entry("ensure", "e", "ensure", "See to it that the role runs: starts it if it does not",
          selection=True, changes=True),
    Entry("restart", "r", "restart", "End the selected instance gracefully and start a fresh one",
          selection=True, destructive=True, changes=True),
    Entry("kill", "k", "kill", "End the selected instance and its whole tree",
          selection=True, destructive=True, changes=True),
    Entry("log", "l", "log", "Read the output of the selected role", selection=True),
    Entry("leave", "q", "leave", "Leave the console; monitoring goes on",
          other_keys=("ctrl+c", "ctrl+q")),
    Entry("duplicates", "x", "duplicates", "End the instances that are too many",
          selection=True, destructive=True, changes=True),
    Entry("canary", "c", "canary", "Send a canary task now", changes=True),
    Entry("baseline", "b", "baseline", "Start the baseline, or stop it after asking",
          changes=True),
    Entry("filter", "slash", "filter", "Show only rows that contain a word; Esc clears"),
    Entry("freeze", "f", "freeze", "Hold the picture still; collection goes on"),
    Entry("zoom", "z", "zoom", "Give the focused pane the whole screen; Esc gives it back"),
    Entry("palette", "colon", "palette", "Find a command by name", other_keys=("ctrl+p",)),
    Entry("theme", "t", "theme", "The next theme"),
    Entry("daemon", "D", "daemon", "Start the daemon that runs the monitors, if nobody does",
          changes=True),
)  # fmt: skip

_SYMBOLS = {"question_mark": "?", "slash": "/", "colon": ":", "ctrl+p": "^p", "f1": "F1"}


def symbol(key: str) -> str:
    """A key as people write it."""
    return _SYMBOLS.get(key, key.replace("ctrl+", "^"))


def table(keys: Mapping[str, str], read_only: bool = False) -> tuple[Entry, ...]:
    """The commands with the operator's own keys; read-only, without those that change the box."""
    remapped = (replace(entry, key=keys.get(entry.id, entry.key)) for entry in COMMANDS)
    return tuple(entry for entry in remapped if not (read_only and entry.changes))
