"""Resolves the symbolic links in configured paths, with a timeout for storage that hangs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from console.core.model.roles import Role
from console.core.processes.argv_matching import resolve_script_path
from console.core.records import replace
from console.system import clock

RESOLVE_TIMEOUT_S = 0.2
"""Time that one observation waits for paths that do not respond; then it uses earlier targets."""


class LinkResolver:
    """A resolver of the paths of roles. Each observation resolves again: links may change."""

    def __init__(self) -> None:
        self._targets: dict[str, str] = {}
        self._threads: dict[str, threading.Thread] = {}
        """Path -> the last thread that resolves it. At most one thread per path is alive."""

    def resolve_role(self, role: Role) -> Role:
        """Return the role with `real_match` and `real_cwd` set."""
        script = resolve_script_path(role)
        targets = self.resolve_paths(path for path in (script, role.match_cwd) if path is not None)
        if not targets:
            return role
        return replace(
            role,
            real_match=targets.get(script) if script is not None else None,
            real_cwd=targets.get(role.match_cwd) if role.match_cwd is not None else None,
        )

    def resolve_paths(self, paths: Iterable[str]) -> dict[str, str]:
        """Return path -> target, without the paths that have never been resolved."""
        wanted = tuple(paths)
        started = []
        for path in wanted:
            previous = self._threads.get(path)
            if previous is None or not previous.is_alive():
                thread = threading.Thread(target=self._resolve_path, args=(path,), daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread can be started: resolve without a timeout
                    self._resolve_path(path)
                    continue
                self._threads[path] = thread
                started.append(thread)
        deadline = clock.tick() + RESOLVE_TIMEOUT_S
        for thread in started:
            thread.join(max(0.0, deadline - clock.tick()))
        return {path: self._targets[path] for path in wanted if path in self._targets}

    def _resolve_path(self, path: str) -> None:
        try:
            self._targets[path] = os.path.realpath(path)
        except OSError:  # a loop of links
            self._targets.pop(path, None)
