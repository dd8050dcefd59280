"""Access to the machine: files, processes, locks, the store and the network.

Only this package and `demo` import sockets, locks, psutil and SQLite; `tests/test_architecture.py`
checks it.
"""
