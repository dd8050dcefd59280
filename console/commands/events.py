"""`events`: the ledger."""

from __future__ import annotations

import time

import click

from console.cli import Options, pass_options, put

_FOLLOW_S = 0.5
_BURST = 100_000


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on printing what happens.")
@click.option("--role", metavar="ROLE", help="Of one role only.")
@click.option("--limit", "-n", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True, help="A JSON document on each line.")
@pass_options
def events(options: Options, follow: bool, role: str | None, limit: int, as_json: bool) -> None:
    """Print the ledger: every start, death, decision and refusal."""
    import json

    from console.core.report import event_data, event_line

    with options.box(ephemeral=not follow) as box:
        last, version = 0, box.store.changes()
        while True:
            for event in box.store.events(last, role, limit):
                put(json.dumps(event_data(event)) if as_json else event_line(event))
                last = event.id
            if not follow:
                return
            while (now := box.store.changes()) == version:
                time.sleep(_FOLLOW_S)
            version, limit = now, _BURST  # of what is new, nothing is left out
