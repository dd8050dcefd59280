"""What the usual programs run: launchers, shells, interpreters, and which options take a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Found(NamedTuple):
    """Something that a command line runs."""

    name: str
    """A script or program as it was named, a module, or a shell's text."""
    arguments: Sequence[str] = ()
    kind: str = "script"
    """`script`, `module` or `code`; `command`: the arguments are a command line in turn."""
    depth: int = 0


INTERPRETER = re.compile(
    r"^(python|pypy|node|nodejs|deno|bun|ruby|perl|php|lua|java|pwsh|powershell|cmd"
    r"|sh|bash|dash|zsh|ksh|ash|busybox)w?[\d.]*(t|d|-dbg|-preview)?(\.exe)?$",
    re.IGNORECASE,
)
SHELL = re.compile(r"^(sh|bash|dash|zsh|ksh|ash)$")

# Launchers that run the rest of their command line, and their options that take a value.
LAUNCHERS: dict[str, set[str]] = {
    "env": {"-u", "--unset", "-C", "--chdir", "-S"},
    "nohup": set(),
    "setsid": set(),
    "stdbuf": {"-i", "-o", "-e"},
    "nice": {"-n"},
    "ionice": {"-c", "-n", "-p"},
    "chrt": {"-T", "-P", "-D"},
    "taskset": set(),
    "timeout": {"-k", "-s", "--kill-after", "--signal"},
    "time": {"-f", "-o"},
    "sudo": {"-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-D", "-R"},
    "doas": {"-u", "-C"},
    "runuser": {"-u", "-g", "-G", "-s"},
    "setpriv": {"--reuid", "--regid"},
    "xvfb-run": {"-e", "-f", "-n", "-p", "-s", "-w"},
    "dbus-run-session": set(),
    "systemd-run": {"-p", "-u", "-M", "-E"},
    "uv": {"--with", "--python", "-p", "--project", "--directory", "--extra", "--group"},
    "uvx": {"--with", "--python", "-p", "--from"},
    "poetry": {"-C", "-P"},
    "pipenv": set(),
    "hatch": {"-e"},
    "pdm": {"-p"},
    "conda": {"-n", "-p"},
    "py": set(),
    "py.exe": set(),
    "exec": set(),
    "command": set(),
    ".": set(),
    "&": set(),
    "call": set(),
}
POSITIONALS = {"timeout": 1, "chrt": 1, "taskset": 1}
SUBCOMMAND = {"uv", "poetry", "pipenv", "hatch", "pdm", "conda"}
ASSIGNING = {"env", "sudo", "doas"}
ASSIGNMENT = re.compile(r"^\w+=")

_RUNS_SCRIPT = {"pdb", "cProfile", "profile", "trace", "runpy", "coverage", "debugpy", "viztracer"}
"""Modules that run the script named after them."""
_PYTHON = re.compile(r"^-[bBdEhiIOPqsSuvVx]*([cmXW])(.*)$", re.DOTALL)
"""Python's options that take a value, after others without one: `-um`, `-Xdev`."""
_VALUES: dict[str, set[str]] = {
    "python": {"--check-hash-based-pycs"},
    "node": {"-r", "--require", "--import", "--loader", "-C", "--conditions", "--title"},
    "ruby": {"-r", "-I", "-C", "-E"},
    "perl": {"-I"},
    "php": {"-c", "-d", "-z"},
    "lua": {"-l"},
    "java": {"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules"},
    "shell": {"-o", "+o", "-O", "+O", "--rcfile", "--init-file"},
}
"""The options of each interpreter that take the next word as their value."""
_TEXT: dict[str, set[str]] = {
    "node": {"-e", "--eval", "-p", "--print"},
    "ruby": {"-e"},
    "perl": {"-e", "-E"},
    "php": {"-r"},
    "lua": {"-e"},
    "java": set(),
}
"""The options of each interpreter after which there is a text and no script."""
_FAMILY = {"pypy": "python", "nodejs": "node", "deno": "node", "bun": "node", "busybox": "shell"}


def base_name(word: str) -> str:
    """A program's own name, without the directories before it."""
    return word.replace("\\", "/").rstrip("/").rpartition("/")[2]


def starts_others(program: str) -> bool:
    """Whether a program of this name runs another one that its arguments name."""
    return program in LAUNCHERS or INTERPRETER.match(program) is not None


def interpreted(program: str, arguments: Sequence[str]) -> Found | None:
    """What an interpreter runs: a script, a module, a text of commands; None when it is none."""
    known = INTERPRETER.match(program)
    if known is None:
        return None
    name = known[1].lower()
    if name in ("pwsh", "powershell"):
        return _powershell(arguments)
    if name == "cmd":
        return _cmd(arguments)
    if name in ("python", "pypy"):
        return _python(arguments)
    family = "shell" if SHELL.match(name) else _FAMILY.get(name, name)
    found = _other(family, arguments)
    if found is not None and (
        (name in ("deno", "bun") and found.name == "run")
        or (name == "busybox" and SHELL.match(found.name))
    ):
        return _other(family, found.arguments)
    return found


def _python(arguments: Sequence[str]) -> Found | None:
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if option := _PYTHON.match(word):
            kind, value = option.groups()
            index += 1
            if kind == "c":
                return None
            if not value:
                value, index = (arguments[index] if index < len(arguments) else ""), index + 1
            if kind == "m":
                return _module(value, arguments[index:])
        elif word in _VALUES["python"]:
            index += 2
        elif word.startswith("-") and len(word) > 1:
            index += 1
        else:
            return Found(word, arguments[index + 1 :])
    return None


def _module(module: str, rest: Sequence[str]) -> Found | None:
    """A module; or the script that a debugger or profiler is told to run."""
    if module not in _RUNS_SCRIPT:
        return Found(module, rest, "module")
    for index, word in enumerate(rest[:8]):
        if base_name(word).endswith(".py"):
            return Found(word, rest[index + 1 :])
    named = (index for index, word in enumerate(rest[:8]) if not word.startswith("-"))
    index = next(named, len(rest))
    return Found(rest[index], rest[index + 1 :]) if index < len(rest) else None


def _other(family: str, arguments: Sequence[str]) -> Found | None:
    index, values, text = 0, _VALUES.get(family, set()), _TEXT.get(family, set())
    while index < len(arguments):
        word = arguments[index]
        if family == "shell" and re.match(r"^-[a-z]*c$", word):
            code = arguments[index + 1] if index + 1 < len(arguments) else ""
            return Found(code, (), "code")
        if word in text:
            return None
        if word in values:
            index += 2
        elif word.startswith(("-", "+")) and len(word) > 1:
            index += 1
        else:
            return Found(word, arguments[index + 1 :])
    return None


_PARAMETER = re.compile(r"^(-|/[a-zA-Z]+$)")
# PowerShell's parameters: any case, `-` `--` `/`, and as short as this. Whether each has a value.
_PARAMETERS: tuple[tuple[str, int, bool], ...] = (
    ("configurationname", 6, True),
    ("configurationfile", 14, True),
    ("custompipename", 3, True),
    ("encodedarguments", 8, True),
    ("ea", 2, True),
    ("executionpolicy", 2, True),
    ("ep", 2, True),
    ("inputformat", 3, True),
    ("if", 2, True),
    ("outputformat", 1, True),
    ("of", 2, True),
    ("psconsolefile", 1, True),
    ("settingsfile", 8, True),
    ("windowstyle", 1, True),
    ("workingdirectory", 2, True),
    ("wd", 2, True),
)


def _powershell(arguments: Sequence[str]) -> Found | None:
    """PowerShell: `-File SCRIPT ARGUMENTS`, `-Command TEXT`, or SCRIPT ARGUMENTS."""
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if not _PARAMETER.match(word):
            return Found(word, arguments[index + 1 :])
        key = word.lower().lstrip("-/")
        rest = arguments[index + 1 :]
        if key and "file".startswith(key):
            return Found(rest[0], rest[1:]) if rest else None
        if (key and "commandwithargs".startswith(key)) or key == "cwa":
            return _commands(rest)
        if key in ("e", "ec") or (len(key) > 1 and "encodedcommand".startswith(key)):
            return None
        index += 1 + any(
            value and len(key) >= least and name.startswith(key)
            for name, least, value in _PARAMETERS
        )
        if key in ("v", "version") and rest and rest[0].replace(".", "").isdigit():
            index += 1  # of Windows PowerShell, with a number; elsewhere without
    return None


def _cmd(arguments: Sequence[str]) -> Found | None:
    """`cmd /d /c script.bat arguments`, in one word or several."""
    for index, word in enumerate(arguments):
        if word.lower() in ("/c", "/k", "/r"):
            return _commands(arguments[index + 1 :])
        if not word.startswith("/"):
            return None
    return None


def _commands(words: Sequence[str]) -> Found | None:
    """The commands of PowerShell or cmd: one word is a text, several are words already."""
    if not words:
        return None
    if len(words) == 1:
        # `\\` separates directories here, and a backtick quotes the end of a line.
        return Found(words[0].replace("\\", "/").replace("`", ""), (), "code")
    return Found("", words, "command")
