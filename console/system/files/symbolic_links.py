"""Configured paths with their symbolic links resolved, without waiting for a storage that hangs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from console.core.frozen import replace
from console.core.model import Role
from console.core.processes.argv_matching import script_path
from console.system import clock

WAIT_S = 0.2
"""How long one look waits for paths that do not answer; it goes on with what was known before."""


class Links:
    """Resolves the paths of roles, again at each look: a link may point elsewhere by then."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._reading: dict[str, threading.Thread] = {}
        """Paths whose reading has not returned. Each has one thread at most."""

    def resolve(self, role: Role) -> Role:
        """The role with `real_match` and `real_cwd`."""
        script = script_path(role)
        real = self.look(path for path in (script, role.match_cwd) if path is not None)
        if not real:
            return role
        return replace(
            role,
            real_match=real.get(script) if script is not None else None,
            real_cwd=real.get(role.match_cwd) if role.match_cwd is not None else None,
        )

    def look(self, paths: Iterable[str]) -> dict[str, str]:
        """Each path's target, as far as it is known by now."""
        wanted = tuple(paths)
        started = []
        for path in wanted:
            before = self._reading.get(path)
            if before is None or not before.is_alive():
                reading = threading.Thread(target=self._read, args=(path,), daemon=True)
                try:
                    reading.start()
                except RuntimeError:  # no thread can be started: nothing to wait with
                    self._read(path)
                    continue
                self._reading[path] = reading
                started.append(reading)
        deadline = clock.tick() + WAIT_S
        for reading in started:
            reading.join(max(0.0, deadline - clock.tick()))
        return {path: self._known[path] for path in wanted if path in self._known}

    def _read(self, path: str) -> None:
        try:
            self._known[path] = os.path.realpath(path)
        except OSError:  # a loop of links
            self._known.pop(path, None)
