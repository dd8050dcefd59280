"""Alerts in the daemon: a real store, real files and real hook commands that fail."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from console.core.alerts import ALERT_KINDS, fold_open_alerts
from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Role, RoleState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import Alert, QueueView, RoleView, Severity
from console.core.records import replace
from console.runtime import commands
from console.runtime.alerts.alerting import AlertManager, alert_file_name
from console.runtime.alerts.hook_notifier import NOTIFIED_FACT, RAISED, RESOLVED, HookNotifier
from console.runtime.daemon_duties import DaemonDuties
from console.runtime.loop import Runtime
from console.runtime.snapshots.store_view import StoreView
from console.system.box import Box, open_box
from console.system.config.schema import Alerts, Settings
from console.system.files.hanging_storage import StorageTimeoutError
from console.system.host import hook_command

PYTHON = (sys.executable, "-I", "-S", "-c")
WORKER = Role("worker", "rpa_worker.py", ("x",))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@contextmanager
def opened(tmp_path: Path, **alerts: Any) -> Iterator[Box]:
    settings = Settings(outputs=str(tmp_path / "outputs"), alerts=Alerts(look_s=1.0, **alerts))
    with open_box(settings, tmp_path / "state") as box:
        yield box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with opened(tmp_path) as box:
        yield box


def seen(box: Box, found: int, state: RoleState = RoleState.READY, after: float = 0) -> Snapshot:
    now = box.now().plus(after)
    one = tuple(
        Instance("worker", (Process(Identity(pid, 1, "b"), 1, ("x",), now),))
        for pid in range(1, found + 1)
    )
    verdict = Verdict.HEALTHY if found == 1 else Verdict.DOWN
    view = RoleView(WORKER, state, "why", instances=one)
    return Snapshot("host", "box", now, verdict, roles=(view,))


def down(box: Box, after: float = 0) -> Snapshot:
    return seen(box, 0, RoleState.BACKOFF, after)


async def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {condition}"
        await asyncio.sleep(0.01)


# --- event log and files --------------------------------------------------------------------


def test_alert_is_raised_and_resolved_in_the_store_and_on_disk(box: Box, outputs: Path) -> None:
    alerting = AlertManager(box)
    file = outputs / "alerts" / "CRITICAL_worker.down.txt"
    assert alerting.update(down(box)) == [] and not file.exists()
    ((state, alert),) = alerting.update(down(box))
    assert (state, alert.key, alert.event_id) == (RAISED, "worker.down", 1)
    told = file.read_text()
    assert told.startswith("CRITICAL: worker is down\nwhy\nsince ") and "ledger line 1" in told
    assert alerting.update(seen(box, 1)) == []
    ((state, _),) = alerting.update(seen(box, 1))
    assert state == RESOLVED and not file.exists() and alerting.open_alerts == ()
    events = box.store.events()
    assert [event.kind for event in events] == [EventKind.ALERT_RAISED, EventKind.ALERT_RESOLVED]
    assert (events[0].role, events[1].data["alert"]) == ("worker", 1)


def test_restarted_daemon_does_not_raise_open_alerts_again(box: Box, outputs: Path) -> None:
    first = AlertManager(box)
    for _ in range(2):
        first.update(down(box))
    box.store.set_fact(
        NOTIFIED_FACT, {"worker.down": 1}
    )  # as the hook notifier does once the hook has succeeded
    second = AlertManager(box)
    assert [[s for s, _ in second.update(down(box))] for _ in range(3)] == [["known"], [], []]
    assert len(box.store.events()) == 1


def test_alert_file_left_by_a_killed_daemon_is_removed(box: Box, outputs: Path) -> None:
    first = AlertManager(box)
    for view in (down(box), down(box), seen(box, 1), seen(box, 1)):
        first.update(view)
    left = outputs / "alerts" / "CRITICAL_worker.down.txt"
    left.write_text("left by a daemon that was killed in between")
    foreign = outputs / "alerts" / "CRITICAL_somebody-elses.txt"
    foreign.write_text("not ours")
    AlertManager(box).update(seen(box, 1))
    assert not left.exists() and foreign.exists()


def test_acknowledgement_is_kept_and_shown(box: Box, outputs: Path) -> None:
    alerting = AlertManager(box)
    for _ in range(2):
        alerting.update(down(box))
    assert commands.acknowledge_alerts(box, "worker.down", "cli:ana").changed
    again = commands.acknowledge_alerts(box, "", "cli:bo")
    assert (again.done, again.changed, again.message) == (
        True, False, "acknowledged already: worker.down",
    )  # fmt: skip
    refused = commands.acknowledge_alerts(box, "queue.down", "cli:bo")
    assert (refused.done, refused.code) == (False, 1) and "worker.down" in refused.message
    alerting.update(down(box))
    assert alerting.open_alerts[0].acknowledged == "cli:ana"
    assert (
        "acknowledged by cli:ana"
        in (outputs / "alerts" / alert_file_name(alerting.open_alerts[0])).read_text()
    )
    view = StoreView(box, {})
    view.refresh()
    assert view.compose().alerts == alerting.open_alerts


async def test_console_acknowledges_by_a_command(box: Box) -> None:
    alerting = AlertManager(box)
    for _ in range(2):
        alerting.update(down(box))
    command = Command(Verb.ACKNOWLEDGE, "worker.down", "console:ana")
    assert (await Runtime(box, {}).submit(command)).message == "acknowledged: worker.down"


def test_alerts_use_the_learned_thresholds(box: Box) -> None:
    text = "[thresholds]\nsuccess_rate = 92.5\nqueue_normal = 7\n"
    box.paths.thresholds.write_text(text)
    alerting = AlertManager(box)
    slow = replace(seen(box, 1), queue=QueueView("u", size=9))
    told = [alerting.update(slow) for _ in range(2)]
    assert [alert.key for _, alert in told[1]] == ["queue.long"]


def test_alerting_continues_when_outputs_cannot_be_written(box: Box, outputs: Path) -> None:
    outputs.write_text("a file where a directory should be")
    alerting = AlertManager(box)
    alerting.update(down(box))
    assert alerting.update(down(box)) and box.store.events()
    outputs.unlink()
    alerting.update(down(box))
    assert (outputs / "alerts" / "CRITICAL_worker.down.txt").exists()


def test_alert_is_recorded_once_the_store_recovers(tmp_path: Path, box: Box) -> None:
    alerting = AlertManager(box)
    alerting.update(down(box))
    box.store.close()
    assert [state for state, _ in alerting.update(down(box))] == [RAISED]
    assert alerting.update(down(box)) == [] and alerting.open_alerts[0].event_id == 0
    with open_box(box.settings, tmp_path / "state") as again:
        alerting.box = again
        alerting.update(down(again))
        assert [event.kind for event in again.store.events()] == [EventKind.ALERT_RAISED]
        assert alerting.open_alerts[0].event_id == 1


def test_alert_file_name_escapes_path_separators_and_nul() -> None:
    alert = Alert("../../etc/x\0", Severity.WARNING, "t", "r", Moment(0))
    assert "/" not in alert_file_name(alert) and "\0" not in alert_file_name(alert)


# --- the hook -------------------------------------------------------------------------------


async def call(code: str, timeout_s: float = 5.0, **env: str) -> str | None:
    return await hook_command.run_hook([*PYTHON, code], b'{"a": 1}\n', env, timeout_s)


async def test_hook_receives_the_alert_and_its_environment(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = (
        "import json, os, sys; doc = json.load(sys.stdin);"
        f"open({str(told)!r}, 'w').write(json.dumps([doc, os.environ['RPA_ALERT_KEY'],"
        " [k for k in os.environ if k.startswith('RPA_CONSOLE_TOKEN')]]))"
    )
    os.environ["RPA_CONSOLE_TOKEN"] = "7"
    try:
        assert await call(code, RPA_ALERT_KEY="worker.down") is None
    finally:
        del os.environ["RPA_CONSOLE_TOKEN"]
    assert json.loads(told.read_text()) == [{"a": 1}, "worker.down", []]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("import sys; sys.exit('no \\x1b[31m route')", "exit code 1: no \\x1b[31m route"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
async def test_hook_failure_returns_its_reason(code: str, reason: str) -> None:
    assert await call(code) == reason


async def test_hanging_hook_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); child = os.fork();"
        f"child and open({str(pid)!r}, 'w').write(str(child)); time.sleep(600)"
    )
    assert await call(code, 1.0) == "did not end within 1 s"
    child = int(pid.read_text())
    await until(lambda: not _alive(child))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_hook_that_writes_endlessly_and_reads_nothing_is_killed() -> None:
    code = "import os\nwhile True: os.write(2, b'x' * 65536)"
    assert (
        await hook_command.run_hook([*PYTHON, code], b"y" * 1_000_000, {}, 1.0)
        == "did not end within 1 s"
    )


async def test_child_that_holds_the_hooks_pipes_does_not_delay_the_caller() -> None:
    code = "import os, time\nif os.fork() == 0: time.sleep(5)"
    began = time.monotonic()
    assert await call(code) is None
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("command", [["/does/not/exist"], ["/"], ["\0"]])
async def test_hook_that_cannot_be_started_returns_the_reason(command: list[str]) -> None:
    assert str(await hook_command.run_hook(command, b"", {}, 1.0)).startswith("cannot be started: ")


# --- notifying ------------------------------------------------------------------------------

ALERT = Alert("worker.down", Severity.CRITICAL, "worker is down", "why", Moment(1.0), event_id=4)
Told = Callable[[], list[tuple[str, str]]]


def listener(tmp_path: Path) -> tuple[list[str], Told]:
    """Return a hook command that records its notifications, and a function that reads them."""
    path = tmp_path / "told"
    code = (
        "import json, sys; doc = json.load(sys.stdin);"
        f"open({str(path)!r}, 'a').write(doc['state'] + ' ' + doc['key'] + '\\n')"
    )

    def told() -> list[tuple[str, str]]:
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], line.split()[1]) for line in lines]

    return [*PYTHON, code], told


async def running(teller: HookNotifier, body: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.create_task(teller.run())
    try:
        await body()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_alert_change_is_notified_once(tmp_path: Path) -> None:
    command, told = listener(tmp_path)
    with opened(tmp_path, hook=command) as box:
        failures: list[str] = []
        notifier = HookNotifier(box, lambda alert, why: failures.append(why))

        async def body() -> None:
            notifier.notify(RAISED, ALERT)
            await until(told)
            notifier.notify(RAISED, ALERT)
            notifier.notify(RESOLVED, ALERT)
            await until(lambda: len(told()) == 2)
            for _ in range(50):  # the alert flaps: the quiet time suppresses it
                notifier.notify(RAISED, ALERT)
                notifier.notify(RESOLVED, ALERT)
            notifier.notify(RAISED, replace(ALERT, key="queue.down"))
            await until(lambda: len(told()) == 3)

        await running(notifier, body)
        assert told() == [
            (RAISED, "worker.down"),
            (RESOLVED, "worker.down"),
            (RAISED, "queue.down"),
        ]
        assert failures == []


async def test_alert_open_after_the_quiet_time_is_notified_then(tmp_path: Path) -> None:
    command, told = listener(tmp_path)
    with opened(tmp_path, hook=command) as box:
        notifier = HookNotifier(box, lambda alert, why: None, min_repeat_interval_s=0.5)

        async def body() -> None:
            for count, state in enumerate((RAISED, RESOLVED, RAISED), 1):
                notifier.notify(state, ALERT)
                await until(lambda count=count: len(told()) == count)

        await running(notifier, body)


async def test_failing_hook_is_retried_and_then_given_up(tmp_path: Path) -> None:
    path = tmp_path / "tries"
    code = f"open({str(path)!r}, 'a').write('x'); raise SystemExit(9)"
    with opened(tmp_path, hook=[*PYTHON, code], retries=1) as box:
        failures: list[str] = []
        notifier = HookNotifier(box, lambda alert, why: failures.append(why))

        async def body() -> None:
            notifier.notify(RAISED, ALERT)
            await until(lambda: failures)

        await running(notifier, body)
        assert (failures, path.read_text()) == (["exit code 9 (2 tries)"], "xx")


async def _night(box: Box, *looks: Snapshot, marked: dict[str, int]) -> None:
    """Run the daemon's duties on some snapshots until the store's notified fact is `marked`."""

    async def each() -> Any:
        for look in looks:
            yield look
        await until(lambda: box.store.get_fact(NOTIFIED_FACT) == marked)

    async with asyncio.timeout(20):
        await _attend(DaemonDuties(box, lambda: None), each())


async def test_alert_a_killed_daemon_did_not_notify_is_notified_by_the_next(tmp_path: Path) -> None:
    command, told = listener(tmp_path)
    with opened(tmp_path, hook=command) as box:
        first = AlertManager(box)
        for after in (0, 2, 4):  # raised and recorded; killed before the hook call
            first.update(down(box, after))
        assert len(fold_open_alerts(box.store.events())) == 1
        await _night(box, down(box, 6), down(box, 8), marked={"worker.down": 1})
        assert told() == [(RAISED, "worker.down")]
        await _night(box, down(box, 10), down(box, 12), marked={"worker.down": 1})
        assert told() == [(RAISED, "worker.down")]  # marked as notified: not repeated
        second = AlertManager(box)
        for after in (14, 16, 18):  # resolved; the daemon is killed again
            second.update(seen(box, 1, after=after))
        assert fold_open_alerts(box.store.events()) == ()
        well = [seen(box, 1, after=after) for after in (20, 22)]
        await _night(box, *well, marked={})
        await _night(box, *well, marked={})
        assert told() == [(RAISED, "worker.down"), (RESOLVED, "worker.down")]


# --- alerts, hook and hand-over together ----------------------------------------------------


async def test_daemon_writes_alerts_and_the_hand_over(tmp_path: Path, outputs: Path) -> None:
    command, told = listener(tmp_path)
    with opened(tmp_path, hook=command) as box:
        night = DaemonDuties(box, lambda: None)

        async def looks() -> Any:
            for after in range(6):
                yield down(box, after)
            await until(told)
            for after in range(6, 9):
                yield seen(box, 1, after=after)
            await until(lambda: len(told()) == 2)

        async with asyncio.timeout(20):
            await _attend(night, looks())
        assert told() == [(RAISED, "worker.down"), (RESOLVED, "worker.down")]
        kinds = [event.kind for event in box.store.events(kinds=ALERT_KINDS)]
        assert kinds == [EventKind.ALERT_RAISED, EventKind.ALERT_RESOLVED]
        text = (outputs / "handover.md").read_text()
        assert "**worker is down** (over)" in text and "The box is HEALTHY" in text


async def _attend(night: DaemonDuties, looks: Any) -> None:
    task = asyncio.create_task(night.hook_notifier.run())
    async for snapshot in looks:
        await night.handle_snapshot(snapshot)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_hand_over_is_written_each_minute_and_on_a_verdict_change(
    box: Box, outputs: Path
) -> None:
    night, file = DaemonDuties(box, lambda: None), outputs / "handover.md"
    times = []
    for view in (down(box), down(box, 30), seen(box, 1, after=40), seen(box, 1, after=101)):
        await night.handle_snapshot(view)
        times.append(file.stat().st_ino)  # each write makes a new file
    assert [a != b for a, b in pairwise(times)] == [False, True, True]


async def test_failing_upkeep_is_recorded_once_and_alerting_continues(
    tmp_path: Path, box: Box
) -> None:
    (tmp_path / "outputs").write_text("no directory")

    def broken() -> None:
        raise RuntimeError("no view")

    night = DaemonDuties(box, broken)
    for after in range(0, 300, 61):
        await night.handle_snapshot(down(box, after))
    told = [e.reason for e in box.store.events() if e.kind is EventKind.NOTICED]
    assert len(told) == 2 and "upkeep: RuntimeError: no view" in told
    assert [alert.key for alert in fold_open_alerts(box.store.events())] == ["worker.down"]


async def test_hanging_storage_is_recorded_once(box: Box) -> None:
    durations = iter(range(2, 100))
    mount = "(mount /outputs, fuse)"

    def broken() -> None:
        raise StorageTimeoutError(f"/outputs does not answer since {next(durations)}s {mount}")

    duties = DaemonDuties(box, broken)
    for after in range(0, 300, 61):
        await duties.handle_snapshot(down(box, after))
    reasons = [e.reason for e in box.store.events() if e.kind is EventKind.NOTICED]
    assert reasons == [f"upkeep: StorageTimeoutError: /outputs does not answer since 2s {mount}"]


def test_alert_older_than_the_events_in_memory_stays_open(box: Box) -> None:
    alerting = AlertManager(box)
    for _ in range(2):
        alerting.update(down(box))
    filler = Event(EventKind.CONFIRMED, box.now(), "worker", "cli")
    box.store.write(  # one transaction: separate commits take a minute
        ("INSERT INTO events (kind, at, tick, boot, role, actor, reason, data)"
         " VALUES (?, ?, 0, '', 'worker', 'cli', '', '{}')", (filler.kind.value, filler.moment.at))
        for _ in range(3_000)
    )  # fmt: skip
    view = StoreView(box, {})
    view.refresh()
    assert [alert.key for alert in view.compose().alerts] == ["worker.down"]
