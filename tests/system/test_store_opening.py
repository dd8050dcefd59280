"""Concurrent processes that open a store which does not exist yet all succeed."""

from __future__ import annotations

import os
from pathlib import Path

from console.system.store.store import Store

ROUNDS, OPENERS = 20, 8


def opener(path: Path, barrier: int, gate: int) -> int:
    """Fork a child that opens the store once the gate closes, and return its PID.

    The child exits with 0 on success.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(gate)
        os.read(barrier, 1)
        Store(path).close()
        code = 0
    finally:
        os._exit(code)


def test_concurrent_first_opens_all_succeed(tmp_path: Path) -> None:
    """SQLite's busy handler does not cover the switch to WAL mode."""
    codes = []
    for number in range(ROUNDS):
        barrier, gate = os.pipe()
        path = tmp_path / f"{number}.sqlite"
        children = [opener(path, barrier, gate) for _ in range(OPENERS)]
        os.close(barrier)
        os.close(gate)
        codes += [os.waitpid(pid, 0)[1] for pid in children]
    assert codes == [0] * (ROUNDS * OPENERS)
