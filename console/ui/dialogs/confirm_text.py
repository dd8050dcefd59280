"""The questions of the confirmation dialog: their facts, and checks that they are still valid."""

from __future__ import annotations

from collections.abc import Callable

from console.core.model.processes import Identity, Instance
from console.core.model.roles import RoleState
from console.core.model.snapshot import Snapshot
from console.core.model.views import RoleView
from console.core.processes.instances import DETACHED_CHILDREN_WARNING
from console.core.records import Record
from console.core.text.formatting import format_clock, format_coarse_duration, format_duration
from console.ui.render.state_labels import age_by_now, holder_label
from console.ui.render.styled_lines import Selection, StyledLine, pad_text, styled_line

WORKER_ROLE = "worker"
"""The role whose tasks are in flight, and whose restarts the baseline counts."""


class Question(Record, frozen=True):
    """The content of a confirmation dialog."""

    title: str
    lines: tuple[StyledLine, ...]
    verb: str
    invalid_reason: Callable[[Snapshot], str]
    """Return why the question is no longer valid for a snapshot; "" if it is valid."""
    required_word: str = ""
    """The word that has to be typed to confirm; "": `y` confirms."""


def default_selection(snapshot: Snapshot) -> Selection | None:
    """Return the initial selection: the first instance of the first role, or that role itself.

    None if no role is configured.
    """
    if not snapshot.roles:
        return None
    view = snapshot.roles[0]
    return Selection(view.role.name, view.instances[0].identity if view.instances else None)


def selected_instance(
    snapshot: Snapshot, selection: Selection | None
) -> tuple[RoleView, Instance] | str:
    """Return the selected instance with its role, or the reason why there is none.

    A selected role with exactly one instance means that instance.
    """
    view = snapshot.role(selection.role) if selection else None
    if selection is None or view is None:
        return "nothing is selected: choose with ↑ ↓ in the processes pane"
    if selection.identity is None:
        if len(view.instances) == 1:
            return view, view.instances[0]
        if not view.instances:
            return f"{selection.role} has no instance that could be ended: e starts one"
        return f"{selection.role} has {view.instance_count} instances: choose one with ↑ ↓"
    for instance in view.instances:
        if instance.identity == selection.identity:
            return view, instance
    return f"the selected {selection.role} {selection.identity.pid} is gone: choose again with ↑ ↓"


def restart_question(snapshot: Snapshot, view: RoleView, instance: Instance) -> Question:
    """Return the question before a restart."""
    grace = format_duration(view.role.grace_s)
    return Question(
        f"Restart {view.role.name} {instance.pid}?",
        (
            *_target_facts(snapshot, view, instance),
            _fact_line("how", f"asked to end; after {grace} the whole tree is killed"),
            _fact_line("then", f"a fresh {view.role.name} is started"),
            *_cost_facts(snapshot, view),
            _fact_line("command", instance.root.command, "muted"),
        ),
        "restart",
        _check_same_instance(view.role.name, instance.identity),
    )


def kill_question(snapshot: Snapshot, view: RoleView, instance: Instance) -> Question:
    """Return the question before a kill.

    If the role is healthy, its name has to be typed, even if other instances go on.
    """
    healthy = view.state in (RoleState.READY, RoleState.RUNNING)
    others = len(view.instances) - 1
    is_last = not others
    consequence = (
        "no instance is left" if is_last else f"{others} other{'s go' * (others > 1) or ' goes'} on"
    )
    return Question(
        f"Kill {view.role.name} {instance.pid}?",
        (
            *_target_facts(snapshot, view, instance),
            _fact_line(
                "how",
                f"asked to end; after {format_duration(view.role.grace_s)} the tree is killed",
            ),
            _fact_line("then", consequence, "warn" if is_last else ""),
            *_cost_facts(snapshot, view),
            _fact_line("command", instance.root.command, "muted"),
        ),
        "kill",
        _check_same_instance(view.role.name, instance.identity),
        view.role.name if healthy else "",
    )


def end_duplicates_question(snapshot: Snapshot, view: RoleView) -> Question:
    """Return the question before surplus instances are ended: which end, and which stay."""
    surplus = set(view.surplus)
    lines = []
    for instance in view.instances:
        ends = instance.identity in surplus
        verdict = ("ends   ", "bad") if ends else ("stays  ", "ok")
        lines.append(styled_line(verdict, *_describe_instance(snapshot, view, instance)))
    rule = f"the rule keeps the {view.role.keep}; wanted: {view.role.count}"
    return Question(
        f"End {len(surplus)} surplus of {view.role.name}?",
        (
            *lines,
            styled_line(),
            _fact_line("why", rule),
            *_cost_facts(snapshot, view, restarts=False),
        ),
        "end them",
        _check_same_surplus(view),
    )


def stop_baseline_question(snapshot: Snapshot) -> Question:
    """Return the question before a running baseline is stopped."""
    base = snapshot.baseline
    share = "?" if base.progress is None else f"{base.progress * 100:.0f} %"
    age = format_coarse_duration(snapshot.moment.since(base.started)) if base.started else "?"
    return Question(
        "Stop the baseline?",
        (
            _fact_line("ends", f"a collection at {share}, {age} after it began"),
            _fact_line("then", "it gives no verdict; a new one begins at nought", "warn"),
            _fact_line("so far", _verdict_counts(snapshot)),
        ),
        "stop it",
        lambda now: "" if now.baseline.state == "collecting" else "it is no longer collecting",
    )


def _verdict_counts(snapshot: Snapshot) -> str:
    verdicts = [metric.verdict for metric in snapshot.baseline.metrics]
    counts = (f"{verdicts.count(word)} {word}" for word in ("fail", "undecided", "pass"))
    return ", ".join(text for text in counts if not text.startswith("0 ")) or "nothing"


def _fact_line(name: str, text: str, style: str = "") -> StyledLine:
    return styled_line((pad_text(name, 10), "muted"), (text, style))


def _describe_instance(
    snapshot: Snapshot, view: RoleView, instance: Instance
) -> list[tuple[str, str]]:
    up = format_coarse_duration(instance.uptime(snapshot.moment))
    started = format_clock(instance.root.started)
    return [
        (f"PID {instance.pid}", "strong"),
        (f"  up {up}  ", ""),
        holder_label(view, instance),
        (f"  started {started}", "muted"),
    ]


def _target_facts(snapshot: Snapshot, view: RoleView, instance: Instance) -> list[StyledLine]:
    tree = " › ".join(map(str, instance.pids[:6])) + (" …" if len(instance.pids) > 6 else "")
    count = len(instance.pids)
    facts = [
        styled_line((pad_text("ends", 10), "muted"), *_describe_instance(snapshot, view, instance)),
        _fact_line("tree", f"{tree}  ({count} process{'es' if count > 1 else ''})"),
    ]
    return (
        facts
        if instance.token is not None
        else [*facts, _fact_line("but not", DETACHED_CHILDREN_WARNING)]
    )


def _cost_facts(snapshot: Snapshot, view: RoleView, restarts: bool = True) -> list[StyledLine]:
    """Return the costs of a command: tasks in flight, restart budget, the baseline's verdict."""
    lines = []
    if view.role.name == WORKER_ROLE:
        lines.append(_in_flight_fact(snapshot))
    if restarts:
        lines.append(_fact_line("restarts", _restart_budget(view)))
    return [*lines, _baseline_fact(snapshot, view, restarts)]


def _restart_budget(view: RoleView) -> str:
    """Return the used part of the automatic restarts.

    An `ensure` or `restart` by a person resets the count.
    """
    policy, count = view.role.policy, view.automatic_restarts
    window = format_duration(policy.window_s)
    if count > view.restarts:
        since = f"{view.restarts} of {policy.limit} since a person last took charge"
        return f"{count} automatic ones in {window}, {since}"
    used = f"{view.restarts} of {policy.limit} automatic ones in {window}"
    return f"{used}; what a person asks for does not count"


def _in_flight_fact(snapshot: Snapshot) -> StyledLine:
    queue = snapshot.queue
    if queue.inflight is None:
        return _fact_line("in flight", "not known: the queue gives no answer", "warn")
    if not queue.inflight:
        return _fact_line("in flight", "nothing: no task is lost")
    held_s = age_by_now(queue.lease_s, queue.seen, snapshot.moment)
    age = f", taken {format_coarse_duration(held_s)} ago" if held_s is not None else ""
    several = queue.inflight > 1
    count = f"{queue.inflight} task{'s' * several}"
    task = f", {'the oldest ' * several}{queue.lease_task}" if queue.lease_task else ""
    return _fact_line("in flight", f"{count}{task}{age}: cut off, and done again or lost", "warn")


def _baseline_fact(snapshot: Snapshot, view: RoleView, restarts: bool) -> StyledLine:
    """Return the effect of the command on the baseline."""
    base = snapshot.baseline
    if base.state != "collecting":
        return _fact_line("baseline", f"{base.state}: nothing to lose")
    share = "" if base.progress is None else f" ({base.progress * 100:.0f} %)"
    if not restarts or view.role.name != WORKER_ROLE:
        return _fact_line("baseline", f"collecting{share}: goes on, this does not count")
    metric = next((item for item in base.metrics if item.name == "restarts"), None)
    allowed = metric.target.rpartition(" ")[2] if metric else ""
    if metric is None or not allowed.isdecimal():
        return _fact_line("baseline", f"collecting{share}: a restart counts against it", "warn")
    after = int(metric.value or 0) + 1
    if metric.verdict == "fail":
        return _fact_line("baseline", f"collecting{share}: its restarts have failed it already")
    if after > int(allowed):
        loss = f"will fail: {after} restart{'s' if after > 1 else ''} where {allowed} may be"
        return _fact_line("baseline", f"collecting{share}: {loss}", "warn")
    return _fact_line("baseline", f"collecting{share}: still passes, {after} of {allowed} restarts")


def _check_same_instance(role: str, target: Identity) -> Callable[[Snapshot], str]:
    def still(now: Snapshot) -> str:
        view = now.role(role)
        instances = view.instances if view else ()
        if any(instance.identity == target for instance in instances):
            return ""
        others = ", ".join(str(instance.pid) for instance in instances)
        return f"{role} {target.pid} is gone" + (f"; now {others} runs" if others else "")

    return still


def _check_same_surplus(view: RoleView) -> Callable[[Snapshot], str]:
    shown = {instance.identity for instance in view.instances}, set(view.surplus)

    def still(now: Snapshot) -> str:
        current = now.role(view.role.name)
        instances = current.instances if current else ()
        surplus = set(current.surplus) if current else set()
        same = ({instance.identity for instance in instances}, surplus) == shown
        return "" if same else f"the instances of {view.role.name} have changed meanwhile"

    return still
