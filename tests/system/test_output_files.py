"""Tests of the output file of an outside process, or the reason why there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.model.processes import Identity
from console.system.files import safe_files
from console.system.processes import procfs
from console.system.processes.output_files import NoOutputFile, find_output_file

CODE = "import sys\nprint('hello', file=sys.stderr, flush=True)\nsys.stdin.read()"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "bot.log"


@pytest.fixture
def bot(log: Path) -> Iterator[Identity]:
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-c", CODE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
        )  # fmt: skip
        yield identity_of(running.pid)
        running.communicate()


def identity_of(pid: int) -> Identity:
    found = procfs.identify(pid)
    assert found is not None
    return found


def test_output_file_is_readable_after_it_is_unlinked(bot: Identity, log: Path) -> None:
    path, name = find_output_file(bot, "err")
    assert name == str(log)
    end = 0
    while not (page := safe_files.read_tail(path, None)).lines:
        assert page.error is None
        end = page.end
    assert page.lines == ("hello",)
    log.unlink()
    path, name = find_output_file(bot, "err")
    assert "(deleted)" in name
    assert safe_files.read_tail(path, None).lines == ("hello",)
    assert end == 0


def test_pipe_output_is_named(bot: Identity) -> None:
    with pytest.raises(NoOutputFile, match=r"standard output is pipe .*no file to follow"):
        find_output_file(bot, "out")


def test_device_output_is_named() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        with pytest.raises(NoOutputFile, match=r"standard error is .*/dev/null"):
            find_output_file(identity_of(running.pid), "err")
        running.communicate(b"\n")


def test_dead_process_or_reused_pid_has_no_output_file(bot: Identity) -> None:
    other = Identity(bot.pid, bot.ticks + 1, bot.boot)
    with pytest.raises(NoOutputFile, match="gone"):
        find_output_file(other, "err")
    with pytest.raises(NoOutputFile, match="gone"):
        find_output_file(Identity(2**22 - 1, 1, bot.boot), "err")


@pytest.mark.skipif(os.getuid() != 0, reason="another account takes root")
def test_output_of_another_users_process_is_not_read(bot: Identity) -> None:
    code = (
        "import os, sys; os.setgid(12345); os.setuid(12345)\n"
        "from console.core.model.processes import Identity\n"
        "from console.system.processes.output_files import find_output_file, NoOutputFile\n"
        f"try: find_output_file(Identity({bot.pid}, {bot.ticks}, {bot.boot!r}), 'err')\n"
        "except NoOutputFile as error: print(error)\n"
    )
    # Imports come before the change of the user, who may have no permission to read the modules.
    code = (
        "import console.system.processes.output_files, console.system.processes.process_table\n"
        + code
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False,
        env=env,
    )  # fmt: skip
    assert "no permission to see where it writes" in ran.stdout, ran.stderr
