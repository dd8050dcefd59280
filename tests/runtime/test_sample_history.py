"""Samples trimmed or pruned from memory do not change any snapshot."""

from __future__ import annotations

from itertools import chain
from random import Random
from typing import Any

import pytest

from console.core.baseline.evaluation import BaselineTargets, evaluate_baseline
from console.core.metrics.queue_metrics import compute_queue_metrics
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.records import replace
from console.core.snapshot import views
from console.core.snapshot.builder import last_observed_roles
from console.monitors import discover_monitors
from console.runtime.snapshots import sample_history
from console.runtime.snapshots.sample_history import (
    KEPT_FIELDS,
    MIN_SAMPLES,
    UNTRIMMED_SAMPLES,
    SampleHistory,
)
from console.system.config.schema import Settings
from console.system.files.safe_files import FileProblem

MONITORS = discover_monitors()
BEGAN = Moment(1_762_165_640.0, 5_000.0, "b1")
OK = Health(HealthState.OK)
SEEN = {"instances": [{"pid": 7}], "roles": {}}


def queue(chance: Random, n: int) -> dict[str, Any]:
    done = n // 3 % 40  # the server restarts now and then
    figures = {"completed": done, "successful": done - done // 9, "failed": done // 9}
    seen = {"size": chance.randrange(25), "urgent": 0, "normal": 1, "low": 0, "status": "ok"}
    seen |= {"inflight": chance.randrange(2), "oldest_s": 0.5, "elapsed_s": 0.01, **figures}
    problem = chance.choice(["refused", None, None, None, None])
    lease = chance.choice([None, 30.0, 2_000.0])
    return {"problem": problem} if problem else seen | {"problem": None, "oldest_lease_s": lease}


def watchdog(chance: Random, n: int) -> dict[str, Any]:
    at = BEGAN.at + 30.0 * (n - n % 4)
    problem = chance.choice([f"{FileProblem.TRUNCATED}: cut short", None, None])
    seen = {"pid": chance.choice([7, 7, None]), "started_at": BEGAN.at, "path": "/w.json"}
    told = {"heartbeat_at": None, "anomalies": []} if problem else {"heartbeat_at": at}
    return {**seen, "anomalies": ["slow"], **told, "problem": problem, "slept_s": 0.0}


def pipeline(chance: Random, n: int) -> dict[str, Any]:
    at = BEGAN.at + 30.0 * (n - n % 9)
    problem = chance.choice([f"{FileProblem.TRUNCATED}: cut short", None, None])
    seen = {"mode": "read", "path": "/p.json", "anomalies": [], "channels": [["size", 1.0, "ok"]]}
    generated = None if problem else at
    return {**seen, "generated_at": generated, "problem": problem, "slept_s": n // 50 * 100.0}


def worker(chance: Random, n: int) -> dict[str, Any]:
    role = {"instances": [], "lease": {"state": "free", "owner": None, "holders": [], "reason": ""}}
    there = [{"pid": 7}] if chance.random() < 0.9 else []
    return {"roles": {"worker": role, f"other {n}": role}, "instances": there}


def canary(chance: Random, n: int) -> dict[str, Any]:
    return {"ok": chance.random() < 0.8, "latency_s": chance.random(), "failed_at": None}


LOOKS = {"queue": queue, "watchdog": watchdog, "pipeline": pipeline, "worker": worker}


def told(histories: dict[str, list[Sample]], now: Moment) -> dict[str, Any]:
    """Return all that a snapshot derives from the samples."""
    done = compute_queue_metrics(histories)
    every = sorted(chain(*histories.values()), key=lambda one: one.moment.at)
    judged = {name: MONITORS[name].judge(one, now, Settings()) for name, one in histories.items()}
    return {
        "judged": judged,
        "work": replace(done, last_answered=None),
        "queue": views.build_queue_view("", done, OK, now),
        "watchdog": views.build_watchdog_view(histories["watchdog"], OK, now),
        "pipeline": views.build_pipeline_view(histories["pipeline"], OK, now),
        "seen": last_observed_roles(histories["worker"]),
        "baseline": evaluate_baseline(BEGAN, every, (), BaselineTargets(), now),
    }


@pytest.mark.parametrize("seed", range(4))
def test_pruned_history_gives_the_same_snapshot_as_full_samples(seed: int) -> None:
    chance = Random(seed)
    whole: dict[str, list[Sample]] = {name: [] for name in (*LOOKS, "canary")}
    kept = {name: SampleHistory(name) for name in whole}
    blind = dict.fromkeys(whole, 0)
    for n in range(200):
        now = BEGAN.plus(30.0 * n)
        for name, look in {**LOOKS, "canary": canary}.items():
            blind[name] = max(0, blind[name] - 1) or 30 * (chance.random() < 0.02)
            sample = Sample(name, now, look(chance, n), id=n)
            if blind[name]:
                sample = Sample(name, now, error="did not answer", id=n)
            whole[name].append(sample)
            kept[name].append(sample)
        if n % 5 == 0:
            assert told({name: [*one] for name, one in kept.items()}, now) == told(whole, now), n


def test_older_samples_keep_only_the_needed_fields() -> None:
    history = SampleHistory("queue")
    history.extend(Sample("queue", BEGAN.plus(n), queue(Random(3), n)) for n in range(10))
    older, newest = [*history][:-UNTRIMMED_SAMPLES], [*history][-UNTRIMMED_SAMPLES:]
    assert all(set(sample.data) <= set(KEPT_FIELDS["queue"]) for sample in older)
    assert all("urgent" in sample.data for sample in newest)


def test_last_successful_samples_stay_untrimmed_during_errors() -> None:
    history = SampleHistory("worker")
    history.extend(Sample("worker", BEGAN.plus(n), SEEN) for n in range(5))
    history.extend(Sample("worker", BEGAN.plus(5 + n), error="hung") for n in range(100))
    assert [sample.data for sample in history if sample.error is None][-UNTRIMMED_SAMPLES:] == [
        SEEN
    ] * UNTRIMMED_SAMPLES


def test_history_of_errors_is_bounded_and_recovers_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample_history, "MAX_SAMPLES", 50)
    history, blind = SampleHistory("worker"), Sample("worker", BEGAN.plus(100), error="hung")
    history.extend(Sample("worker", BEGAN.plus(n), SEEN) for n in range(5))
    history.extend([blind] * 30)
    history.prune(BEGAN.plus(150), 100.0)
    history.extend([blind] * 300)
    assert len([*history]) == 100
    history.extend(Sample("worker", BEGAN.plus(200 + n), SEEN) for n in range(UNTRIMMED_SAMPLES))
    history.append(blind)
    assert [sample.data for sample in history if sample.error is None] == [SEEN] * UNTRIMMED_SAMPLES


def test_prune_drops_old_samples_except_the_newest() -> None:
    history = SampleHistory("queue")
    history.extend(Sample("queue", BEGAN.plus(n), {"size": n}) for n in range(100))
    history.prune(BEGAN.plus(150), 100.0)
    assert [sample.data["size"] for sample in history] == [*range(50, 100)]
    history.prune(BEGAN.plus(1_100), 100.0)
    assert [sample.data["size"] for sample in history] == [*range(100 - MIN_SAMPLES, 100)]
    assert history.last == Sample("queue", BEGAN.plus(99), {"size": 99})
