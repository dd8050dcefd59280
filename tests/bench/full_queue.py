"""The demo box's queue server with results in its memory. Arguments: `PORT RESULTS`."""

from __future__ import annotations

import sys

from console.demo import task_queue_server, task_store


def main() -> None:
    """Record the results, then serve until a signal ends the process."""
    port, results = map(int, sys.argv[1:])
    book = task_store.TaskStore(None, 120.0)
    for _ in range(results):
        book.record_ping_result()
    task_queue_server.serve(port, book)


if __name__ == "__main__":
    main()
