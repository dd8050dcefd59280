"""The hand-over report for one night with failures, and its parts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import failure_ledger
import pytest
from failure_ledger import ANA, ZONE, Ledger, at, ledger, snapshot
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from console.core.handover.builder import build_handover
from console.core.handover.json_export import handover_to_json
from console.core.handover.markdown import escape_markdown, format_evidence, render_markdown
from console.core.handover.model import TimeFormatter
from console.core.handover.timeline import build_timeline
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import RoleState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.records import replace
from console.core.text.formatting import sanitize_text
from console.core.text.time_parsing import DAY_S, moment_ago, parse_time

K = EventKind
START = at("18:30:00")


@pytest.fixture(scope="module")
def text() -> str:
    return render_markdown(build_handover(snapshot(), ledger(), START, ZONE), ZONE)


def test_rendering_is_deterministic(text: str) -> None:
    assert render_markdown(build_handover(snapshot(), ledger(), START, ZONE), ZONE) == text


def test_summary_comes_first(text: str) -> None:
    head = text.partition("## Background jobs")[0]
    assert text.startswith("# Hand-over: box17, 2025-11-04 00:30\n")
    assert "The box is HEALTHY since 00:06:13" in head
    assert "Exactly one worker runs: PID 60101, up 24m" in head
    assert "and fails already" in head
    assert "Nothing critical waits for a person" in head


@pytest.mark.parametrize(
    "line",
    [
        "its launcher has ended, as it should; the daemon runs on as PID 977, since 11-03 21:16:40",
        "| Canary | running | 30m | 00:04:00 (26m ago) | 00:34:00 | ok: looked (look 12) |",
        "| restart count | 2 | <= 0 | 2 | fail | fails already: 2 restarts, the last at 00:06"
        " (#21, #32) |",
        "1. **worker: duplicates** (over): 2 instances where 1 is wanted; from 11-03 18:33:42,"
        " resolved 11-03 18:36:22 (5h53m ago) (#6, #12).",
        "- [x] Exactly one worker (#32)",
        "- [ ] The normal baseline has passed (#11): **no**",
        "- 18:40:00 to 18:55:00 worker: looked for and found: PID 52928 (adopted), 4 times"
        " (#13, #14, #15, #16)",
        "- 00:36:20, in 6m: checkpoint of the baseline",
        "for 6m nobody ran the monitors (ended by SIGKILL) (#17, #19)",
        "How worker PID 52928 ended at 11-03 22:41:00: exit code unknown (not started by us) (#20)",
        "- 11-03 23:58:00 **rule**: restart 1 of 3 after 5 s of back-off (first death in a row);"
        " at most 3 restarts in 10m (#23)",
    ],
)
def test_report_contains_the_expected_line(text: str, line: str) -> None:
    assert line in text


def test_every_evidence_reference_names_an_existing_event(text: str) -> None:
    named = {int(number) for number in re.findall(r"#(\d+)", text)}
    assert named <= {event.id for event in ledger()} and len(named) > 20
    document = handover_to_json(build_handover(snapshot(), ledger(), START, ZONE))
    for line in document["happened"]:
        assert line["events"]


def test_timeline_covers_every_event() -> None:
    event_ids = [number for line in build_timeline(ledger(), START) for number in line.event_ids]
    assert sorted(event_ids) == [event.id for event in ledger()]


def test_report_covers_only_the_requested_period(text: str) -> None:
    late = render_markdown(build_handover(snapshot(), ledger(), at("00:00:00"), ZONE), ZONE)
    assert "Why worker" not in late and "OOM" not in late and "PID 60101" in late


def test_json_document_is_plain_json(text: str) -> None:
    document = handover_to_json(build_handover(snapshot(), ledger(), START, ZONE))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["schema"], document["verdict"], document["at"]) == (
        1, "healthy", "2025-11-03T15:30:00.000Z",
    )  # fmt: skip
    assert {one["title"] for one in document["findings"]} >= {"worker is parked", "worker is down"}
    assert [one["met"] for one in document["conditions"]].count(True) == 7


def test_report_for_a_box_without_data() -> None:
    empty = Snapshot("h", "b", at("00:30:00"), Verdict.UNKNOWN)
    text = render_markdown(build_handover(empty, [], START, ZONE), ZONE)
    assert "In this time: nothing went wrong" in text and "None is being collected" in text
    handover_to_json(build_handover(empty, [], START, ZONE))


def test_missing_worker_report_names_the_command_to_run() -> None:
    gone = snapshot()
    roles = tuple(
        replace(one, instances=(), state=RoleState.PARKED, reason="a person must act")
        for one in gone.roles
    )
    text = render_markdown(build_handover(replace(gone, roles=roles), ledger(), START, ZONE), ZONE)
    assert "A person is needed: worker is down, worker is parked" in text
    assert "`rpa-console restart worker` takes it up again" in text
    assert "- [ ] Exactly one worker: **no**" in text


# --- timeline -------------------------------------------------------------------------------


def test_repeated_confirmations_are_merged_into_one_line() -> None:
    written = Ledger()
    for minute in range(50):
        written.write(f"19:{minute:02d}:00", K.CONFIRMED, "worker", "cli", "PID 7 runs", 7)
        written.write(f"19:{minute:02d}:30", K.CONFIRMED, "queue", "cli", "PID 8 runs", 8)
    lines = build_timeline(written, START)
    assert [(line.count, line.until) for line in lines] == [
        (50, at("19:49:00")), (50, at("19:49:30")),
    ]  # fmt: skip
    assert format_evidence(lines[0].event_ids) == " (#1 to #99, 50 lines)"


def test_recovered_monitor_is_reported_once() -> None:
    written = Ledger()
    written.write("19:00:00", K.MONITOR_CHANGED, "", "daemon", "queue: ok", monitor="queue",
               state="ok")  # fmt: skip
    assert [line.text for line in build_timeline(written, START)] == ["queue monitor: ok"]


def test_flapping_is_merged_until_a_long_pause() -> None:
    written = Ledger()
    for second in range(8):
        state = "failing" if second % 2 == 0 else "ok"
        written.write(f"19:00:{second:02d}", K.MONITOR_CHANGED, "", "daemon", "canary: slow",
                   monitor="canary", state=state)  # fmt: skip
    written.write("21:00:00", K.MONITOR_CHANGED, "", "daemon", "canary: slow", monitor="canary",
               state="failing")  # fmt: skip
    first, second_ = build_timeline(written, START)
    assert first.text == "canary monitor: failing: slow; ok 1s later; failing 1s later; ok 1s later"
    assert (first.count, len(first.event_ids), second_.event_ids) == (5, 8, (9,))


def test_restart_by_an_operator_is_one_line() -> None:
    written = Ledger()
    written.write("19:00:00", K.ASKED, "worker", ANA, "", 7, 1, verb="restart")
    written.write("19:00:01", K.DIED, "worker", "shim", "ended by SIGTERM", 7, 1, uptime_s=60.0)
    written.write("19:00:01", K.ENDED, "worker", ANA, "politely", 7, 1, verb="restart")
    written.write("19:00:02", K.STARTED, "worker", ANA, "", 8, 2)
    (line,) = build_timeline(written, START)
    assert line.text == (
        f"worker: PID 7 restarted by {ANA}; died after 1m: ended by SIGTERM; "
        f"{ANA} started PID 8 under token 2 1s later"
    )


words = st.none() | st.integers(0, 9) | st.sampled_from(["kill", "ensure", "critical"])
events = st.lists(
    st.builds(
        Event, st.sampled_from(EventKind),
        st.builds(Moment, st.floats(1e9, 2e9), st.floats(0, 1e6), st.sampled_from(["", "b"])),
        st.sampled_from(["", "worker", "monitors", "x"]), st.text(max_size=9), st.text(max_size=20),
        st.none() | st.builds(Identity, st.integers(1, 3), st.just(1), st.just("b")),
        st.none() | st.integers(1, 9),
        st.fixed_dictionaries(
            {}, optional={
                **dict.fromkeys(("verb", "key", "state", "verdict", "severity", "monitor"), words),
                "uptime_s": st.none() | st.floats(0, 1e6),
            },
        ),
    ),
    max_size=30,
)  # fmt: skip


@given(events)
def test_any_ledger_gives_a_complete_and_sanitized_report(found: list[Event]) -> None:
    numbered = [replace(event, id=index + 1) for index, event in enumerate(found)]
    lines = build_timeline(numbered, Moment(0.0))
    assert sorted(n for line in lines for n in line.event_ids) == [e.id for e in numbered]
    handover = build_handover(snapshot(), numbered, Moment(0.0), ZONE)
    text = render_markdown(handover, ZONE)
    assert all(sanitize_text(line) == line for line in text.split("\n"))
    json.dumps(handover_to_json(handover))


# --- Markdown -------------------------------------------------------------------------------


def shown(source: str) -> str:
    """Return the visible text of one rendered Markdown line."""
    (block,) = [one for one in MarkdownIt("gfm-like", {"linkify": False}).parse(source)
                if one.type == "inline"]  # fmt: skip
    assert {child.type for child in block.children or ()} <= {"text", "text_special"}
    return "".join(child.content for child in block.children or ())


@pytest.mark.parametrize(
    "hostile",
    [
        "**bold** _it_ `code`", "<script>alert(1)</script>", "[x](http://evil)", "![x](y)",
        "a | b", "~~gone~~", "&lt;b&gt;", "back\\slash", "rpa_worker.py", "snake _case_ x",
        "<!-- -->", "< 5 s", ">= 95 %", "1. one", "- two", "# three",
    ],
)  # fmt: skip
def test_escape_markdown_shows_text_literally(hostile: str) -> None:
    assert shown("x " + escape_markdown(hostile)) == "x " + hostile


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_escape_markdown_shows_any_ascii_text_literally(hostile: str) -> None:
    assert shown("x " + escape_markdown(hostile) + " x").split() == f"x {hostile} x".split()


def test_event_text_cannot_break_lines_or_tables() -> None:
    written = Ledger()
    written.write("19:00:00", K.NOTICED, "", "daemon", "a\n# heading\x1b[31m | <b>")
    text = render_markdown(build_handover(snapshot(), written, START, ZONE), ZONE)
    assert "- 19:00:00 a\\\\n# heading\\\\x1b\\[31m \\| \\<b>" in text


# --- start of the period --------------------------------------------------------------------

NOON = Moment(datetime(2025, 11, 4, 12, 0, tzinfo=ZONE).timestamp(), 5e5, "b1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("11:30", datetime(2025, 11, 4, 11, 30, tzinfo=ZONE)),
        ("18:40", datetime(2025, 11, 3, 18, 40, tzinfo=ZONE)),
        ("12:00:00", datetime(2025, 11, 4, 12, 0, tzinfo=ZONE)),
        ("2h", datetime(2025, 11, 4, 10, 0, tzinfo=ZONE)),
        ("1.5 d", datetime(2025, 11, 3, 0, 0, tzinfo=ZONE)),
        ("2025-11-03T18:40", datetime(2025, 11, 3, 18, 40, tzinfo=ZONE)),
        ("2025-11-03T18:40Z", datetime(2025, 11, 3, 18, 40, tzinfo=UTC)),
        ("2025-11-03", datetime(2025, 11, 3, 0, 0, tzinfo=ZONE)),
    ],
)
def test_parse_time_accepts_common_forms(text: str, expected: datetime) -> None:
    assert parse_time(text, NOON, ZONE).at == expected.timestamp()


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2025-11-05", "-2h", "h", "2025-02-30"])
def test_parse_time_refuses_invalid_text(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text, NOON, ZONE)


def test_parse_time_handles_repeated_and_skipped_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    after = Moment(datetime(2025, 10, 26, 12, 0, tzinfo=berlin).timestamp())
    assert parse_time("02:30", after, berlin).at <= after.at
    skipped = Moment(datetime(2025, 3, 30, 12, 0, tzinfo=berlin).timestamp())
    assert parse_time("02:30", skipped, berlin).at <= skipped.at


@given(st.text(max_size=12))
def test_parse_time_is_never_later_than_now(text: str) -> None:
    try:
        assert parse_time(text, NOON, ZONE).at <= NOON.at
    except (ValueError, OverflowError):
        pass


def test_formatted_times_include_the_date_of_another_day() -> None:
    times = TimeFormatter(NOON, timezone(timedelta(hours=9)))
    assert times.format_time(moment_ago(3600, NOON)) == "11:00:00"
    assert times.format_time(moment_ago(DAY_S, NOON)) == "11-03 12:00:00"
    assert times.format_time(moment_ago(300 * DAY_S, NOON)) == "2025-01-08 12:00:00"
    assert (times.format_time(None), times.format_time_with_age(None)) == ("?", "never")


def test_failure_ledger_is_in_time_order() -> None:
    moments: list[Any] = [event.moment.at for event in failure_ledger.ledger()]
    assert moments == sorted(moments)


def test_unrecorded_daemon_kill_leaves_a_gap_of_unknown_length() -> None:
    written = Ledger()
    written.write("20:00:00", K.DAEMON_STARTED, "", "daemon", "PID 1")
    written.write("21:00:00", K.DAEMON_STARTED, "", "daemon", "PID 2")
    written.write("22:00:00", K.DAEMON_STOPPED, "", "daemon", "PID 2")
    written.write("22:10:00", K.DAEMON_STARTED, "", "daemon", "PID 3")
    text = render_markdown(build_handover(snapshot(), written, START, ZONE), ZONE)
    assert (
        "For how long nobody ran the monitors before 11-03 21:00:00: who ran them was killed, and"
        " told no end of it (#1, #2)"
    ) in text
    assert "from 11-03 22:00:00 to 11-03 22:10:00: for 10m nobody ran the monitors (#3, #4)" in text
