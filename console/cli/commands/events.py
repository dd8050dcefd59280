"""`events`: the ledger."""

from __future__ import annotations

import time

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, put, put_json
from console.core.exit_codes import FAILURE

_FOLLOW_S = 0.5
_BURST = 100_000


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on printing what happens.")
@click.option("--role", metavar="ROLE", help="Of one role only.")
@click.option("--limit", "-n", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True, help="A JSON document on each line.")
@click.option(
    "--look", type=click.IntRange(1, 2**63 - 1), metavar="N", help="What a monitor saw: sample N."
)
@pass_options
def events(
    options: Options, follow: bool, role: str | None, limit: int, as_json: bool, look: int | None
) -> None:
    """Print the ledger: every start, death, decision and refusal."""
    from console.core.status_document import event_data, event_line

    if look is not None:
        return _print_look(options, look)
    with options.box(ephemeral=not follow) as box:
        last, version = 0, box.store.changes()
        while True:
            for event in box.store.events(last, role, limit):
                put_json(event_data(event), None) if as_json else put(event_line(event))
                last = event.id
            if not follow:
                return
            while (now := box.store.changes()) == version:
                time.sleep(_FOLLOW_S)
            version, limit = now, _BURST  # of what is new, nothing is left out


def _print_look(options: Options, number: int) -> None:
    """One sample as a JSON document: what a report cites as `look N`."""
    from console.core.status_document import sample_data

    with options.box(ephemeral=True) as box:
        found = box.store.samples_after(number - 1, 1)
    if not found or found[0].id != number:
        fail(f"there is no look {number}, or it has been rolled up and forgotten", FAILURE)
    put_json(sample_data(found[0]))
