"""What an answer of yes would do, in words, and whether the question still stands."""

from __future__ import annotations

from collections.abc import Callable

from console.core.frozen import frozen
from console.core.model import Identity, Instance, RoleState, RoleView, Snapshot
from console.core.processes.instances import CUT_LOOSE
from console.core.text.formatting import clock, coarse, duration
from console.ui.render.state_labels import by_now, held
from console.ui.render.styled_lines import Choice, Line, fit, line

ROLE = "worker"
"""Whose tasks are in flight, and whose restarts the baseline counts."""


@frozen
class Question:
    """A dialog's content."""

    title: str
    lines: tuple[Line, ...]
    verb: str
    still: Callable[[Snapshot], str]
    """Why the question no longer stands, or nothing."""
    word: str = ""
    """What has to be typed to confirm; nothing: `y` confirms."""


def first(snapshot: Snapshot) -> Choice | None:
    """What is selected before the operator selects: the first role's first instance, or itself."""
    if not snapshot.roles:
        return None
    view = snapshot.roles[0]
    return Choice(view.role.name, view.instances[0].identity if view.instances else None)


def chosen(snapshot: Snapshot, choice: Choice | None) -> tuple[RoleView, Instance] | str:
    """The instance that a choice means, or why there is none."""
    view = snapshot.role(choice.role) if choice else None
    if choice is None or view is None:
        return "nothing is selected: choose with ↑ ↓ in the processes pane"
    if choice.identity is None:
        if len(view.instances) == 1:
            return view, view.instances[0]
        if not view.instances:
            return f"{choice.role} has no instance that could be ended: e starts one"
        return f"{choice.role} has {view.found} instances: choose one with ↑ ↓"
    for instance in view.instances:
        if instance.identity == choice.identity:
            return view, instance
    return f"the selected {choice.role} {choice.identity.pid} is gone: choose again with ↑ ↓"


def restart(snapshot: Snapshot, view: RoleView, instance: Instance) -> Question:
    """Before a restart."""
    grace = duration(view.role.grace_s)
    return Question(
        f"Restart {view.role.name} {instance.pid}?",
        (
            *_what(snapshot, view, instance),
            _fact("how", f"asked to end; after {grace} the whole tree is killed"),
            _fact("then", f"a fresh {view.role.name} is started"),
            *_cost(snapshot, view),
            _fact("command", instance.root.command, "muted"),
        ),
        "restart",
        _same(view.role.name, instance.identity),
    )


def kill(snapshot: Snapshot, view: RoleView, instance: Instance) -> Question:
    """Before a kill; a healthy one wants its role's name typed, also when others are left."""
    healthy = view.state in (RoleState.READY, RoleState.RUNNING)
    others = len(view.instances) - 1
    last = not others
    left = "no instance is left" if last else f"{others} other{'s go' * (others > 1) or ' goes'} on"
    return Question(
        f"Kill {view.role.name} {instance.pid}?",
        (
            *_what(snapshot, view, instance),
            _fact("how", f"asked to end; after {duration(view.role.grace_s)} the tree is killed"),
            _fact("then", left, "warn" if last else ""),
            *_cost(snapshot, view),
            _fact("command", instance.root.command, "muted"),
        ),
        "kill",
        _same(view.role.name, instance.identity),
        view.role.name if healthy else "",
    )


def duplicates(snapshot: Snapshot, view: RoleView) -> Question:
    """Before the surplus is ended: which end, and which stay."""
    surplus = set(view.surplus)
    lines = []
    for instance in view.instances:
        ends = instance.identity in surplus
        verdict = ("ends   ", "bad") if ends else ("stays  ", "ok")
        lines.append(line(verdict, *_describe(snapshot, view, instance)))
    rule = f"the rule keeps the {view.role.keep}; wanted: {view.role.count}"
    return Question(
        f"End {len(surplus)} surplus of {view.role.name}?",
        (*lines, line(), _fact("why", rule), *_cost(snapshot, view, restarts=False)),
        "end them",
        _same_surplus(view),
    )


def stop_baseline(snapshot: Snapshot) -> Question:
    """Before a baseline under way is stopped."""
    base = snapshot.baseline
    share = "?" if base.progress is None else f"{base.progress * 100:.0f} %"
    age = coarse(snapshot.moment.since(base.started)) if base.started else "?"
    return Question(
        "Stop the baseline?",
        (
            _fact("ends", f"a collection at {share}, {age} after it began"),
            _fact("then", "it gives no verdict; a new one begins at nought", "warn"),
            _fact("so far", _so_far(snapshot)),
        ),
        "stop it",
        lambda now: "" if now.baseline.state == "collecting" else "it is no longer collecting",
    )


def _so_far(snapshot: Snapshot) -> str:
    told = [one.verdict for one in snapshot.baseline.metrics]
    counts = (f"{told.count(word)} {word}" for word in ("fail", "undecided", "pass"))
    return ", ".join(text for text in counts if not text.startswith("0 ")) or "nothing"


def _fact(name: str, text: str, style: str = "") -> Line:
    return line((fit(name, 10), "muted"), (text, style))


def _describe(snapshot: Snapshot, view: RoleView, instance: Instance) -> list[tuple[str, str]]:
    up = coarse(instance.uptime(snapshot.moment))
    started = clock(instance.root.started)
    return [
        (f"PID {instance.pid}", "strong"),
        (f"  up {up}  ", ""),
        held(view, instance),
        (f"  started {started}", "muted"),
    ]


def _what(snapshot: Snapshot, view: RoleView, instance: Instance) -> list[Line]:
    tree = " › ".join(map(str, instance.pids[:6])) + (" …" if len(instance.pids) > 6 else "")
    count = len(instance.pids)
    facts = [
        line((fit("ends", 10), "muted"), *_describe(snapshot, view, instance)),
        _fact("tree", f"{tree}  ({count} process{'es' if count > 1 else ''})"),
    ]
    return facts if instance.token is not None else [*facts, _fact("but not", CUT_LOOSE)]


def _cost(snapshot: Snapshot, view: RoleView, restarts: bool = True) -> list[Line]:
    """What goes with it: work under way, the restart budget, the baseline's verdict."""
    lines = []
    if view.role.name == ROLE:
        lines.append(_in_flight(snapshot))
    if restarts:
        lines.append(_fact("restarts", _used(view)))
    return [*lines, _baseline(snapshot, view, restarts)]


def _used(view: RoleView) -> str:
    """What is left of the automatic restarts: an ensure or restart by a person begins anew."""
    policy, count = view.role.policy, view.automatic
    window = duration(policy.window_s)
    if count > view.restarts:
        since = f"{view.restarts} of {policy.limit} since a person last took charge"
        return f"{count} automatic ones in {window}, {since}"
    used = f"{view.restarts} of {policy.limit} automatic ones in {window}"
    return f"{used}; what a person asks for does not count"


def _in_flight(snapshot: Snapshot) -> Line:
    queue = snapshot.queue
    if queue.inflight is None:
        return _fact("in flight", "not known: the queue gives no answer", "warn")
    if not queue.inflight:
        return _fact("in flight", "nothing: no task is lost")
    held_s = by_now(queue.lease_s, queue.seen, snapshot.moment)
    age = f", taken {coarse(held_s)} ago" if held_s is not None else ""
    several = queue.inflight > 1
    count = f"{queue.inflight} task{'s' * several}"
    which = f", {'the oldest ' * several}{queue.lease_task}" if queue.lease_task else ""
    return _fact("in flight", f"{count}{which}{age}: cut off, and done again or lost", "warn")


def _baseline(snapshot: Snapshot, view: RoleView, restarts: bool) -> Line:
    """What the baseline will say afterwards."""
    base = snapshot.baseline
    if base.state != "collecting":
        return _fact("baseline", f"{base.state}: nothing to lose")
    share = "" if base.progress is None else f" ({base.progress * 100:.0f} %)"
    if not restarts or view.role.name != ROLE:
        return _fact("baseline", f"collecting{share}: goes on, this does not count")
    metric = next((one for one in base.metrics if one.name == "restarts"), None)
    allowed = metric.target.rpartition(" ")[2] if metric else ""
    if metric is None or not allowed.isdecimal():
        return _fact("baseline", f"collecting{share}: a restart counts against it", "warn")
    after = int(metric.value or 0) + 1
    if metric.verdict == "fail":
        return _fact("baseline", f"collecting{share}: its restarts have failed it already")
    if after > int(allowed):
        loss = f"will fail: {after} restart{'s' if after > 1 else ''} where {allowed} may be"
        return _fact("baseline", f"collecting{share}: {loss}", "warn")
    return _fact("baseline", f"collecting{share}: still passes, {after} of {allowed} restarts")


def _same(role: str, target: Identity) -> Callable[[Snapshot], str]:
    def still(now: Snapshot) -> str:
        view = now.role(role)
        instances = view.instances if view else ()
        if any(instance.identity == target for instance in instances):
            return ""
        others = ", ".join(str(instance.pid) for instance in instances)
        return f"{role} {target.pid} is gone" + (f"; now {others} runs" if others else "")

    return still


def _same_surplus(view: RoleView) -> Callable[[Snapshot], str]:
    shown = {instance.identity for instance in view.instances}, set(view.surplus)

    def still(now: Snapshot) -> str:
        current = now.role(view.role.name)
        instances = current.instances if current else ()
        surplus = set(current.surplus) if current else set()
        same = ({instance.identity for instance in instances}, surplus) == shown
        return "" if same else f"the instances of {view.role.name} have changed meanwhile"

    return still
