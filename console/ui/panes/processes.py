"""Found against wanted, every instance, who holds the lease, why the last one died."""

from __future__ import annotations

from pathlib import PurePath

from console.core.model import Instance, LeaseState, Moment, RoleState, RoleView, Snapshot
from console.core.text.formatting import clock, coarse, duration, size
from console.ui.render.state_labels import ago, held, look_alike_words, role_state, until
from console.ui.render.styled_lines import Choice, Frame, Line, Span, fit, line, whole

TITLE = "Processes"
KEY = "1"
SLOT = "left"
ROWS = (6, 6)
ROOM = "  "
"""For the cursor."""
ORDERS = ("", "age", "CPU", "memory")
"""What `o` sorts the instances of a role by, one after the other."""
HELP = (
    "One row for each role (state, found/wanted, restarts that the ledger knows of, who holds the "
    "lease) and one for each instance. An instance is a process tree: launcher > interpreter is "
    "one worker. `leased` was started here; `adopted` by somebody else; `launcher ended` is one "
    "that runs on without it, as a background job does; `surplus` is what x would end. o sorts the "
    "instances: as found, oldest first, by CPU, by memory; ▾ marks the column."
)


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """A block for each role."""
    if not snapshot.roles:
        return [line(("no role is configured", "muted"))]
    lines = [_heads(frame)] if frame.height >= ROWS[0] else []
    for role in snapshot.roles:
        lines.append(_role(role, snapshot.moment, frame))
        ranked = _ranked(role, frame.order)
        lines += [_instance(role, one, snapshot.moment, frame) for one in ranked]
        lines += _others(role, frame.width)
        lines += _gone(role, frame.lost)
        lines += _death(role, snapshot.moment, frame.width)
    return lines


MAX_OTHERS = 3
"""Processes named for each role that run its script and do not count."""


def _others(view: RoleView, width: int) -> list[Line]:
    """The processes that run the role's script and do not count, and why."""
    lines = [
        line((fit(f"{ROOM}{ROOM}not counted: {look_alike_words(one)}", width), "muted"))
        for one in view.others[:MAX_OTHERS]
    ]
    if (more := len(view.others) - MAX_OTHERS) > 0:
        lines.append(line((f"{ROOM}{ROOM}not counted: {more} more", "muted")))
    return lines


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """Each role's state and count."""
    if not snapshot.roles:
        return line(("no role is configured", "muted"))
    spans: list[Span] = []
    for view in snapshot.roles:
        spans += [(f"{view.role.name} {view.found}/{view.role.count} ", ""), role_state(view)]
        spans.append(("  ", ""))
    return line(*spans)


def _ranked(view: RoleView, order: str) -> list[Instance]:
    """The instances, the most of what is asked for first; what is not known comes last."""
    if not order:
        return list(view.instances)
    if order == "age":
        return sorted(view.instances, key=lambda one: one.root.started.tick)
    at = 0 if order == "CPU" else 1

    def used(one: Instance) -> float:
        figure = view.usage.get(one.pid, (None, None))[at]
        return -1.0 if figure is None else figure

    return sorted(view.instances, key=used, reverse=True)


def _heads(frame: Frame) -> Line:
    up, cpu, memory = (
        f"{head}{'▾' if frame.order == order else ''}"
        for head, order in (("UP", "age"), ("CPU", "CPU"), ("MEM", "memory"))
    )
    heads = f"  {fit('PID', 7, right=True)}{'':6}{fit(up, 7, right=True)}  "
    heads += fit("HELD", _held(frame.width))
    figures = f"{fit(cpu, 6, right=True)}{fit(memory, 6, right=True)}"
    command = "  COMMAND" if frame.width >= 60 else ""
    return line((f"{heads}{figures}{command}", "muted"))


def _held(width: int) -> int:
    return 24 if width >= 90 else 15


def _role(view: RoleView, now: Moment, frame: Frame) -> Line:
    state, style = role_state(view)
    blind = view.state is RoleState.UNKNOWN
    found, right = "?" if blind else view.found, view.found == view.role.count
    lease = _lease(view)
    facts: list[Span] = [] if blind else [_waiting(view, now), _count(view)]
    if lease[1] == "bad":
        facts.append(lease)
    policy = view.role.policy
    if view.restarts or view.state in (RoleState.BACKOFF, RoleState.PARKED):
        limit = f"restarts {view.restarts} of {policy.limit} in {duration(policy.window_s)}"
        facts.append((limit, "warn"))
    if view.restarts_total and not view.restarts:
        many = "once" if view.restarts_total == 1 else f"{view.restarts_total} times"
        facts.append((f"restarted {many}", "muted"))
    if view.reason and view.state is not RoleState.BACKOFF:
        facts.append((view.reason, "muted"))
    if lease[1] != "bad" and not blind:
        facts.append(lease)
    spans: list[Span] = [
        (ROOM, "strong"),
        (fit(view.role.name, 12), "strong"),
        (fit(state, 11), style),
        (fit(f"{found}/{view.role.count}", 5), "unknown" if blind else "ok" if right else "bad"),
    ]
    told = whole(spans, facts, frame.width)
    return Line(tuple(told), key=Choice(view.role.name), item=True)


def _count(view: RoleView) -> Span:
    """What is too many or too few, in words."""
    if view.surplus:
        return (f"▲ {len(view.surplus)} too many: x", "warn")
    missing = view.role.count - view.found
    return (f"▲ {missing} missing", "bad") if missing > 0 else ("", "")


def _lease(view: RoleView) -> Span:
    """What the instances' own rows do not say: that nobody holds it, or that somebody else does."""
    lease = view.lease
    if lease.state is LeaseState.FREE:
        return ("" if view.instances else "lease free", "muted")
    if lease.state is LeaseState.HELD:
        if any(one.leased for one in view.instances):
            return ("", "")
        holder = lease.owner.identity.pid if lease.owner else next(iter(lease.holders), "?")
        return (f"lease held by {holder}", "muted")
    return (f"lease {lease.state.value}{': ' + lease.reason if lease.reason else ''}", "bad")


def _waiting(view: RoleView, now: Moment) -> Span:
    if view.state is RoleState.BACKOFF and view.retry_at:
        return (f"retry {until(now, view.retry_at)}", "warn")
    if view.state is RoleState.PARKED:
        return ("parked until a person acts: e", "bad")
    return ("", "")


def _instance(view: RoleView, one: Instance, now: Moment, frame: Frame) -> Line:
    cpu, memory = view.usage.get(one.pid, (None, None))
    figure = "" if cpu is None else f"{cpu:.1f}%" if cpu < 10 else f"{cpu:.0f}%"
    word, style = held(view, one)
    spans: list[Span] = [
        (ROOM, "strong"),
        (fit(one.pid, 7, right=True), ""),
        (fit(_below(one), 6), ""),
        (fit(coarse(one.uptime(now)), 7, right=True), ""),
        (fit(f"  {word}", _held(frame.width) + 2), style),
        (fit(figure, 6, right=True), ""),
        (fit("" if memory is None else size(memory), 6, right=True), ""),
    ]
    if frame.width >= 60:
        spans += [("  ", ""), (_command(view, one), "muted")]
    return Line(tuple(spans), key=Choice(view.role.name, one.identity), item=True)


def _command(view: RoleView, one: Instance) -> str:
    """The command line from the script on: which interpreter it is matters less."""
    argv, script = one.root.argv, PurePath(view.role.match).name
    for index, part in enumerate(argv):
        if script and PurePath(part).name == script:
            return " ".join((script, *argv[index + 1 :]))
    return one.root.command


def _below(one: Instance) -> str:
    """What is below the root: launcher › interpreter is one worker."""
    rest = one.pids[1:]
    only = f"›{rest[0]}" if len(rest) == 1 else ""
    return only if 0 < len(only) <= 6 else f" +{len(rest)}" if rest else ""


def _gone(view: RoleView, lost: Choice | None) -> list[Line]:
    """The selected instance that is no more: said, never replaced by its neighbour."""
    if lost is None or lost.identity is None or lost.role != view.role.name:
        return []
    pid = fit(lost.identity.pid, 7, right=True)
    return [line((f"{ROOM}{pid}  selected, not there; choose again with ↑ ↓", "warn"), key=lost)]


def _death(view: RoleView, now: Moment, width: int) -> list[Line]:
    death = view.last_death
    if death is None:
        return []
    facts = (
        (death.reason, "warn" if now.since(death.moment) < 3600 else "muted"),
        (ago(now, death.moment), "muted"),
        (f"PID {death.identity.pid}" if death.identity else "", "muted"),
    )
    head = (f"    last death {clock(death.moment)}  ", "muted")
    return [line(*whole((head,), facts, width), item=True)]
