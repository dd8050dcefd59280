"""Every command of the console, once: keys, footer, help and palette are views of this table."""

from __future__ import annotations

import re
from collections.abc import Mapping

from console.core.frozen import frozen, replace
from console.core.text.formatting import visible


@frozen
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


COMMANDS = (
    Entry("help", "question_mark", "help", "What the panes and keys mean", other_keys=("f1",)),
    Entry("ensure", "e", "ensure", "See to it that the role runs: starts it if it does not",
          selection=True, changes=True),
    Entry("restart", "r", "restart", "End the selected instance gracefully and start a fresh one",
          selection=True, destructive=True, changes=True),
    Entry("kill", "k", "kill", "End the selected instance and its whole tree",
          selection=True, destructive=True, changes=True),
    Entry("why", "w", "why",
          "What is wrong with the selected role, or how it last died, link by link",
          selection=True),
    Entry("handover", "h", "hand-over",
          "What a colleague who takes over must know; first, what happened since you last looked"),
    Entry("log", "l", "log", "Read the output of the selected role", selection=True),
    Entry("leave", "q", "leave", "Leave the console; monitoring goes on",
          other_keys=("ctrl+c", "ctrl+q")),
    Entry("duplicates", "x", "duplicates", "End the instances that are too many",
          selection=True, destructive=True, changes=True),
    Entry("acknowledge", "a", "noted", "Take note of the worst alert that nobody has noted yet",
          changes=True),
    Entry("earlier", "comma", "earlier", "Look at the moment of the event before"),
    Entry("later", "full_stop", "later", "Look at the moment of the event after"),
    Entry("filter", "slash", "filter",
          "Show only the focused pane's rows that match a word or pattern, !: that do not"),
    Entry("sort", "o", "sort", "Sort the instances: as found, by age, by CPU, by memory"),
    Entry("palette", "colon", "palette", "Find a command by name", other_keys=("ctrl+p",)),
    Entry("canary", "c", "canary", "Send a canary task now", changes=True),
    Entry("baseline", "b", "baseline", "Start the baseline, or stop it after asking",
          changes=True),
    Entry("zoom", "z", "zoom", "Give the focused pane the whole screen; Esc gives it back"),
    Entry("redraw", "ctrl+l", "redraw", "Draw all again, over what others wrote on the terminal"),
    Entry("freeze", "f", "freeze", "Hold the picture still; collection goes on"),
    Entry("theme", "t", "theme", "Choose a theme, seeing each as it is lit"),
    Entry("daemon", "D", "daemon", "Start the daemon that runs the monitors, if nobody does",
          changes=True),
    Entry("shorter", "left_square_bracket", "shorter", "Graphs over less time: 24 h, 6 h, 1 h"),
    Entry("longer", "right_square_bracket", "longer", "Graphs over more time: 1 h, 6 h, 24 h"),
    Entry("goto", "g", "go to", "Look at a moment that you name: 02:14, 3h, a date"),
    Entry("back", "less_than_sign", "10 min back", "Look at the moment ten minutes before"),
    Entry("on", "greater_than_sign", "10 min on", "Look at the moment ten minutes after"),
)  # fmt: skip

URGENT = {
    "processes": ("ensure", "restart", "kill", "why", "log", "duplicates", "sort", "filter"),
    "monitors": ("canary", "why", "log", "daemon", "filter", "zoom"),
    "queue": ("canary", "log", "why", "restart", "zoom"),
    "watchdog": ("why", "log", "ensure", "restart", "zoom"),
    "pipeline": ("why", "log", "filter", "zoom"),
    "baseline": ("baseline", "canary", "zoom", "why"),
    "trends": ("shorter", "longer", "earlier", "later", "goto", "back", "on", "zoom"),
    "events": ("why", "handover", "acknowledge", "earlier", "later", "goto", "filter", "zoom"),
    "past": ("now", "earlier", "later", "back", "on", "goto", "why", "handover", "zoom"),
}
"""Pane -> the commands that serve there most, in this order; the others follow as in the table.

In the past they are the same for every pane, and those that would change the box are not there.
"""
NOW = Entry("now", "escape", "now", "Back from the past")

_NAMES = {
    "?": "question_mark", "/": "slash", ":": "colon", ",": "comma", ".": "full_stop",
    "[": "left_square_bracket", "]": "right_square_bracket", "<": "less_than_sign",
    ">": "greater_than_sign", ";": "semicolon", "'": "apostrophe", "!": "exclamation_mark",
    "+": "plus", "-": "minus", "=": "equals_sign", "_": "underscore", "#": "number_sign",
    "*": "asterisk", "@": "at", "%": "percent_sign", "&": "ampersand", "$": "dollar_sign",
    "(": "left_parenthesis", ")": "right_parenthesis", "\\": "backslash", "~": "tilde",
    "|": "vertical_line", '"': "quotation_mark", "`": "grave_accent", " ": "space",
    "^": "circumflex_accent", "{": "left_curly_bracket", "}": "right_curly_bracket",
}  # fmt: skip
_SYMBOLS = {name: char for char, name in _NAMES.items()} | {
    "f1": "F1",
    "space": "space",
    "escape": "Esc",
}
FIXED = (
    "up", "down", "pageup", "pagedown", "home", "end", "escape", "tab", "shift+tab", "enter",
    *"12345678",
)  # fmt: skip
"""Keys that always do the same: moving, panes, leaving a dialog."""
_ERASING = ("backspace", "delete", "ctrl+h")
_KEY = re.compile(r"(ctrl\+|shift\+|alt\+)*([a-z][a-z0-9_]*|[A-Z0-9])")


def symbol(key: str) -> str:
    """A key as people write it."""
    return _SYMBOLS.get(key, key.replace("ctrl+", "^"))


def named(key: str) -> str:
    """A key as the terminal tells it: `?` is `question_mark`."""
    return _NAMES.get(key, key)


def table(keys: Mapping[str, str], read_only: bool = False) -> tuple[Entry, ...]:
    """The commands with the operator's own keys; read-only, without those that change the box."""
    remapped = (replace(one, key=named(keys.get(one.id, one.key))) for one in COMMANDS)
    return tuple(entry for entry in remapped if not (read_only and entry.changes))


def mistakes(keys: Mapping[str, str]) -> list[str]:
    """What is wrong with the operator's own keys, each with the name of its setting."""
    known = {entry.id: entry for entry in COMMANDS}
    found = []
    for id, key in keys.items():
        where, name = f"screen.keys.{visible(id, 40)}", named(key)
        shown = repr(visible(key, 40))
        if id not in known:
            found.append(f"{where}: no such command; there are: {', '.join(known)}")
        elif not _KEY.fullmatch(name):
            found.append(f"{where}: {shown} is no key: a character, or a name such as f2, ctrl+e")
        elif name in FIXED:
            found.append(f"{where}: {shown} always moves, focuses a pane or closes a dialog")
        elif known[id].destructive and name in _ERASING:
            found.append(f"{where}: {shown} erases while typing: nothing that ends something")
    taken: dict[str, str] = {}
    for entry in table(keys):
        for key in (entry.key, *entry.other_keys):
            other = taken.setdefault(key, entry.id)
            if other != entry.id:
                mine = entry.id if entry.id in keys else other
                rest = other if mine == entry.id else entry.id
                found.append(f"screen.keys.{mine}: {symbol(key)!r} is the key of {rest} already")
    return found
