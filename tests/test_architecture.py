"""Import rules between the package's folders, which no linter checks."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "console"
FILES = sorted(PACKAGE.rglob("*.py"))

PURE = {
    "__future__", "abc", "array", "bisect", "collections", "datetime", "decimal",
    "enum", "errno", "functools", "heapq", "itertools", "json", "math", "operator", "pathlib", "re",
    "shlex", "statistics", "string", "textwrap", "typing", "unicodedata",
}  # fmt: skip
"""Standard library modules that the core may import. None reads a clock or the machine's state."""
DIALECT = re.compile(
    r"^(?:What|Who|Whoever|Whose|Whatever|Whom)\b(?!.*\?$)|"
    r"\b(?:nobody|somebody|anybody|whoever|whomever|no one)\b",
    re.IGNORECASE,
)
"""A sentence with a free relative clause as its subject, or an unnamed actor."""
MACHINE = {"psutil", "portalocker", "apsw", "sqlite3", "socket", "fcntl", "http", "urllib"}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every module that a file imports, with its line, at any depth of the code."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or room(path) == "demo", f"{path}: relative import"
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


def test_core_imports_only_pure_modules() -> None:
    def forbidden(name: str) -> bool:
        return not (name.split(".")[0] in PURE or name.startswith("console.core"))

    others = [path for path in in_room("core") if path.name != "records.py"]
    assert offences(others, forbidden) == []
    (records,) = set(in_room("core")) - set(others)
    assert {name.split(".")[0] for name, _ in imports(records)} <= {"msgspec", *PURE}


def test_core_reads_no_clock() -> None:
    calls = [
        f"{path.name}:{node.lineno}"
        for path in in_room("core")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today", "time"}
        if isinstance(node.value, ast.Name) and node.value.id in {"datetime", "date", "time"}
    ]
    assert calls == []


def test_only_ui_imports_textual() -> None:
    others = [path for path in FILES if room(path) != "ui"]
    assert offences(others, lambda name: name.split(".")[0] in {"textual", "rich"}) == []


def test_only_system_and_demo_import_machine_modules() -> None:
    others = [path for path in FILES if room(path) not in {"system", "demo"}]

    def forbidden(name: str) -> bool:
        return name.split(".")[0] in MACHINE and name != "urllib.parse"

    assert offences(others, forbidden) == []


def test_ui_imports_only_core() -> None:
    def forbidden(name: str) -> bool:
        return name.startswith("console") and not name.startswith(("console.core", "console.ui"))

    assert offences(in_room("ui"), forbidden) == []


def test_only_web_imports_aiohttp_and_web_imports_no_other_folder() -> None:
    others = [path for path in FILES if room(path) != "web"]
    assert offences(others, lambda name: name.split(".")[0] == "aiohttp") == []

    def forbidden(name: str) -> bool:
        return name.startswith("console") and not name.startswith("console.web")

    assert offences(in_room("web"), forbidden) == []


def test_lower_folders_do_not_import_upper_folders() -> None:
    def forbidden(name: str) -> bool:
        return name.startswith(("console.runtime", "console.ui", "console.cli"))

    assert offences(in_room("core", "system", "monitors"), forbidden) == []


def test_demo_imports_no_other_folder() -> None:
    def forbidden(name: str) -> bool:
        return name.startswith("console") and not name.startswith("console.demo")

    assert offences(in_room("demo"), forbidden) == []


def test_every_error_stands_in_the_tree_of_console_errors() -> None:
    bases = {
        node.name: ast.unparse(node.bases[0])
        for path in FILES
        if room(path) not in {"demo", "web"}
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and node.bases
    }
    below: dict[str, set[str]] = {}
    for name, base in bases.items():
        below.setdefault(base, set()).add(name)
    tree = ast.get_docstring(ast.parse((PACKAGE / "core" / "errors.py").read_text("utf-8"))) or ""
    listed = re.findall(r"^ +(\w+) ", tree, re.MULTILINE)
    assert sorted(reachable(below, "ConsoleError")) == sorted(listed)
    control_flow = {"CannotRepair", "StateLost"}
    assert below["Exception"] - control_flow == {"ConsoleError"}


def test_files_have_no_import_cycle() -> None:
    assert cycles(file_imports()) == []


def test_folders_have_no_import_cycle() -> None:
    """Within each folder, its files and sub-folders import each other in one direction."""
    levels: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for importer, imported in file_imports().items():
        for name in imported:
            one, other = importer.split("."), name.split(".")
            shared = next(
                (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None
            )
            if shared is not None:
                level = levels.setdefault(tuple(one[:shared]), {})
                level.setdefault(one[shared], set()).add(other[shared])
    assert {".".join(at): found for at, graph in levels.items() if (found := cycles(graph))} == {}


def test_cycles_finds_an_import_cycle() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


def file_imports() -> dict[str, set[str]]:
    """Return the modules that each module imports, including imports within functions."""
    modules = {name(path): path for path in FILES}
    found: dict[str, set[str]] = {}
    for importer, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                below = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
                found.setdefault(importer, set()).update(below or {node.module} & modules.keys())
    return found


def name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, each sorted."""
    reach = {node: reachable(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach.get(other, ())))
        for node in graph
        if node in reach[node]
    }
    return [list(group) for group in sorted(groups)]


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        todo += [
            node for node in graph.get(todo.pop(), ()) if node not in seen and not seen.add(node)
        ]
    return seen


def test_docstrings_and_comments_are_plain_english() -> None:
    """The share of units in dialect is at most 1 %; see CONTRIBUTING.md, "Language"."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    units = [unit for path in (*FILES, *tests) for unit in prose(path)]
    dialect = [unit for unit in units if DIALECT.search(unit)]
    assert len(dialect) <= len(units) / 100, "\n".join(dialect)


@pytest.mark.parametrize(
    ("unit", "found"),
    [
        ("What is read is bounded.", True),
        ("Who waits for it asks again.", True),
        ("The caller waits; nobody else does.", True),
        ("The bytes that were read.", False),
        ("Return what the file holds, or None.", False),
        ("Which: ensure, restart or kill?", False),
    ],
)
def test_dialect_pattern_matches(unit: str, found: bool) -> None:
    assert bool(DIALECT.search(unit)) == found


def prose(path: Path) -> Iterator[str]:
    """Yield every docstring and comment of a file, each on one line."""
    source = path.read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        for child in ast.iter_child_nodes(node):
            text = child.value if isinstance(child, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield " ".join(text.value.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


def test_product_code_defines_no_dataclasses() -> None:
    """Defining a dataclass takes ten times as long as a msgspec struct, in every command."""
    paths = [path for path in FILES if room(path) not in {"demo", "web"}]
    definitions = ("\n@dataclass\n", "\n@dataclass(")
    assert [
        path for path in paths if any(one in path.read_text("utf-8") for one in definitions)
    ] == []


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["status", "--json"], ["config", "show"], ["events"]],
    ids=" ".join,
)
def test_commands_without_a_screen_do_not_import_textual(
    arguments: list[str], tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from console.cli.main import rpa_console\n"
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
