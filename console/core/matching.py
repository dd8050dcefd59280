"""Whether a command line *runs* a script, or merely mentions it: by the structure of argv."""

from __future__ import annotations

import re
from collections.abc import Sequence

_INTERPRETER = re.compile(
    r"^(python|pypy|node|nodejs|deno|bun|ruby|perl|php|lua|java|pwsh|powershell"
    r"|sh|bash|dash|zsh|ksh|ash|busybox)w?[\d.]*(t|d|-dbg)?(\.exe)?$",
    re.IGNORECASE,
)
_SHELL = re.compile(r"^(sh|bash|dash|zsh|ksh|ash)$")
_INTERPRETER_VALUES = {"-X", "-W", "-r", "--require", "-I", "-File", "--check-hash-based-pycs"}
_CODE = {"-c", "-e", "-E", "--eval", "-Command"}

# Launchers that run the rest of their command line, and their options that take a value.
_LAUNCHERS: dict[str, set[str]] = {
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
}
_POSITIONALS = {"timeout": 1, "chrt": 1, "taskset": 1}
_SUBCOMMAND = {"uv", "poetry", "pipenv", "hatch", "pdm", "conda"}
_ASSIGNING = {"env", "sudo", "doas"}
_ASSIGNMENT = re.compile(r"^\w+=")


_RUNS_SCRIPT = {"pdb", "cProfile", "profile", "trace", "runpy", "coverage", "debugpy", "viztracer"}
"""Modules that run the script named after them."""


def runs(argv: Sequence[str], match: str, depth: int = 0) -> bool:
    """Whether this command line *runs* `match`, rather than mentions it."""
    if not argv or depth > 8:
        return False
    program = _base(argv[0])
    if _named(argv[0], match):
        return True
    if program in _LAUNCHERS:
        return runs(_launched(program, argv[1:]), match, depth + 1)
    if program.startswith("-"):  # a login shell: `-bash`
        program = program[1:]
    if not _INTERPRETER.match(program):
        return False
    return _interpreter_runs(program, argv[1:], match, depth)


def _named(word: str, match: str) -> bool:
    """`match` is a base name, or a path whose last parts must agree."""
    word = word.replace("\\", "/")
    if "/" in match:
        return word == match or word.endswith("/" + match.lstrip("/"))
    return _base(word) == match


def _base(word: str) -> str:
    """A program's own name, without the directories before it."""
    return word.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _launched(program: str, arguments: Sequence[str]) -> Sequence[str]:
    """What a launcher runs: its options, their values and its own positionals left out."""
    values = _LAUNCHERS[program]
    positionals = _POSITIONALS.get(program, 0) + (program in _SUBCOMMAND)
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            return arguments[index + 1 :]
        if program == "uv" and word in ("-m", "--module"):
            return ("python", "-m", *arguments[index + 1 :])
        if word in values:
            index += 2
        elif word.startswith("-") and len(word) > 1:
            index += 1
        elif program in _ASSIGNING and _ASSIGNMENT.match(word):
            index += 1
        elif positionals:
            positionals -= 1
            index += 1
        else:
            return _uv_script(program, arguments[index:])
    return ()


def _uv_script(program: str, rest: Sequence[str]) -> Sequence[str]:
    """`uv run script.py` and `py script.py` hand a script to Python themselves."""
    if program in ("uv", "py", "py.exe") and rest[0].endswith((".py", ".pyw")):
        return ("python", *rest)
    return rest


def _interpreter_runs(program: str, arguments: Sequence[str], match: str, depth: int) -> bool:
    """Whether an interpreter was given `match` as its script, module or one of its commands."""
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word in _CODE or (_SHELL.match(program) and re.match(r"^-[a-z]*c$", word)):
            code = arguments[index + 1] if index + 1 < len(arguments) else ""
            return bool(_SHELL.match(program)) and _script_runs(code, match, depth)
        if word == "-m" and index + 1 < len(arguments):
            if arguments[index + 1] in _RUNS_SCRIPT:
                return any(_named(word, match) for word in arguments[index + 2 : index + 8])
            module = arguments[index + 1].rsplit(".", 1)[-1]
            return "/" not in match and module == match.removesuffix(".py")
        if word in _INTERPRETER_VALUES:
            index += 2
        elif word.startswith("-") and len(word) > 1:
            index += 1
        else:
            return _named(word, match)
    return False


def _script_runs(code: str, match: str, depth: int) -> bool:
    """Whether one of the simple commands of a shell's `-c` runs `match`."""
    if stem_of(match) not in code:
        return False
    from shlex import shlex

    try:
        lexer = shlex(code, posix=True, punctuation_chars=";&|()\n")
        lexer.whitespace = " \t\r"
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return False
    simple: list[str] = []
    for word in [*words, ";"]:
        if word and set(word) <= set(";&|()\n"):
            while simple and _ASSIGNMENT.match(simple[0]):
                simple.pop(0)
            if runs(simple, match, depth + 1):
                return True
            simple = []
        else:
            simple.append(word)
    return False


def stem_of(match: str) -> str:
    """What is in every command line that runs `match`."""
    return match.rsplit("/", 1)[-1].removesuffix(".py")


def mentions(argv: Sequence[str], match: str) -> bool:
    """Whether a command line may run `match` under a program name that tells nothing."""
    name = stem_of(match)
    if not any(name in word for word in argv):
        return False
    return any(_named(word, match) for word in argv[:6]) or runs(argv, match)


def by_code(argv: Sequence[str]) -> bool:
    """Whether this is a shell with a command as its argument: it may never come to that command."""
    program = _base(argv[0]).lstrip("-") if argv else ""
    return bool(_SHELL.match(program)) and any(re.match(r"^-[a-z]*c$", word) for word in argv[1:])


OURS = ("rpa-console", "console", "__main__", "console/__main__.py")
"""What runs one of these is the console itself, and no role's worker, whatever the role says."""


def refuse_match(match: str) -> str | None:
    """Why `match` would catch what it must not, or None when it is usable."""
    name = match.rsplit("/", 1)[-1].strip()
    if not name or name in (".", "..") or set(name) <= set("*?.") or any(c in name for c in "*?["):
        return "expected the base name of a script or program, without wildcards"
    if _INTERPRETER.match(name) or name in _LAUNCHERS:
        return "that is an interpreter or launcher: it would match every program that it runs"
    stem = name.removesuffix(".exe").removesuffix(".py")
    if stem in ("rpa-console", "console", "shim", "__main__") or stem.startswith("console."):
        return "that is the console itself"
    return None
