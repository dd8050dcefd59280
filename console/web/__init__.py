"""The console in a browser: one page, one WebSocket, a pseudo-terminal for each who looks."""
