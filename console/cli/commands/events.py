"""`events`: prints the event log."""

from __future__ import annotations

import time

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, print_json, print_redacted
from console.core.exit_codes import FAILURE

_POLL_INTERVAL_S = 0.5
_MAX_NEW_EVENTS = 100_000


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
    from console.core.status_document import event_to_json, format_event

    if look is not None:
        return _print_sample(options, look)
    with options.open_box(ephemeral=not follow) as box:
        last, version = 0, box.store.change_counter()
        while True:
            for event in box.store.events(last, role, limit):
                print_json(event_to_json(event), None) if as_json else print_redacted(
                    format_event(event)
                )
                last = event.id
            if not follow:
                return
            while (now := box.store.change_counter()) == version:
                time.sleep(_POLL_INTERVAL_S)
            version, limit = now, _MAX_NEW_EVENTS  # print all new events


def _print_sample(options: Options, sample_id: int) -> None:
    """Print one sample as a JSON document. Reports cite samples as `look N`."""
    from console.core.status_document import sample_to_json

    with options.open_box(ephemeral=True) as box:
        samples = box.store.samples_after(sample_id - 1, 1)
    if not samples or samples[0].id != sample_id:
        fail(f"there is no look {sample_id}, or it has been rolled up and forgotten", FAILURE)
    print_json(sample_to_json(samples[0]))
