"""The systemd unit: its text, and `systemd-analyze verify` where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from console.system import daemon_role
from console.system.host import systemd_unit

ANALYZE = shutil.which("systemd-analyze")


def test_unit_stops_the_daemon_without_its_workers() -> None:
    text = systemd_unit.unit_text(daemon_role.build_role(Path("/srv/box"), None), "/srv/box")
    assert "KillMode=process" in text
    assert "Type=notify" in text
    assert "WatchdogSec=" in text
    assert "Restart=on-failure" in text
    assert '"--state-dir" "/srv/box" "daemon" "run"' in text


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("state", ["/srv/box", "/srv/a b", '/srv/100%h "quoted" $HOME\\n'])
def test_unit_passes_systemd_analyze_verify(state: str, tmp_path: Path) -> None:
    assert ANALYZE is not None
    path = tmp_path / systemd_unit.DEFAULT_UNIT_NAME
    path.write_text(
        systemd_unit.unit_text(daemon_role.build_role(Path(state), None), state), encoding="utf-8"
    )
    ran = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about_us = [line for line in ran.stderr.splitlines() if systemd_unit.DEFAULT_UNIT_NAME in line]
    assert about_us == []
