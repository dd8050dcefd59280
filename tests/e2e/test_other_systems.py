"""Every acting command reports an unsupported platform in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys
sys.platform = {platform!r}
sys.argv = ["rpa-console", "--state-dir", {state!r}, *{words!r}]
from console.cli.main import main
main()
"""


def run(place: Path, platform: str, *words: str) -> subprocess.CompletedProcess[str]:
    code = RUN.format(platform=platform, state=str(place / "state"), words=words)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.parametrize("platform", ["darwin", "freebsd14"])
@pytest.mark.parametrize(
    "words", [(), ("ensure",), ("restart", "--yes"), ("kill", "--yes"), ("daemon", "start"),
              ("daemon", "run"), ("demo", "--headless")]
)  # fmt: skip
def test_acting_commands_are_refused_on_unsupported_platforms(
    tmp_path: Path, platform: str, words: tuple[str, ...]
) -> None:
    ran = run(tmp_path, platform, *words)
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr == (
        f"rpa-console: {platform} is not supported yet: "
        "workers are started and watched on Linux only\n"
    )
    assert not (tmp_path / "state").exists()


def test_doctor_and_read_only_commands_work_on_unsupported_platforms(tmp_path: Path) -> None:
    told = run(tmp_path, "darwin", "doctor")
    assert "darwin is not supported yet" in told.stdout and told.returncode == 1
    assert run(tmp_path, "darwin", "config", "schema").returncode == 0
    assert "not supported" not in run(tmp_path, "linux", "status").stderr
