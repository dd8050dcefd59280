"""A simulated day and night: the real runtime on a simulated clock, and its hand-over report."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import simulated_night
from simulated_night import SUSPEND_S, Told

from console.core.model.events import Event, EventKind
from console.core.status_document import format_status, status_to_json

K = EventKind
AGAIN = (
    "import json, sys, pathlib, simulated_night\n"
    "told = simulated_night.live(pathlib.Path(sys.argv[1]))\n"
    "print(json.dumps([told.markdown, told.document]))\n"
)
CANARY_S = 1800.0


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory in memory, where commits are cheap, if the machine has one.

    The directory's name needs no escape in Markdown: the test compares two directories' reports.
    """
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    directory = parent / f"night{uuid.uuid4().hex}"
    directory.mkdir(mode=0o700)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def both(place: Path) -> tuple[Told, str, Any]:
    """The simulated night, and the report of the same night from another process."""
    directory = Path(simulated_night.__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", AGAIN, str(place / "two")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as other:
        told = simulated_night.live(place / "one")
        answer, _ = other.communicate(timeout=180)
    text = answer.decode().replace(str(place / "two"), str(place / "one"))
    return told, *json.loads(text)


@pytest.fixture(scope="module")
def told(both: tuple[Told, str, Any]) -> Told:
    return both[0]


@pytest.fixture(scope="module")
def lines(told: Told) -> dict[int, Event]:
    return {event.id: event for event in told.events}


def of(told: Told, *kinds: EventKind) -> list[Event]:
    return [event for event in told.events if event.kind in kinds]


def test_simulation_is_deterministic_across_processes(both: tuple[Told, str, Any]) -> None:
    told, markdown, document = both
    assert told.markdown == markdown
    assert json.loads(json.dumps(told.document)) == document


def test_canaries_are_sent_on_schedule_and_after_repairs_only(told: Told) -> None:
    # A sample taken while a canary still waits does not send one.
    sent = [one.moment.tick for one in told.samples
            if one.monitor == "canary" and one.data.get("waits_s") is None]  # fmt: skip
    began = sent[0]
    pauses = [after - before for before, after in pairwise(sent)]
    # A canary is early only right after a repair, when a worker was started again.
    early = [at for at, pause in zip(sent[1:], pauses, strict=True) if pause < CANARY_S]
    again = [one.moment.tick for one in of(told, K.STARTED) if one.role == "worker"][1:]
    assert len(early) == len(again) == 2
    assert all(0 < at - start < 60 for at, start in zip(early, again, strict=True))
    # Every half hour, except four during the machine's sleep and one without a daemon.
    late = [round((at - began) / 60) for at, pause in zip(sent[1:], pauses, strict=True)
            if pause > CANARY_S + 60]  # fmt: skip
    assert late == [7 * 60, 23 * 60 + 10]
    assert len(sent) == 43 + len(early)


def test_unobserved_periods_are_reported_and_have_no_samples(
    told: Told, lines: dict[int, Event]
) -> None:
    gaps = [one for one in told.document["unknown"] if one["text"].startswith("What happened from")]
    slept, away = gaps
    (woke,) = (lines[id] for id in slept["events"])
    assert woke.data["slept_s"] == pytest.approx(SUSPEND_S, abs=1) and "2h00m" in slept["text"]
    stopped, started = (lines[id] for id in away["events"])
    assert (stopped.kind, started.kind) == (K.DAEMON_STOPPED, K.DAEMON_STARTED)
    assert started.moment.since(stopped.moment) == pytest.approx(2400, abs=1)
    for begins, ends in (
        (woke.moment.tick - SUSPEND_S, woke.moment.tick),
        (stopped.moment.tick, started.moment.tick),
    ):
        assert not [one for one in told.samples if begins < one.moment.tick - 1 < ends - 2]


def test_every_raised_alert_is_resolved(told: Told) -> None:
    raised = Counter(event.data["key"] for event in of(told, K.ALERT_RAISED))
    resolved = Counter(event.data["key"] for event in of(told, K.ALERT_RESOLVED))
    assert raised.pop("baseline.failed") == 1
    assert raised == resolved
    # A canary that a stalled worker does not take raises no alert beside the worker's.
    once = {
        "queue.down", "worker.duplicates", "worker.stalled", "worker.down", "watchdog.down",
    }  # fmt: skip
    assert {key for key in raised if raised[key] == 1} >= once
    # The watchdog reports the server and the worker; the pipeline reports the backlog.
    assert set(raised) - once == {"watchdog.failing", "pipeline.failing"}
    assert raised["watchdog.failing"] == 2, "of the one that came back, not what was seen before"


def test_sleep_clock_steps_and_daemon_absence_raise_no_alarm(told: Told) -> None:
    verdicts = [event.data["verdict"] for event in of(told, K.VERDICT_CHANGED)]
    assert "unknown" not in verdicts and verdicts[-1] == "healthy"
    noticed = [event.reason for event in of(told, K.NOTICED)]
    assert noticed == [
        "the clock was set back by 90 s",
        "the machine slept for 2h00m",
        "the clock was set forward by 90 s",
        noticed[3],
    ]
    assert re.fullmatch(
        "queue server began anew: 0 waiting, 0 in work, [0-9]+ results of the look before are gone",
        noticed[3],
    )
    died = [(event.role, event.reason) for event in of(told, K.DIED)]
    assert died == [
        ("worker", "ended on request, gracefully"),
        ("worker", "ended on request, gracefully"),
        ("watchdog", "exit code unknown (not started by us)"),
        ("worker", "ended by SIGTERM"),
        ("worker", "ended by SIGKILL"),
    ]


def test_restart_counts_agree_across_the_report(told: Told) -> None:
    metrics = {one["name"]: one for one in told.document["baseline"]["metrics"]}
    (claim,) = (one for one in told.document["workers"] if " restarts, the last " in one["text"])
    assert claim["text"].startswith("worker: 2 restarts")
    assert metrics["restart count"]["value"] == "2"
    assert metrics["restart count"]["events"] == claim["events"]


def test_no_snapshot_shows_a_negative_age(told: Told) -> None:
    def ages(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from ages(inner, key)
        elif isinstance(value, list):
            for inner in value:
                yield from ages(inner, name)
        elif isinstance(value, int | float) and name.endswith("_s"):
            yield name, value

    assert len(told.shown) > 1000
    for snapshot in told.shown:
        assert [age for age in ages(status_to_json(snapshot)) if age[1] < 0] == []
        assert not re.search(r"(?<![\w-])-\d+[smhd]", format_status(snapshot))


# --- every claim cites the event log --------------------------------------------------------


def _cited(value: Any) -> Iterator[int]:
    """Yield the ids of all events that a document cites, at any depth."""
    if isinstance(value, dict):
        yield from value.get("events") or ()
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _cited(inner)


def test_every_cited_event_and_sample_exists(told: Told, lines: dict[int, Event]) -> None:
    cited = {int(number) for number in re.findall(r"#(\d+)", told.markdown)}
    looks = {int(number) for number in re.findall(r"look (\d+)", told.markdown)}
    assert len(cited) > 60 and cited <= lines.keys()
    # The page cites more than six events by the first and last; the document cites each.
    whole = set(_cited(told.document))
    assert cited <= whole == lines.keys()
    assert len(looks) >= 4 and looks <= {sample.id for sample in told.samples}


def test_timeline_cites_every_event_once_at_its_time(told: Told, lines: dict[int, Event]) -> None:
    chronicle = told.document["happened"]
    cited = Counter(id for line in chronicle for id in line["events"])
    assert cited.keys() == lines.keys() and set(cited.values()) == {1}
    for line in chronicle:
        first = lines[line["events"][0]]
        assert first.moment.at == pytest.approx(simulated_night.parse(line["at"]), abs=0.001)
        for event in (lines[id] for id in line["events"]):
            if event.identity is not None:
                assert f"PID {event.identity.pid}" in line["text"]


def test_finding_cites_its_alert(told: Told, lines: dict[int, Event]) -> None:
    for finding in told.document["findings"]:
        if finding["title"] == "notice":  # a notice of the configuration has no event
            continue
        cited = [lines[id] for id in finding["events"]]
        assert {event.data["title"] for event in cited} == {finding["title"]}
        raised = [event.reason for event in cited if event.kind is K.ALERT_RAISED]
        assert raised
        if finding["title"] != "the baseline fails":  # its measurement continues
            assert raised[-1] in finding["text"]


@pytest.mark.parametrize(
    "words",
    [
        r"worker: PID \d+ died after 2h35m: ended by SIGKILL; policy started PID \d+",
        r"How watchdog PID \d+ ended at 01-14 18:40:00: exit code unknown",
        r"the daemon runs on as PID \d+, since 05:10:00",
        r"Exactly one worker runs: PID \d+, up 3h45m since 02:14:05",
    ],
)
def test_report_contains_the_expected_sentences(told: Told, words: str) -> None:
    assert re.search(words, told.markdown)
