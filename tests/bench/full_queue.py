"""The rig's queue server, with results in its memory: `PORT RESULTS`."""

from __future__ import annotations

import sys
from importlib import import_module

from console.demo.environment import SCRIPTS


def main() -> None:
    """Record so many results, then answer until a signal ends it."""
    port, results = map(int, sys.argv[1:])
    sys.path.insert(0, str(SCRIPTS))  # the rig's programs are scripts, run by path
    book = import_module("task_book").Book(None, 120.0)
    for _ in range(results):
        book.answer_ping()
    import_module("task_queue_server").serve(port, book)


if __name__ == "__main__":
    main()
