"""Bulk history for a store: rows as the monitors write them, at their default intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import apsw

from console.core.model.events import EventKind
from console.system import clock
from console.system.store.store import Store

DAY_S = 86_400
SAMPLES: dict[str, tuple[int, dict[str, object]]] = {
    "queue": (
        10,
        {
            "size": 0, "urgent": 0, "normal": 0, "low": 0, "inflight": 0, "completed": 5_000,
            "successful": 4_990, "failed": 10, "oldest_s": None, "oldest_lease_s": None,
            "elapsed_s": 0.004, "clock_off_s": 0.0, "status": "ok", "problem": None,
        },
    ),
    "watchdog": (30, {"pid": 4242, "instances": 1, "heartbeat_at": 0.0, "anomalies": []}),
    "pipeline": (30, {"mode": "read", "anomalies": []}),
    "canary": (1_800, {"ok": True, "latency_s": 0.2, "work_s": 0.1, "queue_s": 0.1}),
    "worker": (300, {"roles": {}, "instances": []}),
}  # fmt: skip
"""Monitor -> (seconds between samples, data of a sample)."""
FACTS = 300
"""Commits between two checks of the WAL's size, each of a page or two."""
EVENT_S, CRON_S = 3_600, 60
"""Seconds between events: by default, and for a role that cron ensures each minute."""


def journal(path: Path) -> Path:
    """Return the path of the store's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def fill_journal(path: Path) -> None:
    """Write until the WAL no longer grows: SQLite then reuses the file from its start.

    Another process must have the store open: the last connection to close removes the WAL.
    """
    with closing(Store(path)) as store:
        size = -1
        while size < (size := journal(path).stat().st_size):
            for number in range(FACTS):
                store.set_fact("journal", number)


def fill(
    path: Path,
    days: float,
    times: float = 1.0,
    seen: Mapping[str, object] | None = None,
    lines: int | None = None,
) -> None:
    """Write `days` of samples and events into a store, the newest a moment ago.

    `times` divides the samples' intervals. `seen` overrides the data of each monitor's samples.
    `lines` is a number of events, one a minute, as when cron ensures a role.
    """
    pause_s = EVENT_S if lines is None else CRON_S
    now = clock.now()
    with apsw.Connection(str(path)) as connection:
        for monitor, (usual, data) in SAMPLES.items():
            every, count = usual / times, int(days * DAY_S / usual)
            told = json.dumps((seen or {}).get(monitor, data))
            connection.execute(
                "WITH RECURSIVE step(n) AS (SELECT ? UNION ALL SELECT n - 1 FROM step WHERE n > 1)"
                " INSERT INTO samples (monitor, at, tick, boot, data)"
                " SELECT ?, ? - n * ?, ? - n * ?, ?, ? FROM step",
                (count, monitor, now.at, every, now.tick, every, now.boot, told),
            )
        connection.execute(
            "WITH RECURSIVE step(n) AS (SELECT ? UNION ALL SELECT n - 1 FROM step WHERE n > 1)"
            " INSERT INTO events (kind, at, tick, boot, role, actor, reason, data)"
            " SELECT ?, ? - n * ?, ? - n * ?, ?, 'worker', 'cli:ana@pts/3', 'PID 1 runs', '{}'"
            " FROM step",
            (int(days * DAY_S / EVENT_S) if lines is None else lines, EventKind.CONFIRMED.value,
             now.at, pause_s, now.tick, pause_s, now.boot),
        )  # fmt: skip
    connection.close()
