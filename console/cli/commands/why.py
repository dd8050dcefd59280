"""`why`: explains the verdict, a role or a monitor as a chain of causes."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, print_json, print_redacted
from console.core.exit_codes import UNREADABLE, USAGE

_MAX_EVENTS = 20_000


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="The chain as a document.")
@pass_options
def why(options: Options, name: str | None, as_json: bool) -> None:
    """Explain the verdict, or what is wrong with the role or monitor NAME.

    Without NAME: the verdict's first cause, what follows from it, and the chain behind it; where
    the box is healthy, how the worker last died or was restarted. Symptom, detector, rule, action,
    outcome; `#n` is a line of the ledger (`rpa-console events`).
    """
    from console.core.explain import verdict_chain
    from console.core.model.snapshot import Verdict
    from console.core.text.formatting import format_date_time, format_utc, sanitize_text
    from console.runtime.snapshots.one_shot import take_snapshot
    from console.system.processes.process_table import ProcessError

    with options.open_box(ephemeral=True) as box:
        try:
            snapshot = take_snapshot(box)
        except ProcessError as error:
            fail(str(error), UNREADABLE)
        events = box.store.events(limit=_MAX_EVENTS)
        names = verdict_chain.subject_names(snapshot)
        if name is not None and name not in names:
            fail(f"there is no role or monitor {name!r}; there are: {', '.join(names)}", USAGE)
        healthy = snapshot.verdict is Verdict.HEALTHY
        if name is not None or healthy:
            steps = verdict_chain.explain_subject(name or "worker", snapshot, events)
        else:
            steps = verdict_chain.explain_verdict(snapshot, events)
    if as_json:
        rows = [
            {
                "part": link.part,
                "at": format_utc(link.moment),
                "text": link.text,
                "events": list(link.event_ids),
            }
            for link in steps
        ]
        subject = name or ("worker" if healthy else snapshot.root_cause)
        document = {"schema": 1, "role": subject, "verdict": snapshot.verdict.value, "steps": rows}
        print_json(document)
        return
    for step in steps:
        ids = (
            f" ({', '.join(f'#{event_id}' for event_id in step.event_ids)})"
            if step.event_ids
            else ""
        )
        when = format_date_time(step.moment) if step.moment else ""
        print_redacted(sanitize_text(f"{step.part:<9} {when:<19}  {step.text}{ids}"))
