"""Data types that pass between the packages: frozen, typed, without I/O.

Data flow: machine -> `Sample` -> store -> `Health` -> `Snapshot` -> pane.
Command flow: key -> `Command` -> permit -> lease -> process -> `Event` -> next snapshot.
"""
