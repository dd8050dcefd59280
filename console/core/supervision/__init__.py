"""The state machine of a role, its history from events, and the restart policy."""
