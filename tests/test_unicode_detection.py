"""Unicode detection: the locale and the terminal decide if the screen uses more than ASCII."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = "from console.cli.commands.tui import _can_show_unicode; print(_can_show_unicode())"


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, True),
        ({}, True),  # without a locale, Python's default decides
        ({"LANG": "C"}, False),
        ({"LANG": "POSIX"}, False),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, False),
        ({"LANG": "de_DE@euro"}, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, False),
    ],
)
def test_locale_and_terminal_decide_unicode(environment: dict[str, str], answer: bool) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    asked = {**kept, "TERM": "xterm", **environment}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(answer)
