"""Symbolic links in role matching: working directories and script paths are resolved."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guard_harness import wait_for

from console.system.box import Box, open_box
from console.system.config.schema import RoleSettings, Settings
from console.system.files.symbolic_links import LinkResolver


@contextmanager
def seen_by(place: Path, role: RoleSettings) -> Iterator[Box]:
    with open_box(Settings(roles={"worker": role}), place / "state") as box:
        yield box


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Create `current`, a symbolic link to `releases/42`."""
    for number in ("42", "43"):
        (tmp_path / "releases" / number).mkdir(parents=True)
        script = tmp_path / "releases" / number / "link_bot.py"
        script.write_text("print('up', flush=True)\nwhile True: input()\n")
    (tmp_path / "current").symlink_to("releases/42")
    return tmp_path


@contextmanager
def bot(*words: str, cwd: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-S", *words], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def pids(box: Box) -> list[int]:
    role = box.find_role("worker")
    assert role is not None
    return [one.pid for one in box.observe([role], full=True)[0].instances]


def test_match_cwd_follows_a_symbolic_link(place: Path) -> None:
    role = RoleSettings(match="link_bot.py", match_cwd=str(place / "current"))
    with seen_by(place, role) as box, bot("link_bot.py", cwd=place / "current") as pid:
        assert pids(box) == [pid]
        (place / "next").symlink_to("releases/43")
        os.replace(place / "next", place / "current")
        with bot("link_bot.py", cwd=place / "current") as newer:
            assert pids(box) == [newer], "the link is read again at each look"


def test_script_match_follows_a_symbolic_link(place: Path) -> None:
    role = RoleSettings(match=str(place / "current" / "link_bot.py"))
    with seen_by(place, role) as box:
        with bot("link_bot.py", cwd=place / "current") as pid:
            assert pids(box) == [pid]
        with bot("link_bot.py", cwd=place / "releases" / "43"):
            assert pids(box) == []
        with bot(str(place / "releases" / "42" / "link_bot.py"), cwd=place) as pid:
            assert pids(box) == [pid]


def test_symbolic_link_loop_resolves_to_itself(place: Path) -> None:
    (place / "loop").symlink_to("loop")
    assert LinkResolver().resolve_paths([str(place / "loop")]) == {
        str(place / "loop"): str(place / "loop")
    }


HUNG = """
import ctypes, os, sys, time
sys.path.insert(0, {root!r})
from console.system.files.symbolic_links import LinkResolver
links, place = LinkResolver(), {place!r}
known = place + "/m/sub"
os.symlink(place, place + "/m")
os.makedirs(place + "/sub")
print(links.resolve_paths([known])[known] == place + "/sub")
os.unlink(place + "/m")
os.mkdir(place + "/m")
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={{device}},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", (place + "/m").encode(), b"fuse", 0, options):
    print("skip", os.strerror(ctypes.get_errno()))
    sys.exit()
begin = time.monotonic()
print(links.resolve_paths([known])[known] == place + "/sub")
for _ in range(200):
    links.resolve_paths([known])
    links.resolve_paths([place + "/sub"])
print(time.monotonic() - begin < 5, sys.stdout.flush())
os._exit(0)
"""


def test_hung_mount_does_not_block_path_resolution(tmp_path: Path) -> None:
    """The resolver returns the last known path while a FUSE server does not answer."""
    if os.getuid() or not os.path.exists("/dev/fuse"):
        pytest.skip("a FUSE mount needs root and /dev/fuse")
    root = str(Path(__file__).parents[2])
    script = HUNG.format(root=root, place=str(tmp_path))
    line = ["unshare", "-m", sys.executable, "-c", script]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    if "skip" in done.stdout or "unshare" in done.stderr:
        pytest.skip(f"no FUSE mount here: {done.stdout}{done.stderr}")
    assert done.stdout.split() == ["True", "True", "True", "None"], done.stderr


def test_unresolved_path_is_resolved_again_later(tmp_path: Path) -> None:
    links, path = LinkResolver(), str(tmp_path / "link")
    assert links.resolve_paths([path]) == {path: path}
    os.symlink(tmp_path / "target", path)
    wait_for(lambda: links.resolve_paths([path]) == {path: str(tmp_path / "target")})
