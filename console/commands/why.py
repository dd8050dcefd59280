"""`why`: the last death or restart of a role as a chain of causes."""

from __future__ import annotations

import click

from console.cli import USAGE, Options, fail, pass_options, put, put_json

_EVENTS = 20_000


@click.command()
@click.argument("role", default="worker", required=False)
@click.option("--json", "as_json", is_flag=True, help="The chain as a document.")
@pass_options
def why(options: Options, role: str, as_json: bool) -> None:
    """Tell what is wrong with ROLE (the worker) now, or why it last died or was restarted.

    Symptom, detector, rule, action, outcome; `#n` is a line of the ledger (`rpa-console events`).
    """
    from console.core import standing
    from console.core.text import day_clock, utc, visible

    with options.box(ephemeral=True) as box:
        known = box.role(role)
        if known is None:
            names = ", ".join(one.name for one in box.roles)
            fail(f"there is no role {role!r}; there are: {names}", USAGE)
        steps = standing.explain(known, box.store.events(limit=_EVENTS), box.now())
    if as_json:
        rows = [
            {"part": s.part, "at": utc(s.moment), "text": s.text, "events": list(s.events)}
            for s in steps
        ]
        put_json({"schema": 1, "role": role, "steps": rows})
        return
    for step in steps:
        ids = f" ({', '.join(f'#{one}' for one in step.events)})" if step.events else ""
        when = day_clock(step.moment) if step.moment else ""
        put(visible(f"{step.part:<9} {when:<19}  {step.text}{ids}"))
