"""Baseline runs over a real store and real files, with hours of samples written at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from console.core.baseline.run_document import run_started_at
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.monitors import discover_monitors
from console.runtime import commands
from console.runtime.baseline import runs
from console.runtime.baseline.conditions import run_conditions
from console.runtime.snapshots.store_view import StoreView
from console.system.box import Box, open_box
from console.system.config.loader import load
from console.system.config.schema import Baseline, Monitors, RoleSettings, Settings, Worker

EVERY_S = 60.0


def settings(**baseline: Any) -> Settings:
    return Settings(
        baseline=Baseline(**baseline), monitors=Monitors(worker=Worker(every_s=EVERY_S))
    )


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(settings(), tmp_path / "state") as box:
        yield box


def past(box: Box, hours: float, bad: int = 0) -> Moment:
    """Store a run that was started `hours` ago and the samples since. Return its start."""
    start = box.now().plus(-hours * 3600)
    run = {"started": [start.at, start.tick, start.boot], "hours": 6.0}
    box.store.set_fact(runs.RUN_FACT, {**run, "conditions": run_conditions(box.settings)})
    samples = []
    for index in range(int(hours * 3600 / 10) + 1):
        moment = start.plus(10 * index)
        data: dict[str, Any] = {"size": 1, "successful": index, "failed": 0, "problem": None}
        samples.append(Sample("queue", moment, {**data, "failed": index * bad}))
        if index % 6 == 0:
            samples.append(Sample("worker", moment, {"instances": [{"pid": 7}]}))
        if index % 180 == 0:
            samples.append(Sample("canary", moment, {"ok": True, "latency_s": 0.3}))
    box.store.add_samples(samples)
    return start


def ended(box: Box) -> dict[str, Any]:
    (event,) = [e for e in box.store.events() if e.kind is EventKind.BASELINE_ENDED]
    return {"actor": event.actor, "reason": event.reason, **event.data}


def test_second_start_is_refused_during_a_run(box: Box) -> None:
    first = runs.start(box, "cli:ana", 7.5)
    assert first.changed and "collecting for 7.5 h" in first.message
    second = runs.start(box, "cli:bo")
    assert (second.done, second.code) == (False, 1) and "since" in second.message
    run = box.store.get_fact(runs.RUN_FACT)
    assert run["hours"] == 7.5 and run["conditions"]["baseline.latency_s"] == 5.0
    assert "baseline.hours" not in run["conditions"]


def test_concurrent_starts_begin_one_run(tmp_path: Path, box: Box) -> None:
    def start(_: int) -> bool:
        with open_box(settings(), tmp_path / "state") as own:
            return runs.start(own, "cli").changed

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(start, range(8))) == 1
    assert [e.kind for e in box.store.events()] == [EventKind.BASELINE_STARTED]


def test_passing_run_is_closed_and_writes_thresholds(box: Box) -> None:
    start = past(box, 6.01)
    runs.update_run(box)
    told = ended(box)
    assert (told["actor"], told["reason"]) == ("daemon", "complete: pass")
    assert box.store.get_fact(runs.RUN_FACT) is None
    ((name, document),) = runs.read_results(box)
    assert isinstance(document, dict) and name == _stamp(start)
    assert document["conclusion"] == "pass" and len(document["metrics"]) == 5
    assert document == told["result"]
    learnt = tomllib.loads(box.paths.thresholds.read_text())["thresholds"]
    assert (learnt["success_rate"], learnt["latency_s"]) == (100.0, 0.3)
    thresholds = runs.learned_thresholds(box)
    assert thresholds is not None and thresholds.queue_normal == 5
    runs.update_run(box)  # no run is left to close
    assert len(runs.read_results(box)) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[thresholds\n", "cannot be understood: Expected ']'"),
        (b"\xff\xfe\x00", "cannot be understood: 'utf-8' codec"),
        (b"[thresholds]\nsuccess_rate = 'x\\u001b'\nlatency_s = 1\n",
         "thresholds.success_rate = 'x"),
        (b"", "thresholds: is missing"),
    ],
)  # fmt: skip
def test_invalid_thresholds_file_is_a_notice_and_is_preserved(
    box: Box, content: bytes, told: str
) -> None:
    path = box.paths.thresholds
    path.write_bytes(content)
    view = StoreView(box, discover_monitors())
    view.refresh()
    (notice,) = [notice for notice in view.compose().notices if str(path) in notice]
    assert told in notice
    assert "what is built in counts instead" in notice
    assert "\x1b" not in notice
    assert path.read_bytes() == content
    past(box, 6.01)
    runs.update_run(box)
    assert path.with_suffix(".damaged").read_bytes() == content
    assert not any(str(path) in notice for notice in view.compose().notices)


def _stamp(moment: Moment) -> str:
    return datetime.fromtimestamp(moment.at, UTC).strftime("%Y%m%dT%H%M%SZ")


def test_result_is_shown_until_the_next_run(box: Box) -> None:
    past(box, 6.01)
    runs.update_run(box)
    view = StoreView(box, {})
    view.refresh()
    shown = view.compose().baseline
    assert (shown.state, len(shown.metrics)) == ("complete", 5)
    runs.start(box, "cli:ana")
    view.refresh()
    assert view.compose().baseline.state == "collecting"


def test_failed_run_writes_no_thresholds(box: Box) -> None:
    past(box, 6.01, bad=1)
    runs.update_run(box)
    assert ended(box)["reason"] == "complete: fail"
    assert not box.paths.thresholds.exists() and len(runs.read_results(box)) == 1


def test_run_continues_in_another_process(tmp_path: Path, box: Box) -> None:
    past(box, 1.0)
    with open_box(settings(), tmp_path / "state") as other:
        run = other.store.get_fact(runs.RUN_FACT)
        view, _ = runs.measure_run(other, run, other.now())
        assert view.state == "collecting" and view.progress == pytest.approx(1 / 6, abs=0.01)
        runs.update_run(other)
        assert run_started_at(other.store.get_fact(runs.RUN_FACT)) == run_started_at(run)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (settings(latency_s=9.0), "baseline.latency_s was 5.0, is 9.0"),
        (
            Settings(roles={"worker": RoleSettings(match="x.py", command=["x", "--password=s"])}),
            "roles.worker.command changed",
        ),
    ],
)
def test_changed_configuration_invalidates_the_run(
    tmp_path: Path, box: Box, changed: Settings, words: str
) -> None:
    past(box, 1.0)
    with open_box(changed, tmp_path / "state") as other:
        for _ in range(3):
            runs.update_run(other)
        told = [e for e in other.store.events() if e.kind is EventKind.NOTICED]
        assert len(told) == 1 and words in told[0].reason and "password" not in told[0].reason
        view, _ = runs.measure_run(other, other.store.get_fact(runs.RUN_FACT), other.now())
        assert view.state == "invalid" and words in view.reason
    runs.update_run(box)  # changed back: the run stays invalid
    view, _ = runs.measure_run(box, box.store.get_fact(runs.RUN_FACT), box.now())
    assert view.state == "invalid"


def test_target_edited_during_a_run_invalidates_it_and_is_recorded_once(tmp_path: Path) -> None:
    """The file is read again during the run; the run keeps the targets from its start."""
    path, state = tmp_path / "config.toml", tmp_path / "state"
    path.write_text("[monitors.worker]\nevery_s = 60\n")
    with open_box(load(path), state, path) as box:
        past(box, 1.0)
        runs.update_run(box)
        with path.open("a") as file:
            file.write("[baseline]\nlatency_s = 0.01\n")
        for _ in range(3):
            runs.update_run(box)
        told = [e.reason for e in box.store.events() if e.kind is EventKind.NOTICED]
        assert told == ["the baseline is invalid: baseline.latency_s was 5.0, is 0.01"]
        with open_box(load(path), state, path) as other:  # as `baseline status` opens it
            view, _ = runs.measure_run(other, other.store.get_fact(runs.RUN_FACT), other.now())
        latency = next(metric for metric in view.metrics if metric.name == "latency_s")
        assert (view.state, latency.target) == ("invalid", "< 5")
        assert latency.verdict == "undecided" and "latency_s was 5.0" in view.reason
        assert "invalid" in runs.stop(box, "cli:ana").message


def test_configuration_change_just_before_the_stop_invalidates_the_run(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    with open_box(load(path), tmp_path / "state", path) as box:
        past(box, 1.0)
        path.write_text("[baseline]\nuptime = 50\n")
        assert "stopped: invalid" in runs.stop(box, "cli:ana").message


def test_unreadable_configuration_during_a_run_is_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(good := "[monitors.worker]\nevery_s = 60\n")
    with open_box(load(path), tmp_path / "state", path) as box:
        past(box, 1.0)
        view = StoreView(box, discover_monitors())

        def shown() -> tuple[str, str]:
            runs.update_run(box)
            view.refresh()
            snapshot = view.compose()
            told = [notice for notice in snapshot.notices if notice.startswith("configuration: ")]
            return snapshot.baseline.state, "".join(told)

        assert shown() == ("collecting", "")
        path.write_text("[baseline\n")
        state, notice = shown()
        assert state == "collecting" and str(path) in notice and "not TOML" in notice
        path.unlink()
        assert "cannot be read" in shown()[1]
        path.write_text(good)
        assert shown() == ("collecting", "")
        assert not [e for e in box.store.events() if e.kind is EventKind.NOTICED]


def test_stop_keeps_the_result_and_cancel_discards_it(box: Box) -> None:
    assert not runs.stop(box, "cli:ana").done and not runs.cancel(box, "cli:ana").done
    past(box, 0.5)
    assert "stopped: undecided" in runs.stop(box, "cli:ana").message
    assert len(runs.read_results(box)) == 1
    past(box, 0.25)
    assert "nothing is kept" in runs.cancel(box, "cli:ana").message
    assert len(runs.read_results(box)) == 1 and box.store.get_fact(runs.RUN_FACT) is None
    view = StoreView(box, {})
    view.refresh()
    assert view.compose().baseline.state == "off"


def test_recorded_end_is_not_recorded_again(box: Box) -> None:
    start = past(box, 6.01)
    about = {"started": [start.at, start.tick, start.boot]}
    box.record(EventKind.BASELINE_ENDED, actor="daemon", reason="killed just then", data=about)
    runs.update_run(box)
    assert ended(box)["reason"] == "killed just then"
    assert box.store.get_fact(runs.RUN_FACT) is None and len(runs.read_results(box)) == 1


def test_toggle_starts_and_stops_a_run(box: Box) -> None:
    assert "collecting" in commands.toggle_baseline(box, "console:ana").message
    assert "stopped" in commands.toggle_baseline(box, "console:ana").message
    assert "collecting" in commands.toggle_baseline(box, "console:ana").message


def test_death_during_a_run_fails_the_restarts_metric(box: Box) -> None:
    past(box, 6.01)
    for kind, pid in ((EventKind.DIED, 7), (EventKind.STARTED, 8)):
        moment = box.now().plus(-3600)
        box.store.add_event(Event(kind, moment, "worker", identity=Identity(pid, 1, "b")))
    runs.update_run(box)
    metrics = {metric["name"]: metric for metric in ended(box)["result"]["metrics"]}
    assert metrics["restarts"]["verdict"] == "fail"
    assert metrics["restarts"]["note"].startswith("a restart at ")


@pytest.mark.parametrize(
    "text", ["", "not TOML [", "thresholds = 3", "[thresholds]\nlatency_s='x'"]
)
def test_hand_edited_thresholds_file_yields_no_threshold(box: Box, text: str) -> None:
    box.paths.thresholds.write_text(text)
    found = runs.learned_thresholds(box)
    assert found is None or found.latency_s is None


def test_unreadable_result_file_is_listed_without_a_document(box: Box) -> None:
    runs.results_directory(box).mkdir()
    (runs.results_directory(box) / "20251103T000000Z.toml").write_bytes(b"\xff\xfe")
    assert runs.read_results(box) == [("20251103T000000Z", None)]


def test_result_is_recorded_when_its_file_cannot_be_written(box: Box) -> None:
    past(box, 6.01)
    runs.results_directory(box).write_text("a file where a directory should be")
    runs.update_run(box)
    assert ended(box)["result"]["conclusion"] == "pass"
    assert box.store.get_fact(runs.RUN_FACT) is None
