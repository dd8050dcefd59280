"""The log dialog: following, scrolling, switching streams, searching, wrapping."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from ui_fixtures import Box, console, press, settle, shown

from console.core.model.logs import LogPage, LogSearchResult
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.text.formatting import find_casefolded, format_clock
from console.system.files import log_search, safe_files
from console.ui.dialogs import log, log_buffer
from console.ui.dialogs.log import LogDialog
from console.ui.ports import LogReader
from screenshots.generator.fixture_night import NOW, healthy_snapshot


def page(first: int, count: int, size: int) -> LogPage:
    return LogPage(
        "worker.err", tuple(f"row {n}" for n in range(first, first + count)), 0, size, size
    )


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "POLL_INTERVAL_S", 0.02)


async def test_log_follows_the_end() -> None:
    box = Box()
    box.pages = [page(0, 100, 1000)]
    async with console(box) as pilot:
        await press(pilot, "l")
        assert "FOLLOWING" in shown(pilot) and "row 99" in shown(pilot)
        box.pages = [page(100, 3, 1030)]
        await pilot.pause(0.1)
        assert "row 102" in shown(pilot)


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (40, 10)])
async def test_footer_names_the_keys_at_every_size(size: tuple[int, int]) -> None:
    box = Box()
    box.pages = [page(0, 100, 1000)]
    async with console(box, size) as pilot:
        await press(pilot, "l", "home")
        foot = shown(pilot).splitlines()[-1]
        assert "? keys  Esc close" in foot and "more" in foot
        assert "Tab out/err" in foot or size[0] < 100
        assert "worker.err" in foot or size[0] < 160
        await press(pilot, "question_mark")
        assert "Log · keys" in shown(pilot) and "follow the end" in shown(pilot)
        await press(pilot, "down", "down", "down", "down", "down", "escape")
        assert "Log · keys" not in shown(pilot) and "Log of worker" in shown(pilot)
        await press(pilot, "escape")
        assert "Log of worker" not in shown(pilot)


async def test_help_lists_the_log_keys() -> None:
    async with console(Box(), (120, 100)) as pilot:
        await press(pilot, "question_mark")
        assert "In the log (l)" in shown(pilot) and "/ n N" in shown(pilot)


async def test_log_opened_in_the_past_is_labelled_now() -> None:
    async def past(around: Moment, way: int) -> Snapshot | None:
        return healthy_snapshot()

    box = Box()
    async with console(box, load_past=past) as pilot:
        await press(pilot, "l")
        assert "NOW" not in shown(pilot)
        await press(pilot, "escape", "comma")
        await pilot.pause(0.05)
        await press(pilot, "l")
        assert f"Log of worker · NOW, not {format_clock(NOW)} · err" in shown(pilot)


async def test_scrolled_log_keeps_its_place_and_counts_new_lines() -> None:
    box = Box()
    box.pages = [page(0, 100, 1000)]
    async with console(box) as pilot:
        await press(pilot, "l", "home")
        assert "row 0 " in shown(pilot)
        box.pages = [page(100, 37, 1370)]
        await pilot.pause(0.1)
        assert "+37 new" in shown(pilot) and "row 0 " in shown(pilot)
        await press(pilot, "end")
        assert "FOLLOWING" in shown(pilot) and "row 136" in shown(pilot)


async def test_log_wraps_searches_and_switches_streams() -> None:
    box = Box()
    long = "begin " + "x" * 150 + " finish"
    box.pages = [LogPage("worker.err", ("first", long, "needle here", "last"), 0, 9, 9)]
    async with console(box, size=(80, 24)) as pilot:
        await press(pilot, "l")
        assert "finish" not in shown(pilot) and "…" in shown(pilot)
        await press(pilot, "w")
        assert "finish" in shown(pilot)
        await press(pilot, "slash", *"needle", "enter", "n", "N")
        assert "/ needle" in shown(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, LogDialog)
        box.pages = [LogPage("worker.out", ("other stream",), 0, 5, 5)]
        await press(pilot, "tab")
        async with asyncio.timeout(30):
            while "other stream" not in shown(pilot):
                await pilot.pause(0.02)
        assert "· out ·" in shown(pilot)
        await press(pilot, "escape")
        assert not isinstance(pilot.app.screen, LogDialog)


async def test_log_buffer_is_bounded() -> None:
    box = Box()
    box.pages = [page(0, 12_000, 10**9), LogPage("x", ("y" * 10**6,), 0, 10**9, 10**9)]
    async with console(box) as pilot:
        await press(pilot, "l")
        await pilot.pause(0.1)
        screen = pilot.app.screen
        assert isinstance(screen, LogDialog)
        assert len(screen.buffer.lines) <= log_buffer.MAX_LINES
        assert max(map(len, screen.buffer.lines)) <= log_buffer.MAX_LINE_CHARS + 1


async def test_log_handles_an_empty_file_and_rotation() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "l")
        assert "nothing has been written yet" in shown(pilot)
        box.pages = [page(0, 5, 1000)]
        await pilot.pause(0.1)
        box.pages = [LogPage("worker.err", (), 0, 10, 10), page(900, 2, 20)]
        await pilot.pause(0.15)
        assert "row 901" in shown(pilot)


async def test_unreadable_log_shows_the_error() -> None:
    box = Box()

    async def broken(role: str, stream: str, offset: int | None) -> LogPage:
        raise PermissionError("not \x1b yours")

    box.read_log = broken  # type: ignore[method-assign]
    async with console(box) as pilot:
        await press(pilot, "l")
        await settle(pilot)
        assert "cannot be read: not \\x1b yours" in shown(pilot)


# --- a real file ----------------------------------------------------------------------------

ROWS = 60_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a log file larger than the buffer, with a word near its start and in its middle."""
    path = tmp_path_factory.mktemp("log") / "worker.err"
    rows = [f"row {number} of the night, and some words\n" for number in range(ROWS)]
    rows[7] = "row 7 has the NEEDLE\n"
    rows[30_000] = "row 30000 has the needle\n"
    path.write_text("".join(rows))
    return path


def reading(path: Path, chunk: int = log_search.SEARCH_CHUNK_BYTES) -> LogReader:
    async def read(role: str, stream: str, offset: int | None) -> LogPage:
        return safe_files.read_tail(path, offset)

    async def before(role: str, stream: str, end: int) -> LogPage:
        return log_search.read_before(path, end)

    async def find(role: str, stream: str, word: str, start: int, way: int) -> LogSearchResult:
        return log_search.find_word(path, word, start, way, chunk)

    return LogReader(read, before, find)


async def test_search_covers_the_whole_file(large: Path) -> None:
    async with console(Box(), logs=reading(large, 100_000)) as pilot:
        await press(pilot, "l")
        await pilot.pause(0.1)
        await press(pilot, "slash", *"needle", "enter")
        await pilot.pause(0.3)
        assert "row 30000 has the needle" in shown(pilot) and "row 29999 " in shown(pilot)
        await press(pilot, "n")
        await pilot.pause(0.3)
        assert "row 7 has the NEEDLE" in shown(pilot) and "row 4 " in shown(pilot)
        await press(pilot, "n")
        await pilot.pause(0.1)
        assert "no older one" in shown(pilot)
        await press(pilot, "N")
        await pilot.pause(0.3)
        assert "row 30000 has the needle" in shown(pilot)
        await press(pilot, "escape", "end")
        await pilot.pause(0.1)
        assert f"row {ROWS - 1} " in shown(pilot) and "FOLLOWING" in shown(pilot)


async def test_paging_reads_beyond_the_buffer(large: Path) -> None:
    async with console(Box(), logs=reading(large)) as pilot:
        await press(pilot, "l")
        await pilot.pause(0.1)
        screen = pilot.app.screen
        assert isinstance(screen, LogDialog)
        for _ in range(8):
            screen.action_scroll(-100_000)
            await pilot.pause(0.05)
        assert screen.buffer.start < screen.file_size - 400_000
        assert len(screen.buffer.lines) <= log_buffer.MAX_LINES
        first = screen.buffer.lines[0]
        assert first.startswith("row ") and "+0 new" in shown(pilot)
        await press(pilot, "home")
        await pilot.pause(0.1)
        assert "row 0 of the night" in shown(pilot)
        for _ in range(4):
            screen.action_scroll(100_000)
            await pilot.pause(0.05)
        assert screen.buffer.start == 0 or screen.buffer.lines[0] != "row 0 of the night"
        numbers = [int(one.split()[1]) for one in screen.buffer.lines]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("chunk", [7, 64, 10_000])
@pytest.mark.parametrize("way", [-1, 1])
@pytest.mark.parametrize("needle", ["Nadel", "größe", "GRÖSSE", "Ελλάς"])
def test_search_finds_every_occurrence_once_at_any_chunk_size(
    tmp_path: Path, chunk: int, way: int, needle: str
) -> None:
    path = tmp_path / "log"
    rows = (f"line {n} Maß € {needle if n % 9 == 4 else 'heu'}\n" for n in range(60))
    path.write_text("".join(rows), encoding="utf-8")
    wanted = [n for n in range(60) if n % 9 == 4][::way]
    found, at = [], path.stat().st_size if way < 0 else 0
    while (hit := _next(path, at, way, chunk, needle)) is not None:
        page = safe_files.read_tail(path, hit)
        found.append(int(page.lines[0].split()[1]))
        at = hit if way < 0 else hit + len(page.lines[0].encode()) + 1
    assert found == wanted


def test_invalid_bytes_do_not_shift_the_found_offset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe\xc3 ss\n" + "Straße ü\n".encode() + b"\xc3\n")
    assert log_search.find_word(path, "ü", 0, 1).line == 7
    assert log_search.find_word(path, "strasse ü", 0, 1).line == 7


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("one Word", "word", (4, 8)),
        ("GRÖSSE", "grösse", (0, 6)),
        ("eine Größe mehr", "grösse", (5, 10)),
        ("ßßß x", "x", (4, 5)),
        ("ßßß", "sss", (0, 2)),
        ("nothing", "x", None),
    ],
)
def test_find_casefolded_returns_the_span_in_the_original_text(
    text: str, word: str, found: tuple[int, int] | None
) -> None:
    assert find_casefolded(text, word) == found


def _next(path: Path, at: int, way: int, chunk: int, needle: str) -> int | None:
    start: int | None = at
    while start is not None:
        one = log_search.find_word(path, needle.casefold(), start, way, chunk)
        if one.line is not None:
            return one.line
        start = one.goes_on
    return None


def test_search_in_a_missing_file_finds_nothing(tmp_path: Path) -> None:
    assert log_search.find_word(tmp_path / "none", "x", 0, 1) == LogSearchResult(None, None, 0)
    assert log_search.read_before(tmp_path / "none", 10).error == "missing"
