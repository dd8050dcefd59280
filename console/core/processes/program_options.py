"""Determines the script that common launchers, shells and interpreters run.

The tables list the options that take a value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class RunTarget(NamedTuple):
    """A script, program, module or shell code that a command line runs."""

    name: str
    """Script or program as named in the command line, module name, or shell code."""
    arguments: Sequence[str] = ()
    kind: str = "script"
    """`script`, `module`, `code` or `command`. For `command`, `arguments` are a command line in
    turn."""
    depth: int = 0


INTERPRETER_NAME = re.compile(
    r"^(python|pypy|node|nodejs|deno|bun|ruby|perl|php|lua|java|pwsh|powershell|cmd"
    r"|sh|bash|dash|zsh|ksh|ash|busybox)w?[\d.]*(t|d|-dbg|-preview)?(\.exe)?$",
    re.IGNORECASE,
)
SHELL_NAME = re.compile(r"^(sh|bash|dash|zsh|ksh|ash)$")

# Launcher -> its options that take a value. A launcher runs the rest of its command line.
LAUNCHER_VALUE_OPTIONS: dict[str, set[str]] = {
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
LAUNCHER_POSITIONALS = {"timeout": 1, "chrt": 1, "taskset": 1}
SUBCOMMAND_LAUNCHERS = {"uv", "poetry", "pipenv", "hatch", "pdm", "conda"}
ENV_ASSIGNING_LAUNCHERS = {"env", "sudo", "doas"}
ENV_ASSIGNMENT = re.compile(r"^\w+=")

_SCRIPT_RUNNING_MODULES = {
    "pdb",
    "cProfile",
    "profile",
    "trace",
    "runpy",
    "coverage",
    "debugpy",
    "viztracer",
}
"""Modules that run the script named after them in the command line."""
_PYTHON_VALUE_OPTION = re.compile(r"^-[bBdEhiIOPqsSuvVx]*([cmXW])(.*)$", re.DOTALL)
"""A Python option that takes a value, after flags in the same word: `-um`, `-Xdev`."""
_VALUE_OPTIONS: dict[str, set[str]] = {
    "python": {"--check-hash-based-pycs"},
    "node": {"-r", "--require", "--import", "--loader", "-C", "--conditions", "--title"},
    "ruby": {"-r", "-I", "-C", "-E"},
    "perl": {"-I"},
    "php": {"-c", "-d", "-z"},
    "lua": {"-l"},
    "java": {"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules"},
    "shell": {"-o", "+o", "-O", "+O", "--rcfile", "--init-file"},
}
"""Interpreter -> the options that take the next word as their value."""
_CODE_OPTIONS: dict[str, set[str]] = {
    "node": {"-e", "--eval", "-p", "--print"},
    "ruby": {"-e"},
    "perl": {"-e", "-E"},
    "php": {"-r"},
    "lua": {"-e"},
    "java": set(),
}
"""Interpreter -> the options that are followed by code instead of a script."""
_INTERPRETER_FAMILY = {
    "pypy": "python",
    "nodejs": "node",
    "deno": "node",
    "bun": "node",
    "busybox": "shell",
}


def base_name(word: str) -> str:
    """Return a program's name without its directories."""
    return word.replace("\\", "/").rstrip("/").rpartition("/")[2]


def is_launcher_or_interpreter(program: str) -> bool:
    """Return True if a program of this name runs another program, named in its arguments."""
    return program in LAUNCHER_VALUE_OPTIONS or INTERPRETER_NAME.match(program) is not None


def parse_interpreter(program: str, arguments: Sequence[str]) -> RunTarget | None:
    """Return the script, module or code that an interpreter runs.

    None if `program` is no interpreter, or runs none of these.
    """
    match = INTERPRETER_NAME.match(program)
    if match is None:
        return None
    name = match[1].lower()
    if name in ("pwsh", "powershell"):
        return _parse_powershell(arguments)
    if name == "cmd":
        return _parse_cmd(arguments)
    if name in ("python", "pypy"):
        return _parse_python(arguments)
    family = "shell" if SHELL_NAME.match(name) else _INTERPRETER_FAMILY.get(name, name)
    run_target = _parse_generic(family, arguments)
    if run_target is not None and (
        (name in ("deno", "bun") and run_target.name == "run")
        or (name == "busybox" and SHELL_NAME.match(run_target.name))
    ):
        return _parse_generic(family, run_target.arguments)
    return run_target


def _parse_python(arguments: Sequence[str]) -> RunTarget | None:
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if option := _PYTHON_VALUE_OPTION.match(word):
            kind, value = option.groups()
            index += 1
            if kind == "c":
                return None
            if not value:
                value, index = (arguments[index] if index < len(arguments) else ""), index + 1
            if kind == "m":
                return _parse_python_module(value, arguments[index:])
        elif word in _VALUE_OPTIONS["python"]:
            index += 2
        elif word.startswith("-") and len(word) > 1:
            index += 1
        else:
            return RunTarget(word, arguments[index + 1 :])
    return None


def _parse_python_module(module: str, rest: Sequence[str]) -> RunTarget | None:
    """Return the module, or the script that a debugger's or profiler's module runs."""
    if module not in _SCRIPT_RUNNING_MODULES:
        return RunTarget(module, rest, "module")
    for index, word in enumerate(rest[:8]):
        if base_name(word).endswith(".py"):
            return RunTarget(word, rest[index + 1 :])
    positional_indices = (index for index, word in enumerate(rest[:8]) if not word.startswith("-"))
    index = next(positional_indices, len(rest))
    return RunTarget(rest[index], rest[index + 1 :]) if index < len(rest) else None


def _parse_generic(family: str, arguments: Sequence[str]) -> RunTarget | None:
    index, values, inline = 0, _VALUE_OPTIONS.get(family, set()), _CODE_OPTIONS.get(family, set())
    while index < len(arguments):
        word = arguments[index]
        if family == "shell" and re.match(r"^-[a-z]*c$", word):
            code = arguments[index + 1] if index + 1 < len(arguments) else ""
            return RunTarget(code, (), "code")
        if word in inline:
            return None
        if word in values:
            index += 2
        elif word.startswith(("-", "+")) and len(word) > 1:
            index += 1
        else:
            return RunTarget(word, arguments[index + 1 :])
    return None


_PARAMETER_PREFIX = re.compile(r"^(-|/[a-zA-Z]+$)")
# PowerShell's parameters, in any case, after `-`, `--` or `/`: (name, length of the shortest
# abbreviation, takes a value).
_POWERSHELL_PARAMETERS: tuple[tuple[str, int, bool], ...] = (
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


def _parse_powershell(arguments: Sequence[str]) -> RunTarget | None:
    """Return the target of `-File SCRIPT ARGUMENTS`, `-Command TEXT` or `SCRIPT ARGUMENTS`."""
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if not _PARAMETER_PREFIX.match(word):
            return RunTarget(word, arguments[index + 1 :])
        key = word.lower().lstrip("-/")
        rest = arguments[index + 1 :]
        if key and "file".startswith(key):
            return RunTarget(rest[0], rest[1:]) if rest else None
        if (key and "commandwithargs".startswith(key)) or key == "cwa":
            return _parse_command_text(rest)
        if key in ("e", "ec") or (len(key) > 1 and "encodedcommand".startswith(key)):
            return None
        index += 1 + any(
            value and len(key) >= least and name.startswith(key)
            for name, least, value in _POWERSHELL_PARAMETERS
        )
        if key in ("v", "version") and rest and rest[0].replace(".", "").isdigit():
            index += 1  # only Windows PowerShell takes a version number here
    return None


def _parse_cmd(arguments: Sequence[str]) -> RunTarget | None:
    """Return the target of `cmd /d /c script.bat arguments`, given in one word or several."""
    for index, word in enumerate(arguments):
        if word.lower() in ("/c", "/k", "/r"):
            return _parse_command_text(arguments[index + 1 :])
        if not word.startswith("/"):
            return None
    return None


def _parse_command_text(words: Sequence[str]) -> RunTarget | None:
    """Return the target of PowerShell's or cmd's command: code if one word, else a command line."""
    if not words:
        return None
    if len(words) == 1:
        # A backslash separates directories here, and a backtick quotes the end of a line.
        return RunTarget(words[0].replace("\\", "/").replace("`", ""), (), "code")
    return RunTarget("", words, "command")
