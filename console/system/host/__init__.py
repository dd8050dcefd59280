"""The host: HTTP, hooks, inotify, systemd, memory, the installed package."""
