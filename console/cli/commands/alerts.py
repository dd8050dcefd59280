"""`alerts`: prints the open alerts and acknowledges them."""

from __future__ import annotations

import click

from console.cli.context import Options, current_actor, pass_options
from console.cli.output import print_json, print_message, print_redacted

_MAX_EVENTS = 10_000


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As a document.")
@click.pass_context
def alerts(context: click.Context, as_json: bool) -> None:
    """Print the open alerts, worst first. Exit code 0: none is unacknowledged."""
    from console.core.alerts import ALERT_KINDS, fold_open_alerts
    from console.core.text.formatting import format_date_time, format_utc, sanitize_text

    if context.invoked_subcommand is not None:
        return
    options = context.find_object(Options)
    assert options is not None
    with options.open_box(ephemeral=True) as box:
        open_alerts = fold_open_alerts(box.store.events(kinds=ALERT_KINDS, limit=_MAX_EVENTS))
    if as_json:
        rows = [
            {
                "key": alert.key, "severity": alert.severity.value, "title": alert.title,
                "reason": alert.reason, "since": format_utc(alert.since), "event": alert.event_id,
                "acknowledged_by": alert.acknowledged or None,
            }
            for alert in open_alerts
        ]  # fmt: skip
        print_json({"schema": 1, "alerts": rows})
    for alert in () if as_json else open_alerts:
        suffix = f" (acknowledged by {alert.acknowledged})" if alert.acknowledged else ""
        text = f"{alert.title}: {alert.reason}{suffix} (#{alert.event_id})"
        print_redacted(
            sanitize_text(
                f"{alert.severity.value:<8} {format_date_time(alert.since)}  {alert.key:<20} {text}"
            )
        )
    if not open_alerts and not as_json:
        print_message("no alert stands")
    context.exit(1 if any(not alert.acknowledged for alert in open_alerts) else 0)


@alerts.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="The outcome as a document.")
@pass_options
def ack(options: Options, key: str, as_json: bool) -> None:
    """Acknowledge the alert KEY (`all`: every alert). It stays open until it is resolved."""
    from console.runtime.commands import acknowledge_alerts

    with options.open_box() as box:
        options.require_writable(box)
        outcome = acknowledge_alerts(box, "" if key == "all" else key, current_actor())
    if as_json:
        print_json({"schema": 1, "done": outcome.done, "message": outcome.message})
    else:
        (print_redacted if outcome.done else print_message)(outcome.message)
    raise click.exceptions.Exit(outcome.code)
