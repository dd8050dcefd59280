"""Many who open a store that nobody has made yet: every one of them gets it."""

from __future__ import annotations

import os
from pathlib import Path

from console.system.store.store import Store

ROUNDS, OPENERS = 20, 8


def opener(path: Path, barrier: int, gate: int) -> int:
    """A child that opens the store once the gate falls; its PID. It exits with 0 if it could."""
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


def test_all_who_open_a_new_store_at_once_can(tmp_path: Path) -> None:
    """Turning to WAL is the one change for which SQLite does not wait by itself."""
    codes = []
    for number in range(ROUNDS):
        barrier, gate = os.pipe()
        path = tmp_path / f"{number}.sqlite"
        children = [opener(path, barrier, gate) for _ in range(OPENERS)]
        os.close(barrier)
        os.close(gate)
        codes += [os.waitpid(pid, 0)[1] for pid in children]
    assert codes == [0] * (ROUNDS * OPENERS)
