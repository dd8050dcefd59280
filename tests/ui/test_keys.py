"""Keys and dialogs: the commands they submit, their refusals and their texts."""

from __future__ import annotations

import asyncio
import re

import pytest
from ui_fixtures import Box, console, press, settle, shown

from console.core.model.commands import Command, Outcome, Verb
from console.core.model.roles import Lease, LeaseState, RoleState
from console.core.model.views import BaselineView, DaemonView
from console.core.records import replace
from console.ui.commands.handlers import HANDLERS
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.keymap import COMMAND_SPECS, format_key
from screenshots.generator.fixture_night import healthy_snapshot, make_worker
from screenshots.generator.fixture_trouble import down_snapshot

WORKER = make_worker().identity
ME = "console:ana@pts/3"


def doubled() -> Box:
    """Return a box with two workers, the second one surplus."""
    healthy = healthy_snapshot()
    second = make_worker(50468, 30.0, leased=False)
    view = replace(
        healthy.roles[0],
        instances=(healthy.roles[0].instances[0], second),
        surplus=(second.identity,),
    )
    return Box(replace(healthy, roles=(view, healthy.roles[1])))


def test_every_command_has_a_handler_and_unique_keys() -> None:
    assert {entry.id for entry in COMMAND_SPECS} == set(HANDLERS)
    keys = [key for entry in COMMAND_SPECS for key in (entry.key, *entry.other_keys)]
    assert len(keys) == len(set(keys))
    assert not {"backspace", "delete"} & set(keys)


async def test_ensure_is_submitted_without_confirmation() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "e")
        assert box.asked == [Command(Verb.ENSURE, "worker", ME, token=41)]
        assert "● done as asked" in shown(pilot)


async def test_restart_confirmation_lists_the_consequences() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "r")
        text = shown(pilot)
        for part in (
            "Restart worker 40864?",
            "40864 › 40870  (2 processes)",
            "leased #41",
            "0 of 3 automatic ones in 10m",
            "in flight 1 task, taken 3s ago: cut off",
            "collecting (31 %): will fail: 1 restart where 0 may be",
            "Cancel",
            "y  restart",
        ):
            assert part in text
        assert box.asked == []
        await press(pilot, "y")
        assert box.asked == [Command(Verb.RESTART, "worker", ME, WORKER, 41)]


async def test_restart_confirmation_counts_restarts_before_manual_takeover() -> None:
    healthy = healthy_snapshot()
    box = Box(
        replace(
            healthy, roles=(replace(healthy.roles[0], automatic_restarts=3), *healthy.roles[1:])
        )
    )
    async with console(box) as pilot:
        await press(pilot, "r")
        told = "3 automatic ones in 10m, 0 of 3 since a person last took charge"
        assert told in shown(pilot)


@pytest.mark.parametrize("key", ["enter", "escape", "n"])
async def test_cancel_submits_nothing(key: str) -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "r", key)
        assert box.asked == []
        assert not isinstance(pilot.app.screen, ConfirmDialog)
        assert "nothing was done" in shown(pilot)


async def test_kill_of_a_healthy_worker_requires_its_name() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "k")
        assert "type worker below to kill it" in shown(pilot)
        await press(pilot, "y", "enter")
        assert box.asked == []
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await press(pilot, "backspace", *"worker", "enter")
        assert box.asked == [Command(Verb.KILL, "worker", ME, WORKER, 41)]


@pytest.mark.parametrize("count", [1, 2])
async def test_kill_of_one_of_two_healthy_workers_requires_the_name(count: int) -> None:
    box = doubled()
    view = box.snapshot.roles[0]
    surplus = view.surplus if count == 1 else ()
    several = replace(view, role=replace(view.role, count=count), surplus=surplus)
    box.snapshot = replace(box.snapshot, roles=(several, *box.snapshot.roles[1:]))
    async with console(box) as pilot:
        await press(pilot, "down", "k")
        assert "type worker below to kill it" in shown(pilot) and "1 other goes on" in shown(pilot)
        await press(pilot, "y", "enter", *"y\r")
        assert box.asked == []
        await press(pilot, "escape", "k", *"worker", "enter")
        assert [command.verb for command in box.asked] == [Verb.KILL]


async def test_restart_confirmation_names_the_task_in_flight() -> None:
    healthy = healthy_snapshot()
    held = replace(healthy.queue, lease_task="invoice 3f2a-77")
    async with console(Box(replace(healthy, queue=held))) as pilot:
        await press(pilot, "r")
        assert "1 task, invoice 3f2a-77, taken 3s ago: cut off" in shown(pilot)
    several = replace(held, inflight=3)
    async with console(Box(replace(healthy, queue=several))) as pilot:
        await press(pilot, "r")
        assert "3 tasks, the oldest invoice 3f2a-77, taken 3s ago: cut off" in shown(pilot)


async def test_kill_with_empty_name_cancels() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "k", "enter")
        assert box.asked == []
        assert not isinstance(pilot.app.screen, ConfirmDialog)


async def test_kill_of_a_stalled_worker_requires_only_y() -> None:
    healthy = healthy_snapshot()
    box = Box(replace(healthy, roles=(replace(healthy.roles[0], state=RoleState.STALLED),)))
    async with console(box) as pilot:
        await press(pilot, "k", "y")
        assert box.asked == [Command(Verb.KILL, "worker", ME, WORKER, 41)]


async def test_replaced_target_is_refused() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "r")
        fresh = make_worker(51000, 2.0)
        box.news(roles=(replace(box.snapshot.roles[0], instances=(fresh,)),))
        await press(pilot, "y")
        assert "refused: worker 40864 is gone; now 51000 runs" in shown(pilot)
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await press(pilot, "y", "enter")
        assert box.asked == []


async def test_missing_target_is_refused_even_when_its_name_is_typed() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "k", *"worker")
        box.news(roles=(replace(box.snapshot.roles[0], instances=()),))
        await press(pilot, "enter")
        assert box.asked == []


async def test_reused_pid_is_refused() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "r")
        again = make_worker(40864, 2.0)
        box.news(roles=(replace(box.snapshot.roles[0], instances=(again,)),))
        await press(pilot, "y")
        assert box.asked == []


async def test_selection_follows_the_process_identity() -> None:
    box = doubled()
    async with console(box) as pilot:
        await press(pilot, "down")
        view = box.snapshot.roles[0]
        box.news(roles=(replace(view, instances=view.instances[::-1]), box.snapshot.roles[1]))
        await settle(pilot)
        await press(pilot, "k", *"worker", "enter")
        assert [command.target for command in box.asked] == [make_worker(50468, 30.0).identity]


async def test_missing_selection_is_reported_and_does_not_move() -> None:
    box = Box()
    async with console(box) as pilot:
        box.news(roles=(replace(box.snapshot.roles[0], instances=(make_worker(51000, 2.0),)),))
        await settle(pilot)
        assert "40864  selected, not there" in shown(pilot)
        await press(pilot, "r")
        assert "the selected worker 40864 is gone" in shown(pilot)
        await press(pilot, "up", "r", "y")
        assert [command.target for command in box.asked] == [make_worker(51000, 2.0).identity]


async def test_role_without_an_instance_accepts_only_ensure() -> None:
    box = Box(down_snapshot())
    async with console(box) as pilot:
        await press(pilot, "r", "k")
        assert box.asked == []
        assert "has no instance that could be ended" in shown(pilot)
        await press(pilot, "e")
        assert box.asked == [Command(Verb.ENSURE, "worker", ME, token=41)]


async def test_kill_on_a_role_with_two_instances_requires_a_selection() -> None:
    box = doubled()
    async with console(box) as pilot:
        await press(pilot, "home", "k")
        assert "worker has 2 instances: choose one" in shown(pilot)
        assert box.asked == []


async def test_duplicates_dialog_lists_kept_and_ended_instances() -> None:
    box = doubled()
    async with console(box) as pilot:
        await press(pilot, "x")
        text = shown(pilot)
        assert "stays  PID 40864" in text
        assert "ends   PID 50468" in text
        assert "keeps the oldest" in text
        await press(pilot, "y")
        assert box.asked == [Command(Verb.END_DUPLICATES, "worker", ME, token=41)]


async def test_duplicates_are_refused_when_they_have_changed() -> None:
    box = doubled()
    async with console(box) as pilot:
        await press(pilot, "x")
        view = box.snapshot.roles[0]
        box.news(roles=(replace(view, instances=view.instances[:1], surplus=()),))
        await press(pilot, "y")
        assert box.asked == []
        assert "have changed meanwhile" in shown(pilot)


async def test_long_surplus_list_scrolls_to_its_end() -> None:
    healthy = healthy_snapshot()
    many = tuple(make_worker(60_000 + 10 * n, 30.0 + n, leased=False) for n in range(60))
    view = replace(
        healthy.roles[0], instances=many, surplus=tuple(one.identity for one in many[1:])
    )
    box = Box(replace(healthy, roles=(view, healthy.roles[1])))
    async with console(box, size=(80, 24)) as pilot:
        await press(pilot, "x")
        assert "End 59 surplus" in shown(pilot) and "↓ 4" in shown(pilot)
        assert "PID 60590" not in shown(pilot)
        await press(pilot, "end")
        assert "PID 60590" in shown(pilot) and "y  end them" in shown(pilot)
        await press(pilot, "home", "down")
        assert "↑ 1 more" in shown(pilot)


async def test_duplicates_key_opens_no_dialog_without_surplus() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "x")
        assert "worker has no surplus instance" in shown(pilot)
        assert box.asked == []


async def test_canary_and_baseline_keys_submit_their_commands() -> None:
    box = Box(replace(healthy_snapshot(), baseline=BaselineView()))
    async with console(box) as pilot:
        await press(pilot, "c", "b")
        assert [command.verb for command in box.asked] == [Verb.CANARY, Verb.BASELINE]


async def test_stopping_the_baseline_requires_confirmation() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "b")
        assert "a collection at 31 %" in shown(pilot)
        assert box.asked == []
        box.news(baseline=BaselineView("complete"))
        await press(pilot, "y", "escape", "b")
        assert [command.verb for command in box.asked] == [Verb.BASELINE]


async def test_daemon_starts_only_when_no_daemon_runs_the_monitors() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "D")
        assert "run by daemon 38002 already" in shown(pilot)
        box.news(daemon=DaemonView(reason="killed"))
        await press(pilot, "D")
        assert box.asked == [Command(Verb.START_DAEMON, actor=ME)]
        assert "nobody runs them: killed" in shown(pilot)


async def test_read_only_console_submits_no_command() -> None:
    box = doubled()
    async with console(box, read_only=True) as pilot:
        assert "READ-ONLY" in shown(pilot)
        assert " k kill" not in shown(pilot)
        for entry in COMMAND_SPECS:
            if entry.changes_box:
                await press(pilot, entry.key, "y")
                assert f"read-only: {entry.label} was not sent" in shown(pilot)
        assert box.asked == []


async def test_read_only_palette_and_help_omit_changing_commands() -> None:
    async with console(Box(), read_only=True) as pilot:
        await press(pilot, "colon")
        assert "End the selected instance" not in shown(pilot)
        await press(pilot, "escape", "question_mark")
        assert "End the selected instance" not in shown(pilot)


async def test_refusals_and_failures_are_shown() -> None:
    box = Box(outcome=Outcome(False, "worker: refused: PID 40864 is gone", 1))
    async with console(box) as pilot:
        await press(pilot, "e")
        assert "✖ ensure worker: refused: PID 40864 is gone" in shown(pilot)
        box.outcome = RuntimeError("store \x1b[31mlocked")
        await press(pilot, "e")
        assert "✖ ensure failed: store \\x1b[31mlocked" in shown(pilot)
        box.outcome = Outcome(False, "worker: refused: another is at work", 4)
        await press(pilot, "e")
        assert "✖ ensure worker: refused: another is at work" in shown(pilot)


async def test_running_command_shows_its_state_and_is_not_sent_twice() -> None:
    box = Box()
    box.hold = asyncio.Event()
    async with console(box) as pilot:
        await press(pilot, "e")
        assert "▲ ensuring worker …" in shown(pilot)
        await press(pilot, "e")
        assert len(box.asked) == 1
        box.hold.set()
        await settle(pilot)
        assert "● done as asked" in shown(pilot)


async def test_keys_can_be_remapped() -> None:
    box = Box()
    async with console(box, key_overrides={"ensure": "E"}) as pilot:
        await press(pilot, "e")
        assert box.asked == []
        await press(pilot, "E")
        assert [command.verb for command in box.asked] == [Verb.ENSURE]
        assert " E ensure" in shown(pilot)


@pytest.mark.parametrize(
    "keys", ["q", "ctrl+q", "ctrl+c", "k ctrl+c", "slash ctrl+c", "l ctrl+c", "colon ctrl+q"]
)
async def test_quit_keys_exit_and_submit_nothing(keys: str) -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, *keys.split())
        assert pilot.app.return_code == 0
        assert box.app is not None
        assert box.app.exit_message == "monitoring goes on: daemon PID 38002"
    assert box.asked == []


def many() -> Box:
    """Return a box with three workers, 1 to 3, that differ in age, CPU and memory."""
    healthy = healthy_snapshot()
    three = tuple(
        make_worker(pid, age) for pid, age in ((50_001, 60.0), (50_002, 600.0), (50_003, 6.0))
    )
    usage = {50_001: (2.0, 9_000_000), 50_002: (None, None), 50_003: (1.0, 90_000_000)}
    view = replace(healthy.roles[0], instances=three, usage=usage)
    return Box(replace(healthy, roles=(view, healthy.roles[1])))


def order(text: str) -> list[str]:
    """Return the last digit of each worker's PID, from the top down."""
    return re.findall(r"5000(\d)›", text)


async def test_sort_key_cycles_the_orders_and_keeps_the_selection() -> None:
    box = many()
    async with console(box) as pilot:
        await press(pilot, "down")
        assert "▸   50002›" in shown(pilot)
        for head, wanted in (("UP▾", "213"), ("CPU▾", "132"), ("MEM▾", "312"), ("MEM ", "123")):
            await press(pilot, "o")
            assert order(shown(pilot)) == list(wanted), head
            assert head in shown(pilot) and "▸   50002›" in shown(pilot)
        await press(pilot, "o", "r", "y")
        assert [command.target and command.target.pid for command in box.asked] == [50_002]


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (100, 30), (120, 40), (160, 50)])
@pytest.mark.parametrize("read_only", [False, True])
async def test_footer_lists_the_focused_panes_keys_first_and_uncut(
    size: tuple[int, int], read_only: bool
) -> None:
    async with console(Box(), size=size, read_only=read_only) as pilot:
        for pane, first in (("1", "e ensure"), ("2", "c canary"), ("6", "b baseline"),
                            ("7", "[ shorter"), ("8", "w why")):  # fmt: skip
            await press(pilot, pane)
            await settle(pilot)
            foot = shown(pilot).splitlines()[-1]
            assert foot.startswith(f" {first} ") or read_only
            assert "? help  q leave" in foot
            told = [part for part in foot.split("  ") if part.strip()]
            assert {part.strip() for part in told} <= {
                f"{format_key(entry.key)} {entry.label}" for entry in COMMAND_SPECS
            }


async def test_orphaned_lease_is_shown() -> None:
    healthy = healthy_snapshot()
    lease = Lease(LeaseState.ORPHANED, reason="PID 40999 keeps it")
    box = Box(replace(healthy, roles=(replace(healthy.roles[0], lease=lease),)))
    async with console(box, size=(160, 50)) as pilot:
        assert "lease orphaned: PID 40999 keeps it" in shown(pilot)


async def test_confirmation_shows_the_processes_of_a_fresh_dry_run() -> None:
    box = Box()
    box.rehearsal = Outcome(True, "worker: would end PID 40864 (python rpa_worker.py), PID 7 (ocr)")
    async with console(box) as pilot:
        await press(pilot, "r")
        assert "PID 7 (ocr)" in shown(pilot)
        await press(pilot, "escape")
    assert box.asked == []


async def test_confirmation_shows_a_refusal_of_the_dry_run() -> None:
    box = Box()
    box.rehearsal = Outcome(False, "worker: would be refused: run by state directory /a", 1)
    async with console(box) as pilot:
        await press(pilot, "r")
        assert "run by state directory /a" in shown(pilot)
        await press(pilot, "y")
    assert box.asked == []
