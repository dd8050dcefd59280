"""The wheel contains the themes and styles, and the package finds them from any directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from pty_terminal import Glass

ROOT = Path(__file__).resolve().parents[2]


def layout(place: Path) -> Path:
    """Copy the package as the wheel's build rules lay it out."""
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = built["targets"]["wheel"]
    for package in wheel["packages"]:
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, place / package, ignore=leave)
    for source, target in wheel["force-include"].items():
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, place / target)
    return place


def test_wheel_contains_the_themes(tmp_path: Path) -> None:
    place = layout(tmp_path / "site-packages")
    names = {path.name for path in (ROOT / "themes").glob("*.toml")}
    assert {"dark.toml", "light.toml"} <= names
    assert {path.name for path in (place / "console" / "themes").glob("*.toml")} == names


def test_installed_console_draws_with_every_theme(machine: Any, tmp_path: Path) -> None:
    place = layout(tmp_path / "site-packages")
    machine.write()
    environment = machine.environment | {"PYTHONPATH": str(place)}
    where = subprocess.run(
        [sys.executable, "-c", "import console; print(console.__file__)"],
        capture_output=True, text=True, env=environment, cwd="/", check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(place))
    for theme in ("light", "dark"):
        glass = Glass(["--read-only", "--theme", theme, *machine.options], environment)
        try:
            glass.wait_for("READ-ONLY")
            assert "theme" not in glass.text.lower()  # no notice of a missing theme
            glass.press("q")
            assert glass.leave() == 0
        finally:
            glass.close()
