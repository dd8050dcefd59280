"""The console in a browser: one page, and one WebSocket and pseudo-terminal for each client."""
