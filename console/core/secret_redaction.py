"""Replaces secrets in text by `***`, before the text is shown, written or served.

Processes are identified and matched by their real command lines; only text that leaves the program
is redacted. The built-in patterns recognise names (`--token X`, `DB_PASSWORD=x`), headers,
addresses with `user:password@`, and the shapes of common tokens. `[screen] redact` adds patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

MASK = "***"

_ASSIGNMENT_MARKS = (
    "=",
    "--",
    " -",
    "://",
    "x-",
    '":',
    "':",
    "bearer ",
    "basic ",
    "cookie",
    "begin",
    "_",
    "eyj",
)
"""Text that contains none of these, in lower case, matches no pattern, ..."""
_NAME_HINTS = (
    "token", "secret", "passw", "passphrase", "pwd", "_pass", "-pass", "sshpass", "key",
    "credential", "auth", "bearer", "cookie", "://", "sig=", "signature=", "ghp_", "gho_", "ghu_",
    "ghs_", "ghr_", "glpat", "xox", "aiza", "sk_live", "eyj", "curl", "mysql", "mariadb",
)  # fmt: skip
"""... and neither does text that contains none of these."""
_TOKEN_PREFIXES = ("AKIA", "ASIA", "AIza", "sk-", "ghp_", "xox", "glpat", "password: ", "secret: ")

_SECRET_NAME = (
    r"(?:[\w.\-]{0,60}?(?:token|secret|passw(?:or)?d|passphrase|credentials?|bearer"
    r"|(?:api|access|secret|private|signing|encryption|auth)[_\-]?key)"
    r"|(?:[\w.\-]{0,60}[_.\-])?(?:auth|oauth|authorization)"
    r"|[\w.\-]{0,60}[_.\-]pass"
    r"|(?:[\w.\-]{0,60}[_.\-])?pwd(?!=/)"
    r")\d{0,3}"
)
"""Pattern of the name of a secret value: the name ends with one of these words."""
_QUOTED = r"""(?:"[^"]*"?|'[^']*'?)"""
_SECRET_VALUE = rf"""(?:{_QUOTED}|[^\s&;"']+)"""

_Redactor = Callable[[str], str]
_CONFIGURED_REDACTORS: list[_Redactor] = []
"""The redactor that the configuration adds; set once for the process."""


def set_extra_redactor(redactor: _Redactor | None) -> None:
    """Apply `redactor` after the built-in patterns, in this process; None removes it."""
    _CONFIGURED_REDACTORS[:] = [redactor] if redactor is not None else []


def redact(text: str) -> str:
    """Return `text` with every recognised secret replaced by `***`."""
    if may_hold_secret(text):
        for pattern, replacement in _patterns():
            text = pattern.sub(replacement, text)
    for redactor in _CONFIGURED_REDACTORS:
        text = redactor(text)
    return text


def may_hold_secret(text: str) -> bool:
    """Return True if `text` must be searched with the patterns, which take far longer."""
    if _CONFIGURED_REDACTORS or any(prefix in text for prefix in _TOKEN_PREFIXES):
        return True
    lower = text.lower()
    return any(mark in lower for mark in _ASSIGNMENT_MARKS) and any(
        hint in lower for hint in _NAME_HINTS
    )


def is_secret_name(name: str) -> bool:
    """Return True if a value of this name is secret: `DB_PASSWORD`, `apiKey`, `token`."""
    return _secret_name_pattern().fullmatch(name) is not None


def redact_command_line(argv: Iterable[str]) -> str:
    """Return the arguments of a command line as one string, without secrets."""
    return redact(" ".join(redact_argv(argv)))


def redact_argv(argv: Iterable[str]) -> list[str]:
    """Return the arguments without secrets; an option's value may be an argument of its own."""
    shown: list[str] = []
    previous = program = ""
    for word in argv:
        program = program or word.rpartition("/")[2]
        shown.append(_redact_word(word, previous, program))
        previous = word
    return shown


def _redact_word(word: str, previous: str, program: str) -> str:
    if previous.startswith("-") and not word.startswith("-"):
        if is_secret_name(previous.lstrip("-")) or (program, previous) == ("sshpass", "-p"):
            return MASK
        if program == "curl" and previous in ("-u", "-U", "--user", "--proxy-user"):
            user, colon, _ = word.partition(":")
            return f"{user}:{MASK}" if colon else word
    name, equals, value = word.partition("=")
    if equals and value and is_secret_name(name.lstrip("-")) and not _is_working_directory(word):
        return f"{name}={MASK}"
    return redact(word)


def _is_working_directory(word: str) -> bool:
    """Return True for the shell's working directory, such as `PWD=/home/robot`."""
    return word.startswith(("PWD=/", "OLDPWD=/"))


def redact_values(value: Any, name: str = "") -> Any:
    """Return a document of plain values without secrets; the names of keys are considered too."""
    if isinstance(value, Mapping):
        return {key: redact_values(nested, str(key)) for key, nested in value.items()}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, str) for item in value):
            return redact_argv(value)
        return [redact_values(item, name) for item in value]
    if isinstance(value, str):
        return MASK if value and is_secret_name(name) else redact(value)
    return value


@cache
def _secret_name_pattern() -> re.Pattern[str]:
    return re.compile(_SECRET_NAME, re.IGNORECASE)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return (pattern, replacement) pairs, compiled on first use: most commands need none."""
    i = re.IGNORECASE
    return (
        (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END[^-]*-----|\Z)", re.S),
         MASK),
        # Headers: the whole value, since a scheme may have several parts.
        (re.compile(r"""((?:proxy-)?authorization["']?\s*[:=]\s*["']?)[^"'\s][^"'\r\n]*""", i),
         rf"\1{MASK}"),
        (re.compile(r"""((?:set-)?cookie["']?: *["']?)[^"'\r\n]+""", i), rf"\1{MASK}"),
        # Addresses. A password may contain an @: the last one before the path is the separator.
        (re.compile(r"(\b[a-z][a-z0-9+.\-]{0,20}://[^\s/@:\"']{0,200}:)[^\s/\"']{1,500}@", i),
         rf"\1{MASK}@"),
        (re.compile(r"(https://hooks\.slack\.com/services/)[\w/]+", i), rf"\1{MASK}"),
        (re.compile(r"([?&]sig(?:nature)?=)[^\s&\"']+", i), rf"\1{MASK}"),
        # Names: `--token=X`, `--password X`, `KEY=value`, `"secret": "x"`, `X-Api-Key: x`.
        (re.compile(rf"(?<![\w\-])(--?{_SECRET_NAME})([ =])(?!-){_SECRET_VALUE}", i),
         rf"\1\2{MASK}"),
        (re.compile(rf"(?<![\w.\-])({_SECRET_NAME}=){_SECRET_VALUE}", i), rf"\1{MASK}"),
        (re.compile(rf"""(?<![\w.\-])({_SECRET_NAME}["']?\s*[:=]\s*){_QUOTED}""", i),
         rf'\1"{MASK}"'),
        (re.compile(rf"(?<![\w.\-])(x-{_SECRET_NAME}: *)\S+", i), rf"\1{MASK}"),
        (re.compile(r"\b((?:password|passwd|passphrase|secret|api[_\- ]?key): *)"
                    r"(?=\S*[\d!@#$%^*+=])[^\s\"',;]{4,}", i), rf"\1{MASK}"),
        (re.compile(r"\b(bearer +)(?=\S*\d|\S{20})[\w.~+/=\-]{6,}", i), rf"\1{MASK}"),
        # Programs with known short options.
        (re.compile(r"(\bsshpass\s+-p\s*)\S+"), rf"\1{MASK}"),
        (re.compile(r"(\bcurl\b[^|;&\n]{0,300}?\s(?:-u|--user|--proxy-user|-U)[ =]?"
                    r"[^\s:]{1,100}:)\S+"), rf"\1{MASK}"),
        (re.compile(r"(\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^|;&\n]{0,300}?\s-p)(?=\S)\S+"),
         rf"\1{MASK}"),
        # Shapes of common tokens.
        (re.compile(r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{20,}|glpat-[\w\-]{16,}"
                    r"|xox[abprs]-[\w\-]{8,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w\-]{30,}"
                    r"|sk-[\w\-]{20,}|sk_live_\w{10,}"
                    r"|eyJ[\w\-]{5,}\.[\w\-]{4,}\.[\w\-]*)"), MASK),
    )  # fmt: skip
