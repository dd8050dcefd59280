"""Processes pane: for each role its state, count, lease, instances and last death."""

from __future__ import annotations

from pathlib import PurePath

from console.core.model.processes import Instance
from console.core.model.roles import LeaseState, RoleState
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import RoleView
from console.core.text.formatting import (
    format_clock,
    format_coarse_duration,
    format_duration,
    format_size,
)
from console.ui.render.state_labels import (
    describe_look_alike,
    format_ago,
    format_until,
    holder_label,
    role_state_label,
)
from console.ui.render.styled_lines import (
    PaneContext,
    Selection,
    Span,
    StyledLine,
    fit_facts,
    pad_text,
    styled_line,
)

TITLE = "Processes"
KEY = "1"
SLOT = "left"
ROWS = (6, 6)
CURSOR_INDENT = "  "
"""Cells that the cursor is drawn in."""
SORT_ORDERS = ("", "age", "CPU", "memory")
"""Sort orders of a role's instances, through which `o` cycles; "": the order of the snapshot."""
HELP = (
    "One row for each role (state, found/wanted, restarts that the ledger knows of, who holds the "
    "lease) and one for each instance. An instance is a process tree: launcher > interpreter is "
    "one worker. `leased` was started here; `adopted` by somebody else; `launcher ended` is one "
    "that runs on without it, as a background job does; `surplus` is what x would end. o sorts the "
    "instances: as found, oldest first, by CPU, by memory; ▾ marks the column."
)


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return a block of lines for each role, below column headings if there are ROWS[0] lines."""
    if not snapshot.roles:
        return [styled_line(("no role is configured", "muted"))]
    lines = [_column_heads(context)] if context.height >= ROWS[0] else []
    for role in snapshot.roles:
        lines.append(_role_row(role, snapshot.moment, context))
        instances = _sort_instances(role, context.sort_order)
        lines += [_instance_row(role, instance, snapshot.moment, context) for instance in instances]
        lines += _look_alike_rows(role, context.width)
        lines += _lost_selection_row(role, context.lost_selection)
        lines += _last_death_row(role, snapshot.moment, context.width)
    return lines


MAX_LOOK_ALIKES = 3
"""Look-alikes that are listed for each role."""


def _look_alike_rows(view: RoleView, width: int) -> list[StyledLine]:
    """Return a row for each look-alike, with the reason why it is not an instance of the role."""
    lines = [
        styled_line(
            (
                pad_text(
                    f"{CURSOR_INDENT}{CURSOR_INDENT}not counted: {describe_look_alike(process)}",
                    width,
                ),
                "muted",
            )
        )
        for process in view.look_alikes[:MAX_LOOK_ALIKES]
    ]
    if (more := len(view.look_alikes) - MAX_LOOK_ALIKES) > 0:
        lines.append(
            styled_line((f"{CURSOR_INDENT}{CURSOR_INDENT}not counted: {more} more", "muted"))
        )
    return lines


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line with the state and the instance count of each role."""
    if not snapshot.roles:
        return styled_line(("no role is configured", "muted"))
    spans: list[Span] = []
    for view in snapshot.roles:
        spans += [
            (f"{view.role.name} {view.instance_count}/{view.role.count} ", ""),
            role_state_label(view),
        ]
        spans.append(("  ", ""))
    return styled_line(*spans)


def _sort_instances(view: RoleView, sort_order: str) -> list[Instance]:
    """Return the role's instances in descending order of the figure that `sort_order` names.

    An instance whose figure is unknown comes last.
    """
    if not sort_order:
        return list(view.instances)
    if sort_order == "age":
        return sorted(view.instances, key=lambda instance: instance.root.started.tick)
    index = 0 if sort_order == "CPU" else 1

    def used(one: Instance) -> float:
        figure = view.usage.get(one.pid, (None, None))[index]
        return -1.0 if figure is None else figure

    return sorted(view.instances, key=used, reverse=True)


def _column_heads(context: PaneContext) -> StyledLine:
    up, cpu, memory = (
        f"{heading}{'▾' if context.sort_order == order else ''}"
        for heading, order in (("UP", "age"), ("CPU", "CPU"), ("MEM", "memory"))
    )
    headings = (
        f"  {pad_text('PID', 7, align_right=True)}{'':6}{pad_text(up, 7, align_right=True)}  "
    )
    headings += pad_text("HELD", _holder_cells(context.width))
    figures = f"{pad_text(cpu, 6, align_right=True)}{pad_text(memory, 6, align_right=True)}"
    command = "  COMMAND" if context.width >= 60 else ""
    return styled_line((f"{headings}{figures}{command}", "muted"))


def _holder_cells(width: int) -> int:
    return 24 if width >= 90 else 15


def _role_row(view: RoleView, now: Moment, context: PaneContext) -> StyledLine:
    state, style = role_state_label(view)
    unknown = view.state is RoleState.UNKNOWN
    count, matches = "?" if unknown else view.instance_count, view.instance_count == view.role.count
    lease = _lease_span(view)
    facts: list[Span] = [] if unknown else [_retry_span(view, now), _count_mismatch(view)]
    if lease[1] == "bad":
        facts.append(lease)
    policy = view.role.policy
    if view.restarts or view.state in (RoleState.BACKOFF, RoleState.PARKED):
        limit = f"restarts {view.restarts} of {policy.limit} in {format_duration(policy.window_s)}"
        facts.append((limit, "warn"))
    if view.restarts_total and not view.restarts:
        times = "once" if view.restarts_total == 1 else f"{view.restarts_total} times"
        facts.append((f"restarted {times}", "muted"))
    if view.reason and view.state is not RoleState.BACKOFF:
        facts.append((view.reason, "muted"))
    if lease[1] != "bad" and not unknown:
        facts.append(lease)
    spans: list[Span] = [
        (CURSOR_INDENT, "strong"),
        (pad_text(view.role.name, 12), "strong"),
        (pad_text(state, 11), style),
        (
            pad_text(f"{count}/{view.role.count}", 5),
            "unknown" if unknown else "ok" if matches else "bad",
        ),
    ]
    fitted = fit_facts(spans, facts, context.width)
    return StyledLine(tuple(fitted), row_key=Selection(view.role.name), is_item=True)


def _count_mismatch(view: RoleView) -> Span:
    """Return the number of surplus or missing instances, or an empty span if there are none."""
    if view.surplus:
        return (f"▲ {len(view.surplus)} too many: x", "warn")
    missing = view.role.count - view.instance_count
    return (f"▲ {missing} missing", "bad") if missing > 0 else ("", "")


def _lease_span(view: RoleView) -> Span:
    """Return the state of the lease if the instances' rows do not show it, or an empty span.

    That is: the lease is free and the role has no instance, the lease is held by a process that is
    not one of the instances, or its state is neither free nor held.
    """
    lease = view.lease
    if lease.state is LeaseState.FREE:
        return ("" if view.instances else "lease free", "muted")
    if lease.state is LeaseState.HELD:
        if any(instance.leased for instance in view.instances):
            return ("", "")
        holder = lease.owner.identity.pid if lease.owner else next(iter(lease.holders), "?")
        return (f"lease held by {holder}", "muted")
    return (f"lease {lease.state.value}{': ' + lease.reason if lease.reason else ''}", "bad")


def _retry_span(view: RoleView, now: Moment) -> Span:
    if view.state is RoleState.BACKOFF and view.retry_at:
        return (f"retry {format_until(now, view.retry_at)}", "warn")
    if view.state is RoleState.PARKED:
        return ("parked until a person acts: e", "bad")
    return ("", "")


def _instance_row(
    view: RoleView, instance: Instance, now: Moment, context: PaneContext
) -> StyledLine:
    cpu, memory = view.usage.get(instance.pid, (None, None))
    figure = "" if cpu is None else f"{cpu:.1f}%" if cpu < 10 else f"{cpu:.0f}%"
    holder, style = holder_label(view, instance)
    spans: list[Span] = [
        (CURSOR_INDENT, "strong"),
        (pad_text(instance.pid, 7, align_right=True), ""),
        (pad_text(_descendants_text(instance), 6), ""),
        (pad_text(format_coarse_duration(instance.uptime(now)), 7, align_right=True), ""),
        (pad_text(f"  {holder}", _holder_cells(context.width) + 2), style),
        (pad_text(figure, 6, align_right=True), ""),
        (pad_text("" if memory is None else format_size(memory), 6, align_right=True), ""),
    ]
    if context.width >= 60:
        spans += [("  ", ""), (_command_from_script(view, instance), "muted")]
    return StyledLine(
        tuple(spans), row_key=Selection(view.role.name, instance.identity), is_item=True
    )


def _command_from_script(view: RoleView, instance: Instance) -> str:
    """Return the command line from the role's script on, without the interpreter.

    If the script is not found in it, the whole command line is returned.
    """
    argv, script = instance.root.argv, PurePath(view.role.match).name
    for index, part in enumerate(argv):
        if script and PurePath(part).name == script:
            return " ".join((script, *argv[index + 1 :]))
    return instance.root.command


def _descendants_text(instance: Instance) -> str:
    """Return the PID of an only descendant of the root (`›PID`), or the number of descendants.

    Launcher › interpreter is one worker.
    """
    descendants = instance.pids[1:]
    only = f"›{descendants[0]}" if len(descendants) == 1 else ""
    return only if 0 < len(only) <= 6 else f" +{len(descendants)}" if descendants else ""


def _lost_selection_row(view: RoleView, lost_selection: Selection | None) -> list[StyledLine]:
    """Return a row for the selected instance if it has ended and belongs to this role.

    The selection stays on this row and never moves to another instance by itself.
    """
    if (
        lost_selection is None
        or lost_selection.identity is None
        or lost_selection.role != view.role.name
    ):
        return []
    pid = pad_text(lost_selection.identity.pid, 7, align_right=True)
    return [
        styled_line(
            (f"{CURSOR_INDENT}{pid}  selected, not there; choose again with ↑ ↓", "warn"),
            row_key=lost_selection,
        )
    ]


def _last_death_row(view: RoleView, now: Moment, width: int) -> list[StyledLine]:
    death = view.last_death
    if death is None:
        return []
    facts = (
        (death.reason, "warn" if now.since(death.moment) < 3600 else "muted"),
        (format_ago(now, death.moment), "muted"),
        (f"PID {death.identity.pid}" if death.identity else "", "muted"),
    )
    prefix = (f"    last death {format_clock(death.moment)}  ", "muted")
    return [styled_line(*fit_facts((prefix,), facts, width), is_item=True)]
