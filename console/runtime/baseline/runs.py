"""Starts and ends baseline runs, writes results, and invalidates a run if conditions change.

A run is a fact of the store, so it continues in any process. Starts and ends take a lock: two
simultaneous requests start one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from console.core.baseline import run_document
from console.core.baseline import thresholds as learning
from console.core.baseline.thresholds import Thresholds, learn_thresholds, parse_thresholds
from console.core.exit_codes import FAILURE, UNREADABLE
from console.core.metrics.time_series import sort_by_id
from console.core.model.commands import Outcome
from console.core.model.events import EventKind
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.model.views import BaselineView
from console.core.text.formatting import format_clock, format_utc
from console.core.text.json_values import as_list, as_object
from console.runtime.baseline.conditions import configured_targets, run_conditions
from console.runtime.baseline.facts import LAST_RUN_FACT, RUN_FACT
from console.runtime.baseline.threshold_file import thresholds_file_error
from console.system.box import Box
from console.system.config.loader import MAX_BYTES
from console.system.config.schema import Settings
from console.system.files.outside_files import write_atomically
from console.system.files.safe_files import FileError
from console.system.locks.command_lock import CommandLockTimeout, hold_command_lock
from console.system.locks.ofd_lock import LockFileError
from console.system.store.store import StoreError

MIN_HOURS, MAX_HOURS = 6.0, 8.0
LOCK_TIMEOUT_S = 5.0
SAMPLES_BEFORE_RUN_S = 600.0
"""Samples this many seconds before a run show the state at its start."""
MAX_EVENTS = 100_000


def measure_run(box: Box, run: object, now: Moment) -> tuple[BaselineView, list[Sample]]:
    """Return the view of a run and the samples within it. Raises StoreError.

    The view is computed from all samples and events that the store has of the run.
    """
    started = run_document.run_started_at(run)
    if started is None:
        return BaselineView(), []
    names = ("worker", "queue", "canary")
    before = started.plus(-SAMPLES_BEFORE_RUN_S)
    samples = sort_by_id(sample for name in names for sample in box.store.samples(name, before))
    events = box.store.events(limit=MAX_EVENTS, role="worker")
    view = run_document.current_view(
        run, None, samples, events, configured_targets(box.settings), now
    )
    return view, [sample for sample in samples if not started.later_than(sample.moment)]


# --- start and end --------------------------------------------------------------------------


def _run_locked(box: Box, operation: Callable[[], Outcome]) -> Outcome:
    """Run `operation` under the lock of baseline runs. Expected errors become a failure."""
    try:
        with hold_command_lock(
            box.paths.command_lock("baseline.run"), LOCK_TIMEOUT_S, lambda: None
        ):
            return operation()
    except (CommandLockTimeout, LockFileError, StoreError, FileError) as error:
        return Outcome(False, f"baseline: {error}", UNREADABLE)


def start(box: Box, actor: str, hours: float | None = None) -> Outcome:
    """Start a run, unless one is in progress."""

    def act() -> Outcome:
        if started := run_document.run_started_at(box.store.get_fact(RUN_FACT)):
            return Outcome(False, f"baseline: collecting since {format_clock(started)}", FAILURE)
        now, duration_h = box.now(), hours or box.settings.baseline.hours
        run = {"started": [now.at, now.tick, now.boot], "hours": duration_h}
        run["conditions"] = run_conditions(box.watched_config.reload_if_changed())
        box.store.set_fact(RUN_FACT, run)
        box.record(EventKind.BASELINE_STARTED, actor=actor, reason=f"{duration_h:g} h", data=run)
        checkpoint = format_clock(now.plus(duration_h * 3600))
        message = f"baseline: collecting for {duration_h:g} h, checkpoint {checkpoint}"
        return Outcome(True, message, changed=True)

    return _run_locked(box, act)


def stop(box: Box, actor: str) -> Outcome:
    """End the run now and keep its result."""
    return _run_locked(box, lambda: _finish(box, actor, "stopped"))


def cancel(box: Box, actor: str) -> Outcome:
    """End the run and keep nothing of it but the event."""

    def act() -> Outcome:
        run = as_object(box.store.get_fact(RUN_FACT))
        if run_document.run_started_at(run) is None:
            return _not_collecting()
        event_data = {key: value for key, value in run.items() if key != "conditions"}
        _record_end(box, run, actor, "cancelled", event_data)
        box.store.set_fact(RUN_FACT, None)
        return Outcome(True, "baseline: cancelled; nothing is kept of it", changed=True)

    return _run_locked(box, act)


def toggle(box: Box, actor: str) -> Outcome:
    """Start a run, or stop the one in progress, as the key binding does."""
    try:
        under_way = run_document.run_started_at(box.store.get_fact(RUN_FACT)) is not None
    except StoreError as error:
        return Outcome(False, f"baseline: {error}", UNREADABLE)
    return stop(box, actor) if under_way else start(box, actor)


def _not_collecting() -> Outcome:
    return Outcome(False, "baseline: none is being collected", FAILURE)


def _record_end(
    box: Box, run: Mapping[str, Any], actor: str, end_reason: str, event_data: object
) -> None:
    """Record the end of a run, unless it is recorded already.

    A process may have been killed between that event and the removal of the run.
    """
    events = box.store.events(kinds=(EventKind.BASELINE_ENDED,), limit=1)
    if not events or events[-1].data.get("started") != run["started"]:
        box.record(
            EventKind.BASELINE_ENDED, actor=actor, reason=end_reason, data=as_object(event_data)
        )


def _finish(box: Box, actor: str, end_reason: str) -> Outcome:
    """End the run. Write its result to the event log, to the store and to the disk."""
    _invalidate(box, box.watched_config.reload_if_changed())  # includes the newest changes
    run = as_object(box.store.get_fact(RUN_FACT))
    started, now = run_document.run_started_at(run), box.now()
    if started is None:
        return _not_collecting()
    view, samples = measure_run(box, run, now)
    finished = view.state == "complete"
    document = run_document.result_document(
        view, learn_thresholds(samples, started) if finished else None, now
    )
    event_data = {"started": run["started"], "hours": run.get("hours"), "result": document}
    conclusion = document["conclusion"]
    _record_end(box, run, actor, f"{end_reason}: {conclusion}", event_data)
    box.store.set_fact(LAST_RUN_FACT, event_data)
    box.store.set_fact(RUN_FACT, None)
    path = _write_result(box, document, passed=conclusion == "pass")
    return Outcome(True, f"baseline: {end_reason}: {conclusion}; written to {path}", changed=True)


# --- results on disk ------------------------------------------------------------------------


def results_directory(box: Box) -> Path:
    """Return the directory of the results of all runs."""
    return box.paths.state / "baselines"


def _write_result(box: Box, document: dict[str, Any], passed: bool) -> Path:
    import tomli_w

    stamp = str(document["started_at"]).replace(":", "").replace("-", "").partition(".")[0]
    path = results_directory(box) / f"{stamp}Z.toml"
    write_atomically(path, tomli_w.dumps(document))
    if passed:  # a failed run is no reference
        learned = {"baseline": path.name, "thresholds": document["thresholds"]}
        thresholds_path = box.paths.thresholds
        if thresholds_file_error(thresholds_path):
            thresholds_path.replace(thresholds_path.with_suffix(".damaged"))
        write_atomically(thresholds_path, tomli_w.dumps(learned))
    return path


def read_results(box: Box) -> list[tuple[str, object]]:
    """Return (name, document) of every run on the disk, oldest first.

    The document is None if it cannot be read.
    """
    paths = sorted(results_directory(box).glob("*.toml"))
    return [(path.stem, read_toml(path)) for path in paths]


def read_toml(path: Path) -> object:
    """Return a TOML document, or None if it cannot be read."""
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(MAX_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def learned_thresholds(box: Box) -> Thresholds | None:
    """Return the thresholds learned from the last passed run.

    None if no run has passed, or the file cannot be read.
    """
    document = read_toml(box.paths.thresholds)
    return parse_thresholds(document) if document is not None else None


def effective_thresholds(box: Box) -> Thresholds | None:
    """Return the thresholds in force: settings take precedence over learned values."""
    queue, canary = box.settings.monitors.queue, box.settings.monitors.canary
    return learning.effective_thresholds(
        learned_thresholds(box),
        queue.success_rate,
        canary.slow_s,
        queue.warn_above,
        queue.fail_above,
    )


# --- update by the daemon -------------------------------------------------------------------


def update_run(box: Box) -> None:
    """Invalidate the run if a condition has changed, and end it if it is over. Raises StoreError.

    The daemon calls this at each check of the alerts. A change invalidates the whole run, also if
    it is reverted: half a run under each condition proves neither. Both the settings in the file
    and those in force in this process count.
    """
    run = box.store.get_fact(RUN_FACT)
    started = run_document.run_started_at(run)
    if started is None:
        return
    if _changed_conditions(
        run, *(current_settings := (box.settings, box.watched_config.reload_if_changed()))
    ):
        _run_locked(box, lambda: _invalidate(box, *current_settings))
    if (
        box.now().since(started)
        >= run_document.run_targets(run, configured_targets(box.settings)).length_s
    ):
        _run_locked(box, lambda: _finish(box, "daemon", "complete"))


def _changed_conditions(run: object, *current_settings: Settings) -> list[str]:
    """Return the changes since the run started that are not recorded yet."""
    conditions = as_object(as_object(run).get("conditions"))
    recorded = set(map(str, as_list(as_object(run).get("spoilt"))))
    changes = (
        change
        for settings in current_settings
        for change in run_document.describe_changes(conditions, run_conditions(settings))
    )
    return [change for change in dict.fromkeys(changes) if conditions and change not in recorded]


def _invalidate(box: Box, *current_settings: Settings) -> Outcome:
    run = as_object(box.store.get_fact(RUN_FACT))
    if changes := _changed_conditions(run, *current_settings):
        box.store.set_fact(RUN_FACT, {**run, "spoilt": [*as_list(run.get("spoilt")), *changes]})
        event_data = {"started": format_utc(run_document.run_started_at(run)), "changed": changes}
        message = f"the baseline is invalid: {'; '.join(changes)}"[:1000]
        box.record(EventKind.NOTICED, actor="daemon", reason=message, data=event_data)
    return Outcome(True, "baseline: looked at")
