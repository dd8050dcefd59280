"""Whether a command line *runs* a script, or merely mentions it: by the structure of argv.

A command line is any user's text. What is parsed of it is bounded, and each step is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from console.core.model import Process, Role
from console.core.processes.program_options import (
    ASSIGNING,
    ASSIGNMENT,
    INTERPRETER,
    LAUNCHERS,
    POSITIONALS,
    SHELL,
    SUBCOMMAND,
    Found,
    base_name,
    interpreted,
    starts_others,
)

MAX_WORDS = 256
"""So many words of a command line are looked at: an option list is shorter."""
MAX_CODE = 2048
"""So many characters of a shell's `-c` are parsed. What stands further on is not found."""
MAX_DEPTH = 8
"""Launchers and shells within each other."""
REMEMBERED = 256
"""Shell texts whose verdict is kept: each is looked at again and again while its shell lives."""


def runs(argv: Sequence[str], match: str, arguments: Sequence[str] = (), depth: int = 0) -> bool:
    """Whether this command line *runs* `match`, with these words in order among its arguments."""
    return any(_fits(found, match, tuple(arguments)) for found in scripts(argv, depth))


def runs_role(process: Process, role: Role) -> bool:
    """Whether a process runs the role's script: by its argv, or by its program under another name.

    Symbolic links: a script named relative to the process's directory is compared by its full path
    as well, and a role's `real_match` counts beside its `match`.
    """
    if _runs_role(process.argv, process.cwd, role):
        return True
    if process.exe is None or not process.argv or process.exe == process.argv[0]:
        return False
    return _runs_role((process.exe, *process.argv[1:MAX_WORDS]), process.cwd, role)


def _runs_role(argv: Sequence[str], cwd: str | None, role: Role) -> bool:
    return any(
        _fits(found, role.match, role.match_args) or _resolves(found, cwd, role)
        for found in scripts(argv)
    )


def _resolves(found: Found, cwd: str | None, role: Role) -> bool:
    """Whether a script's full path is the one that a `match` with directories means."""
    if "/" not in role.match or found.kind != "script" or not has(found.arguments, role.match_args):
        return False
    full = _full(cwd, found.name)
    return full == role.real_match or (cwd is not None and _named(full, role.match))


def _full(cwd: str | None, word: str) -> str:
    """A path from the root, without `.` and `..`; `cwd` is resolved already."""
    parts: list[str] = []
    for part in (word if word.startswith("/") else f"{cwd or ''}/{word}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def in_directory(process: Process, role: Role) -> bool:
    """Whether a process works in the role's `match_cwd`; the kernel tells directories resolved."""
    if role.match_cwd is None:
        return True
    return process.cwd is not None and process.cwd in (role.match_cwd, role.real_cwd)


def script_path(role: Role) -> str | None:
    """The full path that a `match` with directories means; None when it names none."""
    if "/" not in role.match:
        return None
    if role.match.startswith("/"):
        return role.match
    path = next((word for word in role.command if _named(f"/{word}", role.match)), role.match)
    if not path.startswith("/") and role.cwd is None:
        return None
    return _full(role.cwd, path)


# --- what a command line runs ---------------------------------------------------------------


def scripts(argv: Sequence[str], depth: int = 0) -> Iterator[Found]:
    """What this command line runs: its program, and what that program is known to run in turn."""
    while argv and depth <= MAX_DEPTH:
        argv = argv[:MAX_WORDS]
        yield Found(argv[0], argv[1:], depth=depth)
        program = base_name(argv[0])
        if program in LAUNCHERS:
            argv, depth = _launched(program, argv[1:]), depth + 1
            continue
        found = interpreted(program.removeprefix("-"), argv[1:])  # a login shell is `-bash`
        if found is None:
            return
        if found.kind == "command":
            argv, depth = found.arguments, depth + 1
            continue
        yield found._replace(depth=depth)
        if found.kind != "script" or not starts_others(base_name(found.name)):
            return
        # A launcher or interpreter that is a script itself: `/bin/sh /usr/bin/xvfb-run ...`.
        argv, depth = (found.name, *found.arguments), depth + 1


def _launched(program: str, arguments: Sequence[str]) -> Sequence[str]:
    """What a launcher runs: its options, their values and its own positionals left out."""
    values = LAUNCHERS[program]
    positionals = POSITIONALS.get(program, 0) + (program in SUBCOMMAND)
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
        elif program in ASSIGNING and ASSIGNMENT.match(word):
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


_TOKEN = re.compile(
    r"(?:[ \t\r]++|\\\n|(?<![^ \t\r\n;&|()])#[^\n]*+)*+"
    r"(?:([;&|()\n]++)|((?:[^ \t\r\n;&|()'\"\\]++|\\.|'[^']*+'|\"(?:[^\"\\]|\\.)*+\")++)|\Z)",
    re.DOTALL,
)
"""An operator or a word of a shell's text, after spaces and comments."""
_QUOTED = re.compile(r"['\"\\]").search
_QUOTING = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"|\\(.)", re.DOTALL)
_DOUBLE = re.compile(r"\\([\"\\$`\n])")


def simple_commands(code: str) -> Iterator[list[str]]:
    """The simple commands of a shell's text, each as its words, assignments before it left out.

    A text that ends within quotes is none, unless it was cut at `MAX_CODE`: then what is whole of
    it counts.
    """
    cut, code = len(code) > MAX_CODE, code[:MAX_CODE]
    done: list[list[str]] = []
    simple: list[str] = []
    index = 0
    while index < len(code):
        token = _TOKEN.match(code, index)
        if token is None:
            if not cut:
                return
            break
        operator, word = token.groups()
        index = token.end()
        if operator:
            done.append(simple)
            simple = []
        elif word and (index < len(code) or not cut):
            simple.append(_QUOTING.sub(_unquoted, word) if _QUOTED(word) else word)
    for words in [*done, simple]:
        begin = next((i for i, word in enumerate(words) if not ASSIGNMENT.match(word)), len(words))
        if words[begin:]:
            yield words[begin:]


def _unquoted(quoted: re.Match[str]) -> str:
    single, double, escaped = quoted.groups()
    if double is None:
        return str(single if single is not None else escaped)
    return _DOUBLE.sub(r"\1", double) if "\\" in double else str(double)


# --- whether that is meant ------------------------------------------------------------------


def _fits(found: Found, match: str, arguments: tuple[str, ...]) -> bool:
    if found.kind == "code":
        text = found.name[: MAX_CODE + 1]
        return stem_of(match) in text and _code_runs(text, match, arguments, found.depth + 1)
    if found.kind == "module":
        module = found.name.rsplit(".", 1)[-1]
        named = "/" not in match and module == match.removesuffix(".py")
    else:
        named = _named(found.name, match)
    return named and has(found.arguments, arguments)


@lru_cache(REMEMBERED)
def _code_runs(text: str, match: str, arguments: tuple[str, ...], depth: int) -> bool:
    """Whether one of the simple commands of a shell's text runs `match`."""
    stem = stem_of(match)
    return any(
        runs(words, match, arguments, depth)
        for words in simple_commands(text)
        if any(stem in word for word in words)
    )


def has(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether `wanted` stand among `words`: whole words, in this order, others between them."""
    rest = iter(words)
    return all(word in rest for word in wanted)


def _named(word: str, match: str) -> bool:
    """`match` is a base name, or a path whose last parts must agree."""
    word = word.replace("\\", "/")
    if "/" in match:
        return word == match or word.endswith("/" + match.lstrip("/"))
    return base_name(word) == match


def stem_of(match: str) -> str:
    """What is in every command line that runs `match`."""
    return match.rsplit("/", 1)[-1].removesuffix(".py")


def mentions(argv: Sequence[str], match: str) -> bool:
    """Whether a command line may run `match`, under a program name that tells nothing as well.

    By the base name alone: directories may be links, or named relative to the process's own.
    """
    base = match.rsplit("/", 1)[-1]
    return any(base_name(word) == base for word in argv[:6]) or runs(argv, base)


def names(argv: Sequence[str], match: str) -> bool:
    """Whether one of the first words is `match`: a hint that costs little, whatever the line."""
    return any(_named(word, match) for word in argv[:6])


def by_code(argv: Sequence[str]) -> bool:
    """Whether this is a shell with a command as its argument: it may never come to that command."""
    program = base_name(argv[0]).lstrip("-") if argv else ""
    words = argv[1:MAX_WORDS]
    return bool(SHELL.match(program)) and any(re.match(r"^-[a-z]*c$", word) for word in words)


# --- a usable match -------------------------------------------------------------------------

OURS = ("rpa-console", "console", "__main__", "console/__main__.py")
"""What runs one of these is the console itself, and no role's worker, whatever the role says."""
_SCRIPT = re.compile(r"\.(pyw?|sh|bash|ps1|bat|cmd|js|mjs|cjs|ts|rb|pl|php|lua|jar|exe)$", re.I)


def split_match(match: str) -> tuple[str, tuple[str, ...]]:
    """A `match` as script and arguments: `manage.py worker` -> (`manage.py`, (`worker`,)).

    The script ends at the first space after a script's suffix: `/opt/my bots/w.py worker` names a
    script in a directory with a space. Without a suffix before a space all of it is the name.
    """
    match = match.strip()
    for space in re.finditer(r"\s+", match):
        if _SCRIPT.search(match[: space.start()]):
            return match[: space.start()], tuple(match[space.end() :].split())
    return match, ()


def refuse_match(match: str) -> str | None:
    """Why `match` would catch what it must not, or None when it is usable."""
    name = match.rsplit("/", 1)[-1].strip()
    if not name or name in (".", "..") or set(name) <= set("*?.") or any(c in name for c in "*?["):
        return "expected the base name of a script or program, without wildcards"
    firsts = [text.split()[0] for text in (match, name) if " " in text.strip()]
    if any(INTERPRETER.match(first) or first in LAUNCHERS for first in firsts):
        return "that is a command line: expected the script alone, then its own arguments"
    if INTERPRETER.match(name) or name in LAUNCHERS:
        return "that is an interpreter or launcher: it would match every program that it runs"
    stem = name.removesuffix(".exe").removesuffix(".py")
    if stem in ("rpa-console", "console", "shim", "__main__") or stem.startswith("console."):
        return "that is the console itself"
    return None
