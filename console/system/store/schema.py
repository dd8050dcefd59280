"""The store's tables, and how a file that an older version has written becomes one of ours."""

from __future__ import annotations

import apsw

VERSION = 2
_STEPS = (
    """
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, monitor TEXT NOT NULL, at REAL NOT NULL, tick REAL NOT NULL,
    boot TEXT NOT NULL, data TEXT NOT NULL, error TEXT) STRICT;
CREATE INDEX samples_by_monitor ON samples (monitor, at);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, at REAL NOT NULL,
    tick REAL NOT NULL, boot TEXT NOT NULL, role TEXT NOT NULL, actor TEXT NOT NULL,
    reason TEXT NOT NULL, identity TEXT, token INTEGER, data TEXT NOT NULL) STRICT;
CREATE INDEX events_by_role ON events (role, id);
CREATE UNIQUE INDEX one_start ON events (identity) WHERE kind IN ('started', 'adopted');
CREATE UNIQUE INDEX one_death ON events (identity) WHERE kind = 'died';
CREATE TABLE tokens (role TEXT PRIMARY KEY, token INTEGER NOT NULL) STRICT;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
""",
    """
CREATE TABLE rollups (
    monitor TEXT NOT NULL, field TEXT NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL,
    n INTEGER NOT NULL, sum REAL NOT NULL, squares REAL NOT NULL, min REAL NOT NULL,
    max REAL NOT NULL, PRIMARY KEY (monitor, field, step, at)) STRICT, WITHOUT ROWID;
CREATE INDEX samples_in_order ON samples (monitor);
""",
)
"""What makes version 1 of nothing, version 2 of version 1."""
IN_ORDER = "CREATE INDEX IF NOT EXISTS samples_in_order ON samples (monitor)"
"""Finds a monitor's samples in the order they were written. A store of version 2 may lack it: its
answers are the same without it, only slower."""


def version(connection: apsw.Connection) -> int:
    """The version that has written the file; 0 for one without tables."""
    return int(connection.pragma("user_version"))


def migrate(connection: apsw.Connection) -> None:
    """Take the file to our version, in one transaction; a newer one stays as it is."""
    if version(connection) >= VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[version(connection) :]:  # read again: somebody may have been faster
            connection.execute(step)
        connection.execute(f"PRAGMA user_version={max(VERSION, version(connection))}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
