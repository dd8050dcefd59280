"""The table of all commands, from which keys, footer, help and palette are built."""

from __future__ import annotations

import re
from collections.abc import Mapping

from console.core.records import Record, replace
from console.core.text.formatting import sanitize_text


class CommandSpec(Record, frozen=True):
    """A command of the console, with its keys and texts."""

    id: str
    key: str
    label: str
    help: str
    needs_selection: bool = False
    """The command needs a selected role or instance."""
    is_destructive: bool = False
    """The command ends a process, and asks first."""
    changes_box: bool = False
    """The command changes the box; it is refused in read-only mode."""
    other_keys: tuple[str, ...] = ()


COMMAND_SPECS = (
    CommandSpec("help", "question_mark", "help", "What the panes and keys mean",
          other_keys=("f1",)),
    CommandSpec("ensure", "e", "ensure", "See to it that the role runs: starts it if it does not",
          needs_selection=True, changes_box=True),
    CommandSpec("restart", "r", "restart",
          "End the selected instance gracefully and start a fresh one",
          needs_selection=True, is_destructive=True, changes_box=True),
    CommandSpec("kill", "k", "kill", "End the selected instance and its whole tree",
          needs_selection=True, is_destructive=True, changes_box=True),
    CommandSpec("why", "w", "why",
          "What is wrong with the selected role, or how it last died, link by link",
          needs_selection=True),
    CommandSpec("handover", "h", "hand-over",
          "What a colleague who takes over must know; first, what happened since you last looked"),
    CommandSpec("log", "l", "log", "Read the output of the selected role", needs_selection=True),
    CommandSpec("leave", "q", "leave", "Leave the console; monitoring goes on",
          other_keys=("ctrl+c", "ctrl+q")),
    CommandSpec("duplicates", "x", "duplicates", "End the instances that are too many",
          needs_selection=True, is_destructive=True, changes_box=True),
    CommandSpec("acknowledge", "a", "noted",
          "Take note of the worst alert that nobody has noted yet",
          changes_box=True),
    CommandSpec("earlier", "comma", "earlier", "Look at the moment of the event before"),
    CommandSpec("later", "full_stop", "later", "Look at the moment of the event after"),
    CommandSpec("filter", "slash", "filter",
          "Show only the focused pane's rows that match a word or pattern, !: that do not"),
    CommandSpec("sort", "o", "sort", "Sort the instances: as found, by age, by CPU, by memory"),
    CommandSpec("palette", "colon", "palette", "Find a command by name", other_keys=("ctrl+p",)),
    CommandSpec("canary", "c", "canary", "Send a canary task now", changes_box=True),
    CommandSpec("baseline", "b", "baseline", "Start the baseline, or stop it after asking",
          changes_box=True),
    CommandSpec("zoom", "z", "zoom", "Give the focused pane the whole screen; Esc gives it back"),
    CommandSpec("redraw", "ctrl+l", "redraw",
          "Draw all again, over what others wrote on the terminal"),
    CommandSpec("freeze", "f", "freeze", "Hold the picture still; collection goes on"),
    CommandSpec("theme", "t", "theme", "Choose a theme, seeing each as it is lit"),
    CommandSpec("daemon", "D", "daemon", "Start the daemon that runs the monitors, if nobody does",
          changes_box=True),
    CommandSpec("shorter", "left_square_bracket", "shorter",
          "Graphs over less time: 24 h, 6 h, 1 h"),
    CommandSpec("longer", "right_square_bracket", "longer",
          "Graphs over more time: 1 h, 6 h, 24 h"),
    CommandSpec("goto", "g", "go to", "Look at a moment that you name: 02:14, 3h, a date"),
    CommandSpec("back", "less_than_sign", "10 min back", "Look at the moment ten minutes before"),
    CommandSpec("on", "greater_than_sign", "10 min on", "Look at the moment ten minutes after"),
)  # fmt: skip

PANE_COMMANDS = {
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
"""Pane -> the commands that the footer shows first; the others follow in the order of the table.

While the past is shown, the entry `past` applies to every pane; it has no command that changes the
box.
"""
RETURN_TO_NOW = CommandSpec("now", "escape", "now", "Back from the past")

_KEY_NAMES = {
    "?": "question_mark", "/": "slash", ":": "colon", ",": "comma", ".": "full_stop",
    "[": "left_square_bracket", "]": "right_square_bracket", "<": "less_than_sign",
    ">": "greater_than_sign", ";": "semicolon", "'": "apostrophe", "!": "exclamation_mark",
    "+": "plus", "-": "minus", "=": "equals_sign", "_": "underscore", "#": "number_sign",
    "*": "asterisk", "@": "at", "%": "percent_sign", "&": "ampersand", "$": "dollar_sign",
    "(": "left_parenthesis", ")": "right_parenthesis", "\\": "backslash", "~": "tilde",
    "|": "vertical_line", '"': "quotation_mark", "`": "grave_accent", " ": "space",
    "^": "circumflex_accent", "{": "left_curly_bracket", "}": "right_curly_bracket",
}  # fmt: skip
_KEY_SYMBOLS = {name: char for char, name in _KEY_NAMES.items()} | {
    "f1": "F1",
    "space": "space",
    "escape": "Esc",
}
RESERVED_KEYS = (
    "up", "down", "pageup", "pagedown", "home", "end", "escape", "tab", "shift+tab", "enter",
    *"12345678",
)  # fmt: skip
"""Keys that cannot be remapped: they move, focus a pane, or close a dialog."""
_ERASING_KEYS = ("backspace", "delete", "ctrl+h")
_KEY_PATTERN = re.compile(r"(ctrl\+|shift\+|alt\+)*([a-z][a-z0-9_]*|[A-Z0-9])")


def format_key(key: str) -> str:
    """Return the name of a key as it is shown: `?`, `^p`, `F1`."""
    return _KEY_SYMBOLS.get(key, key.replace("ctrl+", "^"))


def normalize_key(key: str) -> str:
    """Return Textual's name of a key: `?` becomes `question_mark`."""
    return _KEY_NAMES.get(key, key)


def build_command_specs(
    key_overrides: Mapping[str, str], read_only: bool = False
) -> tuple[CommandSpec, ...]:
    """Return the commands with the operator's keys.

    In read-only mode the commands that change the box are omitted.
    """
    remapped = (
        replace(entry, key=normalize_key(key_overrides.get(entry.id, entry.key)))
        for entry in COMMAND_SPECS
    )
    return tuple(entry for entry in remapped if not (read_only and entry.changes_box))


def find_keymap_errors(key_overrides: Mapping[str, str]) -> list[str]:
    """Return the errors in the operator's keys, each with the name of its setting."""
    by_id = {entry.id: entry for entry in COMMAND_SPECS}
    errors = []
    for id, key in key_overrides.items():
        setting, name = f"screen.keys.{sanitize_text(id, 40)}", normalize_key(key)
        shown = repr(sanitize_text(key, 40))
        if id not in by_id:
            errors.append(f"{setting}: no such command; there are: {', '.join(by_id)}")
        elif not _KEY_PATTERN.fullmatch(name):
            errors.append(
                f"{setting}: {shown} is no key: a character, or a name such as f2, ctrl+e"
            )
        elif name in RESERVED_KEYS:
            errors.append(f"{setting}: {shown} always moves, focuses a pane or closes a dialog")
        elif by_id[id].is_destructive and name in _ERASING_KEYS:
            errors.append(f"{setting}: {shown} erases while typing: nothing that ends something")
    taken: dict[str, str] = {}
    for entry in build_command_specs(key_overrides):
        for key in (entry.key, *entry.other_keys):
            other = taken.setdefault(key, entry.id)
            if other != entry.id:
                own_id = entry.id if entry.id in key_overrides else other
                other_id = other if own_id == entry.id else entry.id
                errors.append(
                    f"screen.keys.{own_id}: {format_key(key)!r} is the key of {other_id} already"
                )
    return errors
