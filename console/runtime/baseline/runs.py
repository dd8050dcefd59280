"""Baselines, kept: starting and ending a run, what it leaves on the disk, what spoils it.

A run is a fact of the store, so it goes on in whatever process looks next. Beginnings and ends
are decided under one lock: two keys pressed at once start one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from console.core.baseline import run_document
from console.core.baseline import thresholds as learning
from console.core.baseline.thresholds import Thresholds, learn, thresholds
from console.core.exit_codes import FAILURE, UNREADABLE
from console.core.metrics.time_series import in_order
from console.core.model import BaselineView, EventKind, Moment, Outcome, Sample
from console.core.text.formatting import clock, utc
from console.core.text.json_values import as_list, table
from console.runtime.baseline.conditions import conditions, targets
from console.runtime.baseline.facts import LAST_RUN, RUN
from console.runtime.baseline.threshold_file import mistake
from console.system.box import Box
from console.system.config.loader import MAX_BYTES
from console.system.config.schema import Settings
from console.system.files.outside_files import write_atomically
from console.system.files.safe_files import FileError
from console.system.locks.command_lock import Busy, decision
from console.system.locks.ofd_lock import LeaseError
from console.system.store.store import StoreError

FEWEST_HOURS, MOST_HOURS = 6.0, 8.0
PATIENCE_S = 5.0
BEFORE_S = 600.0
"""Samples from shortly before a run tell what held as it began."""
EVENTS = 100_000


def measured(box: Box, run: object, now: Moment) -> tuple[BaselineView, list[Sample]]:
    """A run by everything that the store has of it, and the samples within. Raises StoreError."""
    began = run_document.began(run)
    if began is None:
        return BaselineView(), []
    names = ("worker", "queue", "canary")
    before = began.plus(-BEFORE_S)
    samples = in_order(one for name in names for one in box.store.samples(name, before))
    events = box.store.events(limit=EVENTS, role="worker")
    view = run_document.shown(run, None, samples, events, targets(box.settings), now)
    return view, [one for one in samples if not began.later_than(one.moment)]


# --- beginning and ending -------------------------------------------------------------------


def _decided(box: Box, act: Callable[[], Outcome]) -> Outcome:
    """Carry out under the lock; what goes wrong becomes a clear word."""
    try:
        with decision(box.paths.decision("baseline.run"), PATIENCE_S, lambda: None):
            return act()
    except (Busy, LeaseError, StoreError, FileError) as error:
        return Outcome(False, f"baseline: {error}", UNREADABLE)


def start(box: Box, actor: str, hours: float | None = None) -> Outcome:
    """Start a run, unless one is under way."""

    def act() -> Outcome:
        if began := run_document.began(box.store.get(RUN)):
            return Outcome(False, f"baseline: collecting since {clock(began)}", FAILURE)
        now, length = box.now(), hours or box.settings.baseline.hours
        run = {"started": [now.at, now.tick, now.boot], "hours": length}
        run["conditions"] = conditions(box.configured.look())
        box.store.put(RUN, run)
        box.record(EventKind.BASELINE_STARTED, "", actor, f"{length:g} h", None, None, run)
        checkpoint = clock(now.plus(length * 3600))
        words = f"baseline: collecting for {length:g} h, checkpoint {checkpoint}"
        return Outcome(True, words, changed=True)

    return _decided(box, act)


def stop(box: Box, actor: str) -> Outcome:
    """End the run now and keep what it has shown."""
    return _decided(box, lambda: _close(box, actor, "stopped"))


def cancel(box: Box, actor: str) -> Outcome:
    """End the run and keep nothing of it but the ledger's line."""

    def act() -> Outcome:
        run = table(box.store.get(RUN))
        if run_document.began(run) is None:
            return _none()
        about = {key: value for key, value in run.items() if key != "conditions"}
        _tell_end(box, run, actor, "cancelled", about)
        box.store.put(RUN, None)
        return Outcome(True, "baseline: cancelled; nothing is kept of it", changed=True)

    return _decided(box, act)


def toggle(box: Box, actor: str) -> Outcome:
    """Start a run, or stop the one under way: what the key does."""
    try:
        under_way = run_document.began(box.store.get(RUN)) is not None
    except StoreError as error:
        return Outcome(False, f"baseline: {error}", UNREADABLE)
    return stop(box, actor) if under_way else start(box, actor)


def _none() -> Outcome:
    return Outcome(False, "baseline: none is being collected", FAILURE)


def _tell_end(box: Box, run: Mapping[str, Any], actor: str, how: str, about: object) -> None:
    """Write a run's end, unless whoever wrote it was killed before the run was put away."""
    told = box.store.events(kinds=(EventKind.BASELINE_ENDED,), limit=1)
    if not told or told[-1].data.get("started") != run["started"]:
        box.record(EventKind.BASELINE_ENDED, "", actor, how, None, None, table(about))


def _close(box: Box, actor: str, how: str) -> Outcome:
    """End the run with its result in the ledger, in the store and on the disk."""
    _spoil(box, box.configured.look())  # what has changed a moment ago, too
    run = table(box.store.get(RUN))
    began, now = run_document.began(run), box.now()
    if began is None:
        return _none()
    view, samples = measured(box, run, now)
    finished = view.state == "complete"
    document = run_document.result(view, learn(samples, began) if finished else None, now)
    about = {"started": run["started"], "hours": run.get("hours"), "result": document}
    word = document["conclusion"]
    _tell_end(box, run, actor, f"{how}: {word}", about)
    box.store.put(LAST_RUN, about)
    box.store.put(RUN, None)
    path = _write(box, document, learnt=word == "pass")
    return Outcome(True, f"baseline: {how}: {word}; written to {path}", changed=True)


# --- on the disk ----------------------------------------------------------------------------


def directory(box: Box) -> Path:
    """Where the results of all runs are."""
    return box.paths.state / "baselines"


def _write(box: Box, document: dict[str, Any], learnt: bool) -> Path:
    import tomli_w

    stamp = str(document["started_at"]).replace(":", "").replace("-", "").partition(".")[0]
    path = directory(box) / f"{stamp}Z.toml"
    write_atomically(path, tomli_w.dumps(document))
    if learnt:  # what failed is no example of how things should be
        known = {"baseline": path.name, "thresholds": document["thresholds"]}
        place = box.paths.thresholds
        if mistake(place):
            place.replace(place.with_suffix(".damaged"))
        write_atomically(place, tomli_w.dumps(known))
    return path


def history(box: Box) -> list[tuple[str, object]]:
    """(name, document) of every run on the disk, oldest first; None for one that is unreadable."""
    paths = sorted(directory(box).glob("*.toml"))
    return [(path.stem, read(path)) for path in paths]


def read(path: Path) -> object:
    """A TOML document, or None when it cannot be read."""
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(MAX_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def learnt(box: Box) -> Thresholds | None:
    """What the last good run has taught; None where none has passed yet, or nobody can read it."""
    document = read(box.paths.thresholds)
    return thresholds(document) if document is not None else None


def in_force(box: Box) -> Thresholds | None:
    """The thresholds that count: settings win over what was learnt."""
    queue, canary = box.settings.monitors.queue, box.settings.monitors.canary
    return learning.in_force(
        learnt(box), queue.success_rate, canary.slow_s, queue.warn_above, queue.fail_above
    )


# --- the daemon's part ----------------------------------------------------------------------


def attend(box: Box) -> None:
    """Once a look: is the run spoilt by a change, is it over? Raises StoreError.

    A change spoils the whole run, whatever was changed and even if it is changed back: half a run
    under each proves neither. What counts is the file, and what we who measure go by.
    """
    run = box.store.get(RUN)
    began = run_document.began(run)
    if began is None:
        return
    if _spoilt(run, *(both := (box.settings, box.configured.look()))):
        _decided(box, lambda: _spoil(box, *both))
    if box.now().since(began) >= run_document.targets(run, targets(box.settings)).length_s:
        _decided(box, lambda: _close(box, "daemon", "complete"))


def _spoilt(run: object, *now: Settings) -> list[str]:
    """What has changed since the run began and has not been told yet."""
    known = table(table(run).get("conditions"))
    told = set(map(str, as_list(table(run).get("spoilt"))))
    found = (one for settings in now for one in run_document.changed(known, conditions(settings)))
    return [one for one in dict.fromkeys(found) if known and one not in told]


def _spoil(box: Box, *now: Settings) -> Outcome:
    run = table(box.store.get(RUN))
    if found := _spoilt(run, *now):
        box.store.put(RUN, {**run, "spoilt": [*as_list(run.get("spoilt")), *found]})
        about = {"started": utc(run_document.began(run)), "changed": found}
        words = f"the baseline is invalid: {'; '.join(found)}"[:1000]
        box.record(EventKind.NOTICED, "", "daemon", words, None, None, about)
    return Outcome(True, "baseline: looked at")
