"""Modules in the current directory, the home or PYTHONPATH never replace the product's own modules
or those of the standard library.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_installed import ROOT, layout

SHADOWS = ("queue", "json", "click", "msgspec", "subprocess", "asyncio", "rpa_worker", "core")
BREAKS = "raise SystemExit(f'shadowed by {__file__}')\n"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A directory of modules with names that the product imports, `console` among them."""
    place = tmp_path / "foreign"
    (place / "console").mkdir(parents=True)
    for name in (*SHADOWS, "console/__init__", "console/__main__"):
        (place / f"{name}.py").write_text(BREAKS)
    return place


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """The command as pip installs it, in a separate virtual environment."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths("venv", {"base": str(place), "platbase": str(place)})
    site, scripts = Path(paths["purelib"]), Path(paths["scripts"])
    layout(site)
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["rpa-console"].split(":")
    command = scripts / "rpa-console"
    command.write_text(
        f"#!{scripts}/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    command.chmod(0o755)
    return [str(command)]


def checkout(environment: dict[str, str]) -> list[str]:
    """Return the command of a checkout that is in PYTHONPATH."""
    assert environment["PYTHONPATH"].startswith(str(ROOT))
    return [sys.executable, "-m", "console"]


def by_path(environment: dict[str, str]) -> list[str]:
    """Return the command of a checkout that is in no import path."""
    return [sys.executable, str(ROOT / "console")]


def lives_through(
    box: Any, wait_for: Callable[..., Any], command: list[str], cwd: Path, path: str
) -> None:
    """Check command, daemon, shim and worker. The worker must have the caller's PYTHONPATH."""
    environment = box.environment | {"PYTHONPATH": path}

    def run(*words: str) -> str:
        ran = subprocess.run(
            [*command, *box.options, *words], env=environment, cwd=cwd, input="",
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode in (0, 1), ran.stderr
        assert "shadowed" not in ran.stdout + ran.stderr
        return ran.stdout

    assert "started" in run("ensure")
    assert "started" in run("daemon", "start")
    first = wait_for(box.workers)[0]
    os.kill(first, signal.SIGKILL)
    second = wait_for(lambda: [one for one in box.workers() if one != first], 30)[0]
    assert psutil.Process(second).environ()["PYTHONPATH"] == path
    assert "ended by SIGKILL" in run("events")  # the shim found its modules
    run("daemon", "stop")
    run("kill", "--yes")


def test_installed_command_ignores_modules_in_cwd_and_pythonpath(
    box: Any, wait_for: Callable[..., Any], installed: list[str], foreign: Path
) -> None:
    lives_through(box, wait_for, installed, foreign, str(foreign))


def test_installed_command_ignores_a_foreign_console_package(
    box: Any, installed: list[str], foreign: Path
) -> None:
    """Another distribution's `console` comes first in the interpreter's path."""
    site = next(Path(installed[0]).parents[1].rglob("site-packages"))
    (site / "aaa.pth").write_text(f"import sys; sys.path.insert(0, {str(foreign)!r})\n")
    for name in SHADOWS:  # the user decides on these
        (foreign / f"{name}.py").unlink()
    ran = subprocess.run([*installed, "--version"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("way", [checkout, by_path])
def test_checkout_ignores_modules_in_cwd_and_pythonpath(
    box: Any, wait_for: Callable[..., Any], foreign: Path, tmp_path: Path, way: Any
) -> None:
    path = f"{ROOT}{os.pathsep}{foreign}" if way is checkout else str(foreign)
    cwd = tmp_path / "cwd"  # without a `console`, which `-m` itself would import
    cwd.mkdir()
    for name in SHADOWS:
        (cwd / f"{name}.py").write_text(BREAKS)
    lives_through(box, wait_for, way({"PYTHONPATH": path}), cwd, path)


def test_systemd_unit_ignores_modules_in_the_home_directory(
    box: Any, wait_for: Callable[..., Any], foreign: Path
) -> None:
    path = Path(box.run("daemon", "install").stdout.strip())
    line = next(one for one in path.read_text().splitlines() if one.startswith("ExecStart="))
    assert "Environment=" not in path.read_text()
    words = shlex.split(line.removeprefix("ExecStart="))
    home = {"HOME": str(foreign), "PATH": os.environ["PATH"]}
    with subprocess.Popen(words, env=home, cwd=foreign, stderr=subprocess.PIPE, text=True) as ran:
        try:
            wait_for(lambda: ran.poll() is not None or box.run("daemon", "status").returncode == 0)
            assert ran.poll() is None, ran.stderr and ran.stderr.read()
        finally:
            ran.terminate()


def test_demo_ignores_modules_in_cwd_and_pythonpath(
    machine: Any, installed: list[str], foreign: Path
) -> None:
    environment = machine.environment | {"PYTHONPATH": str(foreign)}
    ran = subprocess.run(
        [*installed, "demo", "--headless"], env=environment, cwd=foreign, input="",
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "shadowed" not in ran.stdout + ran.stderr
