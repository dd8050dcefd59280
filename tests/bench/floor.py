"""The floor: a minimal Textual application of this kind, as the reference of the budgets."""

from __future__ import annotations

import sys
from itertools import count

from textual.app import App, ComposeResult
from textual.widgets import DataTable, Footer, Header


class Floor(App[None]):
    """A header, a footer and a table of 20 rows, two of whose columns change each second."""

    BINDINGS = [("q", "quit", "Quit")]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, still: bool) -> None:
        super().__init__()
        self.still, self.ticks = still, count()

    def compose(self) -> ComposeResult:
        yield Header()
        yield DataTable(cursor_type="row")
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for name in ("PID", "name", "age", "memory"):
            table.add_column(name, key=name, width=20)
        for row in range(20):
            table.add_row(str(1000 + row), f"worker {row}", "0s", "20M", key=str(row))
        table.focus()
        if not self.still:
            self.set_interval(1.0, self.tick)

    def tick(self) -> None:
        """Update two columns of every row, as a naive monitor does."""
        table, now = self.query_one(DataTable), next(self.ticks)
        for row in range(20):
            table.update_cell(str(row), "age", f"{now}s")
            table.update_cell(str(row), "memory", f"{20 + (now + row) % 7}M")


if __name__ == "__main__":
    Floor(still="--still" in sys.argv).run()
