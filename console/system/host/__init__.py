"""Host services: HTTP, hooks, inotify, systemd, memory, the installed package."""
