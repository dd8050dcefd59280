"""The event ledger of one night with failures: 2025-11-03 in Seoul, from 18:33 to 00:30.

Two workers run at the start. The daemon is killed. One worker ends for an unknown reason. The next
one runs out of memory and cannot be started again. An operator starts it at the end.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from console.core.baseline.evaluation import BaselineTargets, evaluate_baseline
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner, Role
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import DaemonView
from console.core.snapshot.builder import MonitorInputs, SnapshotInputs, build_snapshot
from console.core.supervision.role_codec import RoleObservation

ZONE = timezone(timedelta(hours=9))
BOOT = "b1"
BEGAN = datetime(2025, 11, 3, 18, 33, 30, tzinfo=ZONE).timestamp()
WORKER = Role("worker", "rpa_worker.py", ("python", "rpa_worker.py"))
WATCHDOG = Role("watchdog", "task_watchdog.py")
ANA, BO = "console:ana@pts/3", "cli:bo@pts/1"
DUPLICATES, DOWN, PARKED = "worker.duplicates", "worker.down", "worker.parked"
EVERY = {"canary": 1800.0, "pipeline": 300.0, "queue": 300.0, "watchdog": 300.0, "worker": 300.0}


def at(clock: str) -> Moment:
    """Convert a local time such as `18:33:30` to a moment of that night."""
    hour, minute, second = (int(part) for part in clock.split(":"))
    day = datetime(2025, 11, 3, hour, minute, second, tzinfo=ZONE)
    seconds = (day + timedelta(days=hour < 12)).timestamp()
    return Moment(seconds, 1000.0 + seconds - BEGAN, BOOT)


def pid(number: int) -> Identity:
    return Identity(number, number, BOOT)


class Ledger(list[Event]):
    """Events in the order in which they are written, numbered from 1."""

    def write(self, clock: str, kind: EventKind, role: str = "", by: str = "", reason: str = "",
              who: int | None = None, token: int | None = None, **data: Any) -> None:  # fmt: skip
        identity = pid(who) if who is not None else None
        moment = at(clock)
        self.append(
            Event(kind, moment, role, by, reason, identity, token, data, len(self) + 1)
        )  # fmt: skip

    def alert(self, clock: str, key: str, title: str, reason: str = "") -> None:
        kind = EventKind.ALERT_RAISED if reason else EventKind.ALERT_RESOLVED
        data = {"key": key, "severity": "critical", "title": title}
        self.write(clock, kind, "worker", "daemon", reason or title, **data)


def ledger() -> list[Event]:
    """Return the events of the night, oldest first."""
    book = Ledger()
    _evening(book)
    _daemon_killed(book)
    _worker_gone(book)
    _out_of_memory(book)
    return list(book)


def _evening(book: Ledger) -> None:
    book.write("18:33:30", EventKind.STARTED, "monitors", "cli:ana@pts/3", "", 812, 1)
    book.write("18:33:30", EventKind.DAEMON_STARTED, "", "daemon", "PID 812")
    for one in (52928, 3648):
        book.write("18:33:32", EventKind.ADOPTED, "worker", "outside", "found running", one)
    book.write("18:33:33", EventKind.VERDICT_CHANGED, "", "daemon",
               "worker: 2 instances where 1 is wanted", verdict="degraded")  # fmt: skip
    book.alert("18:33:42", DUPLICATES, "worker: duplicates", "2 instances where 1 is wanted")
    book.write("18:36:10", EventKind.ASKED, "worker", ANA, "surplus: keep the oldest", 3648,
               verb="end-duplicates")  # fmt: skip
    book.write("18:36:11", EventKind.DIED, "worker", "guard", "ended on request, politely", 3648,
               uptime_s=161.0, exit_code=None)  # fmt: skip
    book.write("18:36:11", EventKind.ENDED, "worker", ANA, "politely", 3648, verb="end-duplicates")
    book.write("18:36:12", EventKind.VERDICT_CHANGED, "", "daemon", "all well", verdict="healthy")
    book.write("18:36:20", EventKind.BASELINE_STARTED, "", ANA, "6 h")
    book.alert("18:36:22", DUPLICATES, "worker: duplicates")
    for minute in range(40, 60, 5):
        book.write(f"18:{minute}:00", EventKind.CONFIRMED, "worker", "cli:cron",
                   "PID 52928 (adopted)", 52928)  # fmt: skip


def _daemon_killed(book: Ledger) -> None:
    book.write("21:10:03", EventKind.DIED, "monitors", "shim", "ended by SIGKILL", 812, 1,
               uptime_s=9393.0, exit_code=None, signal="SIGKILL")  # fmt: skip
    book.write("21:16:40", EventKind.STARTED, "monitors", ANA, "", 977, 2)
    book.write("21:16:41", EventKind.DAEMON_STARTED, "", "daemon", "PID 977")


def _worker_gone(book: Ledger) -> None:
    book.write("22:41:00", EventKind.DIED, "worker", "outside",
               "exit code unknown (not started by us)", 52928, uptime_s=14848.0,
               exit_code=None, signal=None)  # fmt: skip
    book.write("22:41:05", EventKind.STARTED, "worker", "policy", "", 60001, 1)
    book.write("22:41:06", EventKind.READY, "worker", "daemon", "", 60001, 1)


def _out_of_memory(book: Ledger) -> None:
    book.write("23:58:00", EventKind.DIED, "worker", "shim", "ended by SIGKILL: the kernel ran out"
               " of memory here (OOM killer)", 60001, 1, uptime_s=4615.0, signal="SIGKILL",
               stderr=["allocating 4 GB", "still *allocating* <b>|</b>"])  # fmt: skip
    for second, token in ((5, 2), (16, 3)):
        book.write(f"23:58:{second:02d}", EventKind.FAILED, "worker", "policy",
                   "exited with code 1: no module named rpa", 60001 + token, token,
                   verb="ensure")  # fmt: skip
    book.alert("23:58:17", DOWN, "worker is down", "ended by SIGKILL; restart 2 of 3")
    book.write("23:58:20", EventKind.MONITOR_CHANGED, "", "daemon",
               "canary: not taken: no worker took it within 30 s", monitor="canary",
               state="failing", was="ok")  # fmt: skip
    book.write("23:58:21", EventKind.VERDICT_CHANGED, "", "daemon",
               "worker: not running; backoff", verdict="down")  # fmt: skip
    book.write("23:58:36", EventKind.PARKED, "worker", "policy",
               "3 automatic restarts within 10m: a person must act")  # fmt: skip
    book.alert("23:58:46", PARKED, "worker is parked", "3 automatic restarts within 10m")
    book.write("00:04:10", EventKind.ALERT_ACKNOWLEDGED, "", BO, "worker is parked", key=PARKED)
    book.write("00:06:00", EventKind.STARTED, "worker", BO, "", 60101, 4)
    book.write("00:06:02", EventKind.CONFIRMED, "worker", BO, "PID 60101 (leased)", 60101, 4)
    book.alert("00:06:12", DOWN, "worker is down")
    book.alert("00:06:12", PARKED, "worker is parked")
    book.write("00:06:13", EventKind.VERDICT_CHANGED, "", "daemon", "all well", verdict="healthy")


def samples() -> dict[str, list[Sample]]:
    """Return the samples of every monitor. There are none while the daemon was dead."""
    found: dict[str, list[Sample]] = {name: [] for name in EVERY}
    number = 0
    for name, every in EVERY.items():
        moment, end = at("18:34:00"), at("00:30:00")
        while moment.at <= end.at:
            number += 1
            if not at("21:10:03").at < moment.at < at("21:16:41").at:
                found[name].append(Sample(name, moment, _seen(name, moment), id=number))
            moment = moment.plus(every)
    return found


def _seen(name: str, moment: Moment) -> dict[str, Any]:
    down = at("23:58:00").at <= moment.at < at("00:06:00").at
    ran = int(moment.at - BEGAN)
    match name:
        case "canary":
            return {"ok": not down, "latency_s": None if down else 0.3 + ran % 7 / 100}
        case "queue":
            return {"size": 12 if down else 2, "inflight": 1, "completed": ran // 10,
                    "successful": ran // 10, "failed": ran // 400, "problem": None}  # fmt: skip
        case "watchdog":
            return {"pid": 27428, "heartbeat_at": moment.at - 9, "started_at": BEGAN - 24000,
                    "anomalies": [], "path": "watchdog_status_latest.json"}  # fmt: skip
        case "pipeline":
            return {"mode": "collect", "generated_at": moment.at - 3, "anomalies": [],
                    "channels": [["latency", 0.31, "ok"]], "path": "status.json"}  # fmt: skip
        case _:
            pids = () if down else (52928,) if moment.at < at("22:41:00").at else (60001,)
            return {"instances": [{"pid": one} for one in pids]}


@cache
def snapshot() -> Snapshot:
    """Return the snapshot of the box at 00:30."""
    now, events, seen = at("00:30:00"), ledger(), samples()
    root = Process(pid(60101), 1, ("python", "rpa_worker.py"), at("00:06:00"))
    watchdog = Process(pid(27428), 1, ("python", "task_watchdog.py"), at("18:33:30").plus(-24066))
    owner = Owner(pid(60101), 4, at("00:06:00"))
    looked = {
        "worker": RoleObservation(
            (Instance("worker", (root,), True, 4),), Lease(LeaseState.HELD, owner)
        ),
        "watchdog": RoleObservation((Instance("watchdog", (watchdog,)),)),
    }
    targets = BaselineTargets(worker_every_s=300, queue_every_s=300)
    every = [one for history in seen.values() for one in history]
    every.sort(key=lambda one: one.moment.at)
    run = evaluate_baseline(at("18:36:20"), every, events, targets, now, zone=ZONE)
    monitors = {
        name: MonitorInputs(name, EVERY[name], seen[name], Health(HealthState.OK), "looked")
        for name in EVERY
    }
    daemon = DaemonView(True, 977, at("21:16:40"))
    return build_snapshot(
        SnapshotInputs("box17", "night", "http://127.0.0.1:8091", (WORKER, WATCHDOG), monitors,
              events, looked, daemon, run), now,
    )  # fmt: skip
