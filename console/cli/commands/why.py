"""`why`: what stands behind the verdict, a role or a monitor, as a chain of causes."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, put, put_json
from console.core.exit_codes import UNREADABLE, USAGE

_EVENTS = 20_000


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
    from console.core.model import Verdict
    from console.core.text.formatting import day_clock, utc, visible
    from console.runtime.snapshots.one_shot import look_once
    from console.system.processes.process_table import ProcessError

    with options.box(ephemeral=True) as box:
        try:
            snapshot = look_once(box)
        except ProcessError as error:
            fail(str(error), UNREADABLE)
        events = box.store.events(limit=_EVENTS)
        known = verdict_chain.known(snapshot)
        if name is not None and name not in known:
            fail(f"there is no role or monitor {name!r}; there are: {', '.join(known)}", USAGE)
        healthy = snapshot.verdict is Verdict.HEALTHY
        if name is not None or healthy:
            steps = verdict_chain.about(name or "worker", snapshot, events)
        else:
            steps = verdict_chain.overall(snapshot, events)
    if as_json:
        rows = [
            {"part": s.part, "at": utc(s.moment), "text": s.text, "events": list(s.events)}
            for s in steps
        ]
        about = name or ("worker" if healthy else snapshot.root)
        told = {"schema": 1, "role": about, "verdict": snapshot.verdict.value, "steps": rows}
        put_json(told)
        return
    for step in steps:
        ids = f" ({', '.join(f'#{one}' for one in step.events)})" if step.events else ""
        when = day_clock(step.moment) if step.moment else ""
        put(visible(f"{step.part:<9} {when:<19}  {step.text}{ids}"))
