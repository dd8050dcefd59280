"""Who may know whom. The rooms of the house are kept apart by these tests alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "console"
FILES = sorted(PACKAGE.rglob("*.py"))

PURE = {
    "__future__", "abc", "array", "bisect", "collections", "dataclasses", "datetime", "decimal",
    "enum", "errno", "functools", "heapq", "itertools", "json", "math", "operator", "pathlib", "re",
    "shlex", "statistics", "string", "textwrap", "typing", "unicodedata",
}  # fmt: skip
"""What the core may import of the standard library: nothing that reads a clock or a machine."""
MACHINE = {"psutil", "portalocker", "apsw", "sqlite3", "socket", "fcntl", "http", "urllib"}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, at any depth, type checking included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or room(path) == "rig", f"{path}: relative import"
            yield node.module or "", node.lineno


def offences(files: list[Path], forbidden) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for name, line in imports(path)
        if forbidden(name)
    ]


def in_room(*names: str) -> list[Path]:
    found = [path for path in FILES if room(path) in names]
    assert found, names
    return found


def test_the_core_is_pure() -> None:
    def forbidden(name: str) -> bool:
        return not (name.split(".")[0] in PURE or name.startswith("console.core"))

    assert offences(in_room("core"), forbidden) == []


def test_the_core_asks_no_clock() -> None:
    calls = [
        f"{path.name}:{node.lineno}"
        for path in in_room("core")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today", "time"}
        if isinstance(node.value, ast.Name) and node.value.id in {"datetime", "date", "time"}
    ]
    assert calls == []


def test_textual_is_only_under_ui() -> None:
    others = [path for path in FILES if room(path) != "ui"]
    assert offences(others, lambda name: name.split(".")[0] in {"textual", "rich"}) == []


def test_the_machine_is_only_under_system_and_rig() -> None:
    others = [path for path in FILES if room(path) not in {"system", "rig", "commands"}]

    def forbidden(name: str) -> bool:
        return name.split(".")[0] in MACHINE and name != "urllib.parse"

    assert offences(others, forbidden) == []


def test_the_screen_knows_the_core_alone() -> None:
    def forbidden(name: str) -> bool:
        return name.startswith("console") and not name.startswith(("console.core", "console.ui"))

    assert offences(in_room("ui"), forbidden) == []


def test_the_web_is_only_under_web_and_knows_nobody_else() -> None:
    others = [path for path in FILES if room(path) != "web"]
    assert offences(others, lambda name: name.split(".")[0] == "aiohttp") == []

    def forbidden(name: str) -> bool:
        return name.startswith("console") and not name.startswith("console.web")

    assert offences(in_room("web"), forbidden) == []


def test_nobody_below_knows_the_runtime_or_the_screen() -> None:
    def forbidden(name: str) -> bool:
        return name.startswith(("console.runtime", "console.ui", "console.cli", "console.commands"))

    assert offences(in_room("core", "system", "monitors"), forbidden) == []


def test_the_rig_stands_by_itself() -> None:
    def forbidden(name: str) -> bool:
        return name.startswith("console") and not name.startswith("console.rig")

    assert offences(in_room("rig"), forbidden) == []


def test_records_are_made_cheaply() -> None:
    """`@dataclass` costs ten times as much to define, in every command."""
    ours = [path for path in FILES if room(path) not in {"rig", "web"}]
    dear = ("\n@dataclass\n", "\n@dataclass(")
    assert [path for path in ours if any(one in path.read_text("utf-8") for one in dear)] == []


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["status", "--json"], ["config", "show"], ["events"]],
    ids=" ".join,
)
def test_nothing_but_the_console_imports_textual(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from console.cli import rpa_console\n"
        "rpa_console.main(standalone_mode=False)\n"
        "loaded = sorted({'textual', 'rich', 'portalocker'} & set(sys.modules))\n"
        "sys.exit(', '.join(loaded) or 0)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "--state-dir", str(tmp_path / "state"), *arguments],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
