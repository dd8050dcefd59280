"""The store's tables, and the migration of files from older versions."""

from __future__ import annotations

import apsw

SCHEMA_VERSION = 2
_MIGRATIONS = (
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
"""The statements that migrate an empty file to version 1, and version 1 to version 2."""
CREATE_SAMPLE_ORDER_INDEX_SQL = "CREATE INDEX IF NOT EXISTS samples_in_order ON samples (monitor)"
"""Index to read a monitor's samples in the order of writing. A store of version 2 may lack it:
queries then return the same rows, but more slowly."""


def read_version(connection: apsw.Connection) -> int:
    """Return the schema version of the file; 0 for a file without tables."""
    return int(connection.pragma("user_version"))


def migrate(connection: apsw.Connection) -> None:
    """Migrate the file to `SCHEMA_VERSION`, in one transaction. A newer file is not changed."""
    if read_version(connection) >= SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read the version again: another process may have migrated the file.
        for step in _MIGRATIONS[read_version(connection) :]:
            connection.execute(step)
        connection.execute(f"PRAGMA user_version={max(SCHEMA_VERSION, read_version(connection))}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
