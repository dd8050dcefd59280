"""Replaces secrets in text by `***`, before the text is shown, written or served.

Processes are identified and matched by their real command lines; only text that leaves the
program passes here. The built-in patterns know names (`--token X`, `DB_PASSWORD=x`), headers,
addresses with `user:password@` and the shapes of common tokens. `[screen] redact` adds patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

MASK = "***"

_MARKS = (
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
"""Text without any of these, in lower case, holds nothing that the patterns know, ..."""
_HINTS = (
    "token", "secret", "passw", "passphrase", "pwd", "_pass", "-pass", "sshpass", "key",
    "credential", "auth", "bearer", "cookie", "://", "sig=", "signature=", "ghp_", "gho_", "ghu_",
    "ghs_", "ghr_", "glpat", "xox", "aiza", "sk_live", "eyj", "curl", "mysql", "mariadb",
)  # fmt: skip
"""... nor does text without any of these."""
_SHAPES = ("AKIA", "ASIA", "AIza", "sk-", "ghp_", "xox", "glpat", "password: ", "secret: ")

_NAME = (
    r"(?:[\w.\-]{0,60}?(?:token|secret|passw(?:or)?d|passphrase|credentials?|bearer"
    r"|(?:api|access|secret|private|signing|encryption|auth)[_\-]?key)"
    r"|(?:[\w.\-]{0,60}[_.\-])?(?:auth|oauth|authorization)"
    r"|[\w.\-]{0,60}[_.\-]pass"
    r"|(?:[\w.\-]{0,60}[_.\-])?pwd(?!=/)"
    r")\d{0,3}"
)
"""The name of a value that is secret: it ends with one of these words."""
_QUOTED = r"""(?:"[^"]*"?|'[^']*'?)"""
_VALUE = rf"""(?:{_QUOTED}|[^\s&;"']+)"""

_Change = Callable[[str], str]
_EXTRA: list[_Change] = []
"""What the configuration adds; set once for the process."""


def use(extra: _Change | None) -> None:
    """Apply `extra` after the built-in patterns, from now on and in this process."""
    _EXTRA[:] = [extra] if extra is not None else []


def redact(text: str) -> str:
    """`text` with every secret that is recognised replaced by `***`."""
    if suspect(text):
        for pattern, replacement in _patterns():
            text = pattern.sub(replacement, text)
    for change in _EXTRA:
        text = change(text)
    return text


def suspect(text: str) -> bool:
    """Whether the patterns, which take far longer, have to look at the text."""
    if _EXTRA or any(shape in text for shape in _SHAPES):
        return True
    lower = text.lower()
    return any(mark in lower for mark in _MARKS) and any(hint in lower for hint in _HINTS)


def secret_name(name: str) -> bool:
    """Whether a value of this name is secret: `DB_PASSWORD`, `apiKey`, `token`."""
    return _key().fullmatch(name) is not None


def command_line(argv: Iterable[str]) -> str:
    """The words of a command line joined for reading, without secrets."""
    return redact(" ".join(words(argv)))


def words(argv: Iterable[str]) -> list[str]:
    """The words of a command line without secrets: a value may be a word of its own."""
    shown: list[str] = []
    previous = program = ""
    for word in argv:
        program = program or word.rpartition("/")[2]
        shown.append(_word(word, previous, program))
        previous = word
    return shown


def _word(word: str, previous: str, program: str) -> str:
    if previous.startswith("-") and not word.startswith("-"):
        if secret_name(previous.lstrip("-")) or (program, previous) == ("sshpass", "-p"):
            return MASK
        if program == "curl" and previous in ("-u", "-U", "--user", "--proxy-user"):
            user, colon, _ = word.partition(":")
            return f"{user}:{MASK}" if colon else word
    name, equals, value = word.partition("=")
    if equals and value and secret_name(name.lstrip("-")) and not _directory(word):
        return f"{name}={MASK}"
    return redact(word)


def _directory(word: str) -> bool:
    """Whether it is `PWD=/home/robot`: the shell's working directory."""
    return word.startswith(("PWD=/", "OLDPWD=/"))


def values(value: Any, name: str = "") -> Any:
    """A document of plain values without secrets; by the names of its keys, too."""
    if isinstance(value, Mapping):
        return {key: values(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(one, str) for one in value):
            return words(value)
        return [values(one, name) for one in value]
    if isinstance(value, str):
        return MASK if value and secret_name(name) else redact(value)
    return value


@cache
def _key() -> re.Pattern[str]:
    return re.compile(_NAME, re.IGNORECASE)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compiled when the first hint is met: most commands never meet one."""
    i = re.IGNORECASE
    return (
        (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END[^-]*-----|\Z)", re.S),
         MASK),
        # Headers: all that follows, since a scheme may have several parts.
        (re.compile(r"""((?:proxy-)?authorization["']?\s*[:=]\s*["']?)[^"'\s][^"'\r\n]*""", i),
         rf"\1{MASK}"),
        (re.compile(r"""((?:set-)?cookie["']?: *["']?)[^"'\r\n]+""", i), rf"\1{MASK}"),
        # Addresses. A password may hold an @: the last one before the path counts.
        (re.compile(r"(\b[a-z][a-z0-9+.\-]{0,20}://[^\s/@:\"']{0,200}:)[^\s/\"']{1,500}@", i),
         rf"\1{MASK}@"),
        (re.compile(r"(https://hooks\.slack\.com/services/)[\w/]+", i), rf"\1{MASK}"),
        (re.compile(r"([?&]sig(?:nature)?=)[^\s&\"']+", i), rf"\1{MASK}"),
        # Names: `--token=X`, `--password X`, `KEY=value`, `"secret": "x"`, `X-Api-Key: x`.
        (re.compile(rf"(?<![\w\-])(--?{_NAME})([ =])(?!-){_VALUE}", i), rf"\1\2{MASK}"),
        (re.compile(rf"(?<![\w.\-])({_NAME}=){_VALUE}", i), rf"\1{MASK}"),
        (re.compile(rf"""(?<![\w.\-])({_NAME}["']?\s*[:=]\s*){_QUOTED}""", i), rf'\1"{MASK}"'),
        (re.compile(rf"(?<![\w.\-])(x-{_NAME}: *)\S+", i), rf"\1{MASK}"),
        (re.compile(r"\b((?:password|passwd|passphrase|secret|api[_\- ]?key): *)"
                    r"(?=\S*[\d!@#$%^*+=])[^\s\"',;]{4,}", i), rf"\1{MASK}"),
        (re.compile(r"\b(bearer +)(?=\S*\d|\S{20})[\w.~+/=\-]{6,}", i), rf"\1{MASK}"),
        # Programs whose short options are known.
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
