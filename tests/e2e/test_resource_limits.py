"""Exhausted descriptors, threads or memory give one sentence and an exit code, no traceback."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from console.core import resource_limits

OTHER = "23456"
CAPABILITIES = "+dac_read_search,+dac_override"


def limited(kind: int, value: int) -> partial[None]:
    return partial(resource.setrlimit, kind, (value, value))


@pytest.mark.parametrize("files", [5, 6, 7, 8, 9, 12])
@pytest.mark.parametrize("command", ["status", "ensure", "doctor", "report", "daemon start"])
def test_too_few_descriptors_are_reported_without_a_traceback(
    box: Any, files: int, command: str
) -> None:
    ran = box.run(*command.split(), preexec_fn=limited(resource.RLIMIT_NOFILE, files))
    if "init_import_site" in ran.stderr or "Error processing line" in ran.stderr:
        pytest.skip("Python itself does not start with so few")
    assert "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr, ran.stderr
    if ran.returncode == 3:
        assert "open files" in ran.stderr and "ulimit -n" in ran.stderr
    assert ran.stdout or ran.stderr


@pytest.mark.parametrize("megabytes", [30, 45, 60, 90])
def test_too_little_memory_is_reported_without_a_traceback(box: Any, megabytes: int) -> None:
    ran = box.run("status", preexec_fn=limited(resource.RLIMIT_AS, megabytes * 10**6))
    assert "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr, ran.stderr
    assert ran.stdout or "memory" in ran.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="another user's limit takes root to set")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
@pytest.mark.parametrize(("command", "begins"), [("status", "[X] DOWN"), ("doctor", "ok ")])
def test_process_limit_leaves_the_verdict_and_is_named(
    tmp_path: Path, command: str, begins: str
) -> None:
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, int(OTHER), int(OTHER))
    line = [
        "setpriv", "--reuid", OTHER, "--regid", OTHER, "--clear-groups", "--inh-caps",
        CAPABILITIES, "--ambient-caps", CAPABILITIES, "prlimit", "--nproc=1",
        sys.executable, "-P", str(Path(resource_limits.__file__).parents[1] / "__main__.py"),
        "--state-dir", str(home / "state"), command,
    ]  # fmt: skip
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    ran = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.stdout.startswith(begins)
    assert "ulimit -u" in ran.stdout


def failing(expression: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = f"""
import errno, console.cli.main as cli
def broken(**_):
    secret = "a local variable"
    {expression}
cli.rpa_console.main = broken
cli.main()
"""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "words", "code"),
    [
        ("raise TypeError('x\\x1b[2J')", "internal error: TypeError: x\\x1b[2J; run with RPA_", 3),
        ('raise RuntimeError("can\'t start new thread")', "ulimit -u", 3),
        ("raise MemoryError", "not enough memory", 3),
        ("raise OSError(errno.EMFILE, 'Too many open files')", "ulimit -n", 3),
        ("raise OSError(errno.ENOSPC, 'No space left on device', '/x')", "/x: No space left", 1),
        ("broken()", "internal error: RecursionError", 3),
    ],
)
def test_unexpected_error_is_reported_in_one_line(expression: str, words: str, code: int) -> None:
    ran = failing(expression)
    assert ran.returncode == code, ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("rpa-console: ")
    assert words in ran.stderr
    assert "a local variable" not in ran.stderr


def test_debug_variable_prints_the_traceback() -> None:
    ran = failing("raise TypeError('x')", RPA_CONSOLE_DEBUG="1")
    assert "Traceback" in ran.stderr and "TypeError: x" in ran.stderr
    assert ran.returncode == 3
