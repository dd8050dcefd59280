"""A simulated day and night, from six to six, in which each kind of fault occurs once."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from simulated_box import SimBox, simulated
from simulated_time import Loop

from console.core.handover import builder
from console.core.handover.json_export import handover_to_json
from console.core.handover.markdown import render_markdown
from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import Event
from console.core.model.processes import Identity
from console.core.model.samples import Sample
from console.core.model.snapshot import Snapshot
from console.core.text.time_parsing import DAY_S, moment_ago
from console.runtime.baseline import runs
from console.runtime.snapshots.one_shot import take_snapshot
from console.system.guard.guard import Guard

ZONE = "Asia/Seoul"
BEGAN = datetime(2026, 1, 14, 6, 0, tzinfo=ZoneInfo(ZONE)).timestamp()
ANA, BO = "console:ana@pts/3", "cli:bo@pts/1"
STEP_S, SUSPEND_S = 90.0, 7200.0


@dataclass(frozen=True)
class Told:
    """The results of a simulated night: report, events, samples and snapshots."""

    markdown: str
    document: dict[str, object]
    events: list[Event]
    samples: list[Sample]
    shown: list[Snapshot]


def parse(utc: str) -> float:
    """Return the Unix seconds of a document's timestamp."""
    return datetime.fromisoformat(utc).timestamp()


async def till(box: SimBox, clock: str) -> None:
    """Sleep until this time of day by a clock that started at six and is never set."""
    hour, minute, second = (int(part) for part in (clock + ":00").split(":")[:3])
    passed = ((hour - 6) % 24) * 3600 + minute * 60 + second
    left = (passed or DAY_S) - (box.time.tick() - box.began)
    assert left >= 0, f"{clock} is over"
    await asyncio.sleep(left)


def ask(box: SimBox, actor: str, verb: Verb, target: Identity | None = None) -> Outcome:
    """Carry out an operator's command on the worker."""
    return Guard(box.box).carry_out(Command(verb, "worker", actor, target))


async def day(box: SimBox) -> None:
    """Run the day: clock steps, a suspend, a queue outage, duplicates and a dead watchdog."""
    await till(box, "09:10")
    box.time.step(-STEP_S)
    await till(box, "11:00")
    box.time.suspend(SUSPEND_S)
    await till(box, "14:30")
    box.time.step(STEP_S)
    await till(box, "16:05")
    box.close_queue()
    await till(box, "16:12")
    box.open_queue()
    await till(box, "17:20")
    box.run("rpa_worker.py")
    box.run("rpa_worker.py")
    await till(box, "17:31")
    assert ask(box, ANA, Verb.END_DUPLICATES).done
    await till(box, "18:40")
    box.machine.die(box.machine.running("task_watchdog.py")[0], signal.SIGKILL)
    await till(box, "19:05")
    box.run("task_watchdog.py")


async def evening(box: SimBox) -> None:
    """Run the evening: torn files, a stopped pipeline, a baseline and two worker failures.

    The pipeline's file is torn for half an hour and not written for the next half hour.
    """
    await till(box, "20:10")
    box.torn = True
    await till(box, "20:40")
    pipeline = box.machine.running("realtime_pipeline.py")[0]
    box.machine.signal(pipeline, signal.SIGSTOP)
    await till(box, "21:10")
    box.torn = False
    box.machine.signal(pipeline, signal.SIGCONT)
    await till(box, "22:00")
    assert runs.start(box.box, ANA, 6.0).done
    await till(box, "23:30")
    box.machine.signal(box.worker(), signal.SIGSTOP)
    await till(box, "23:38")
    assert ask(box, ANA, Verb.RESTART, box.worker().identity).done
    await till(box, "02:14")
    box.machine.signal(box.worker(), signal.SIGKILL)
    await till(box, "04:30")


async def whole(box: SimBox) -> tuple[Snapshot, list[Event]]:
    for program in ("task_watchdog.py", "realtime_pipeline.py", "task_generator.py"):
        box.run(program)
    assert ask(box, BO, Verb.ENSURE).done
    async with box.on_duty():
        await day(box)
        await evening(box)
    await till(box, "05:10")
    async with box.on_duty():
        await till(box, "06:00")
        return take_snapshot(box.box), box.box.store.events(limit=50_000)


def live(place: Path) -> Told:
    """Run the whole simulation and build the hand-over of six in the morning."""
    place.mkdir(mode=0o700, exist_ok=True)
    with simulated(place, BEGAN, ZONE) as box:
        loop = Loop(box.time)
        try:
            snapshot, events = loop.run_until_complete(whole(box))
        finally:
            loop.close()
        told = builder.build_handover(
            snapshot, events, moment_ago(DAY_S, snapshot.moment), ZoneInfo(ZONE)
        )
        samples = [sample for name in ("canary", "worker", "queue", "watchdog", "pipeline")
                   for sample in box.box.store.samples(name)]  # fmt: skip
        return Told(
            render_markdown(told, ZoneInfo(ZONE)),
            handover_to_json(told),
            events,
            samples,
            box.shown,
        )
