"""The SQLite store: connection, schema, recovery, retention."""
