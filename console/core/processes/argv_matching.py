"""Decides whether a command line *runs* a script or merely mentions it, by the structure of argv.

A command line is untrusted text. The parsed part of it is bounded, and each step takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from console.core.model.processes import Process
from console.core.model.roles import Role
from console.core.processes.program_options import (
    ENV_ASSIGNING_LAUNCHERS,
    ENV_ASSIGNMENT,
    INTERPRETER_NAME,
    LAUNCHER_POSITIONALS,
    LAUNCHER_VALUE_OPTIONS,
    SHELL_NAME,
    SUBCOMMAND_LAUNCHERS,
    RunTarget,
    base_name,
    is_launcher_or_interpreter,
    parse_interpreter,
)

MAX_WORDS = 256
"""Maximum number of words of a command line that are examined: option lists are shorter."""
MAX_CODE_CHARS = 2048
"""Maximum number of characters of a shell's `-c` that are parsed. A script after them is not
found."""
MAX_DEPTH = 8
"""Maximum nesting of launchers and shells."""
CODE_CACHE_SIZE = 256
"""Number of shell texts whose result is cached: each is examined in every observation while its
shell lives."""


def runs_script(
    argv: Sequence[str], match: str, arguments: Sequence[str] = (), depth: int = 0
) -> bool:
    """Return True if this command line *runs* `match` with `arguments`.

    The arguments must occur in this order among the script's arguments.
    """
    return any(
        _matches_target(run_target, match, tuple(arguments))
        for run_target in iter_run_targets(argv, depth)
    )


def runs_role(process: Process, role: Role) -> bool:
    """Return True if a process runs the role's script, by its argv or by its program file.

    The program file (`exe`) is examined because argv[0] may be another name. Symbolic links: a
    script named relative to the process's directory is compared by its full path as well, and the
    role's `real_match` counts as well as its `match`.
    """
    if _runs_role(process.argv, process.cwd, role):
        return True
    if process.exe is None or not process.argv or process.exe == process.argv[0]:
        return False
    return _runs_role((process.exe, *process.argv[1:MAX_WORDS]), process.cwd, role)


def _runs_role(argv: Sequence[str], cwd: str | None, role: Role) -> bool:
    return any(
        _matches_target(run_target, role.match, role.match_args)
        or _matches_full_path(run_target, cwd, role)
        for run_target in iter_run_targets(argv)
    )


def _matches_full_path(run_target: RunTarget, cwd: str | None, role: Role) -> bool:
    """Return True if a script's full path is the one that a `match` with directories denotes."""
    if (
        "/" not in role.match
        or run_target.kind != "script"
        or not contains_in_order(run_target.arguments, role.match_args)
    ):
        return False
    full_path = _absolute_path(cwd, run_target.name)
    return full_path == role.real_match or (
        cwd is not None and _path_matches(full_path, role.match)
    )


def _absolute_path(cwd: str | None, word: str) -> str:
    """Return an absolute path without `.` and `..`. `cwd` must be resolved already."""
    parts: list[str] = []
    for part in (word if word.startswith("/") else f"{cwd or ''}/{word}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def in_directory(process: Process, role: Role) -> bool:
    """Return True if a process's working directory is the role's `match_cwd`, or that is not set.

    The kernel reports directories with symbolic links resolved.
    """
    if role.match_cwd is None:
        return True
    return process.cwd is not None and process.cwd in (role.match_cwd, role.real_cwd)


def resolve_script_path(role: Role) -> str | None:
    """Return the full path that a `match` with directories denotes; None if it denotes none."""
    if "/" not in role.match:
        return None
    if role.match.startswith("/"):
        return role.match
    path = next(
        (word for word in role.command if _path_matches(f"/{word}", role.match)), role.match
    )
    if not path.startswith("/") and role.cwd is None:
        return None
    return _absolute_path(role.cwd, path)


# --- what a command line runs ---------------------------------------------------------------


def iter_run_targets(argv: Sequence[str], depth: int = 0) -> Iterator[RunTarget]:
    """Yield each target that a command line runs: its program, then the targets of that program."""
    while argv and depth <= MAX_DEPTH:
        argv = argv[:MAX_WORDS]
        yield RunTarget(argv[0], argv[1:], depth=depth)
        program = base_name(argv[0])
        if program in LAUNCHER_VALUE_OPTIONS:
            argv, depth = _launched_command(program, argv[1:]), depth + 1
            continue
        # The argv[0] of a login shell begins with a hyphen: `-bash`.
        run_target = parse_interpreter(program.removeprefix("-"), argv[1:])
        if run_target is None:
            return
        if run_target.kind == "command":
            argv, depth = run_target.arguments, depth + 1
            continue
        yield run_target._replace(depth=depth)
        if run_target.kind != "script" or not is_launcher_or_interpreter(
            base_name(run_target.name)
        ):
            return
        # A launcher or interpreter that is a script itself: `/bin/sh /usr/bin/xvfb-run ...`.
        argv, depth = (run_target.name, *run_target.arguments), depth + 1


def _launched_command(program: str, arguments: Sequence[str]) -> Sequence[str]:
    """Return the command line that a launcher runs; empty if there is none.

    The launcher's options, their values and its own positionals are left out.
    """
    values = LAUNCHER_VALUE_OPTIONS[program]
    positionals = LAUNCHER_POSITIONALS.get(program, 0) + (program in SUBCOMMAND_LAUNCHERS)
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
        elif program in ENV_ASSIGNING_LAUNCHERS and ENV_ASSIGNMENT.match(word):
            index += 1
        elif positionals:
            positionals -= 1
            index += 1
        else:
            return _add_python_to_uv_script(program, arguments[index:])
    return ()


def _add_python_to_uv_script(program: str, rest: Sequence[str]) -> Sequence[str]:
    """Return `rest`, preceded by `python` if it begins with a Python script.

    `uv run script.py` and `py script.py` pass a script to Python themselves.
    """
    if program in ("uv", "py", "py.exe") and rest[0].endswith((".py", ".pyw")):
        return ("python", *rest)
    return rest


_SHELL_TOKEN = re.compile(
    r"(?:[ \t\r]++|\\\n|(?<![^ \t\r\n;&|()])#[^\n]*+)*+"
    r"(?:([;&|()\n]++)|((?:[^ \t\r\n;&|()'\"\\]++|\\.|'[^']*+'|\"(?:[^\"\\]|\\.)*+\")++)|\Z)",
    re.DOTALL,
)
"""Matches an operator or a word of shell code, after spaces and comments."""
_find_quoting = re.compile(r"['\"\\]").search
_QUOTED_PART = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"|\\(.)", re.DOTALL)
_DOUBLE_QUOTE_ESCAPE = re.compile(r"\\([\"\\$`\n])")


def split_simple_commands(code: str) -> Iterator[list[str]]:
    """Yield the words of each simple command in shell code, without assignments before it.

    Code that ends within quotes yields nothing, unless it was cut at MAX_CODE_CHARS: then its
    complete commands count.
    """
    cut, code = len(code) > MAX_CODE_CHARS, code[:MAX_CODE_CHARS]
    commands: list[list[str]] = []
    current: list[str] = []
    index = 0
    while index < len(code):
        token = _SHELL_TOKEN.match(code, index)
        if token is None:
            if not cut:
                return
            break
        operator, word = token.groups()
        index = token.end()
        if operator:
            commands.append(current)
            current = []
        elif word and (index < len(code) or not cut):
            current.append(_QUOTED_PART.sub(_unquote, word) if _find_quoting(word) else word)
    for words in [*commands, current]:
        begin = next(
            (i for i, word in enumerate(words) if not ENV_ASSIGNMENT.match(word)), len(words)
        )
        if words[begin:]:
            yield words[begin:]


def _unquote(quoted: re.Match[str]) -> str:
    single, double, escaped = quoted.groups()
    if double is None:
        return str(single if single is not None else escaped)
    return _DOUBLE_QUOTE_ESCAPE.sub(r"\1", double) if "\\" in double else str(double)


# --- comparison with a role -----------------------------------------------------------------


def _matches_target(run_target: RunTarget, match: str, arguments: tuple[str, ...]) -> bool:
    if run_target.kind == "code":
        text = run_target.name[: MAX_CODE_CHARS + 1]
        return script_stem(match) in text and _code_runs_script(
            text, match, arguments, run_target.depth + 1
        )
    if run_target.kind == "module":
        module = run_target.name.rsplit(".", 1)[-1]
        named = "/" not in match and module == match.removesuffix(".py")
    else:
        named = _path_matches(run_target.name, match)
    return named and contains_in_order(run_target.arguments, arguments)


@lru_cache(CODE_CACHE_SIZE)
def _code_runs_script(text: str, match: str, arguments: tuple[str, ...], depth: int) -> bool:
    """Return True if one of the simple commands in shell code runs `match`."""
    stem = script_stem(match)
    return any(
        runs_script(words, match, arguments, depth)
        for words in split_simple_commands(text)
        if any(stem in word for word in words)
    )


def contains_in_order(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return True if `wanted` occur among `words` in this order, with or without words between."""
    rest = iter(words)
    return all(word in rest for word in wanted)


def _path_matches(word: str, match: str) -> bool:
    """Return True if `word` matches a base name, or ends in the parts of a path."""
    word = word.replace("\\", "/")
    if "/" in match:
        return word == match or word.endswith("/" + match.lstrip("/"))
    return base_name(word) == match


def script_stem(match: str) -> str:
    """Return a substring of every command line that runs `match`."""
    return match.rsplit("/", 1)[-1].removesuffix(".py")


def may_run_script(argv: Sequence[str], match: str) -> bool:
    """Return True if a command line may run `match`, even under an unrelated program name.

    Only the base name is compared: directories may be links, or relative to the process's
    directory.
    """
    base = match.rsplit("/", 1)[-1]
    return any(base_name(word) == base for word in argv[:6]) or runs_script(argv, base)


def has_leading_word(argv: Sequence[str], match: str) -> bool:
    """Return True if one of the first words is `match`: a cheap hint for any command line."""
    return any(_path_matches(word, match) for word in argv[:6])


def runs_inline_code(argv: Sequence[str]) -> bool:
    """Return True if this is a shell with a `-c` command, which it may never reach."""
    program = base_name(argv[0]).lstrip("-") if argv else ""
    words = argv[1:MAX_WORDS]
    return bool(SHELL_NAME.match(program)) and any(re.match(r"^-[a-z]*c$", word) for word in words)


# --- validation of a match ------------------------------------------------------------------

CONSOLE_SCRIPTS = ("rpa-console", "console", "__main__", "console/__main__.py")
"""A process that runs one of these is the console itself, and never an instance of a role."""
_SCRIPT_SUFFIX = re.compile(
    r"\.(pyw?|sh|bash|ps1|bat|cmd|js|mjs|cjs|ts|rb|pl|php|lua|jar|exe)$", re.I
)


def split_match(match: str) -> tuple[str, tuple[str, ...]]:
    """Return the script and the arguments: `manage.py worker` -> (`manage.py`, (`worker`,)).

    The script ends at the first space after a script's suffix: `/opt/my bots/w.py worker` names a
    script in a directory with a space. Without a suffix before a space, the whole text is the name.
    """
    match = match.strip()
    for space in re.finditer(r"\s+", match):
        if _SCRIPT_SUFFIX.search(match[: space.start()]):
            return match[: space.start()], tuple(match[space.end() :].split())
    return match, ()


def match_error(match: str) -> str | None:
    """Return why `match` would match unintended processes, or None if it is usable."""
    name = match.rsplit("/", 1)[-1].strip()
    if not name or name in (".", "..") or set(name) <= set("*?.") or any(c in name for c in "*?["):
        return "expected the base name of a script or program, without wildcards"
    first_words = [text.split()[0] for text in (match, name) if " " in text.strip()]
    if any(INTERPRETER_NAME.match(word) or word in LAUNCHER_VALUE_OPTIONS for word in first_words):
        return "that is a command line: expected the script alone, then its own arguments"
    if INTERPRETER_NAME.match(name) or name in LAUNCHER_VALUE_OPTIONS:
        return "that is an interpreter or launcher: it would match every program that it runs"
    stem = name.removesuffix(".exe").removesuffix(".py")
    if stem in ("rpa-console", "console", "shim", "__main__") or stem.startswith("console."):
        return "that is the console itself"
    return None
