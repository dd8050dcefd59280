"""The state machine of a role, its history in events, and the restart policy."""
