"""Readers for untrusted JSON values return the expected type or None."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.time import Moment
from console.core.text.json_values import (
    as_bool,
    as_count,
    as_list,
    as_number,
    as_object,
    as_text,
    parse_local_time,
    zone_difference_s,
)

NOW = Moment(1_762_165_640.0)  # 2025-11-03T10:27:20Z
SEOUL = ZoneInfo("Asia/Seoul")
BERLIN = ZoneInfo("Europe/Berlin")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), ([], []), ([1, 2], [1, 2]), ("one", ["one"]), ({"a": 1}, [{"a": 1}]), (0, [0])],
)
def test_as_list_wraps_single_values(value: object, expected: list[object]) -> None:
    assert as_list(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0), (-1, -1), (2.5, 2.5), (True, None), (None, None), ("1", None), ([1], None),
        (float("nan"), None), (float("inf"), None), (-float("inf"), None),
        (2**63 - 1, 2**63 - 1), (2**63, None), (10**400, None),
    ],
)  # fmt: skip
def test_as_number_accepts_only_finite_numbers(value: object, expected: float | None) -> None:
    assert as_number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (3, 3), (3.0, 3), (3.5, None), (-1, None), (True, None), ("3", None), (1e300, None)],
)
def test_as_count_accepts_only_whole_numbers(value: object, expected: int | None) -> None:
    assert as_count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-11-03T10:27:20Z", NOW.at),
        ("2025-11-03T10:27:20z", NOW.at),
        ("2025-11-03T10:27:20+00:00", NOW.at),
        ("2025-11-03 10:27:20 +0000", NOW.at),
        (" 2025-11-03T10:27:20Z ", NOW.at),
        ("2025-11-03T19:27:20", NOW.at),
        ("2025-11-03T19:27", NOW.at - 20),
        ("2025-11-03T19:27:20.5", NOW.at + 0.5),
        ("2025-11-03T19:27:20.2234157", NOW.at + 0.223415),
        ("2025-11-03T19:27:20.2234157+09:00", NOW.at + 0.223415),
        ("2025-11-03T19:27:20,5", NOW.at + 0.5),
        ("2025-11-03", None),
        ("2025-13-03T19:27:20", None),
        ("2025-11-03T19:27:20+99:99", None),
        ("0001-01-01T00:00:00+23:59", -62135683140.0),
        ("٢٠٢٥-11-03T19:27:20", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1762165640, None),
        (True, None),
        (["2025-11-03T19:27:20"], None),
    ],
)
def test_parse_local_time_accepts_iso_stamps_and_refuses_other_values(
    value: object, expected: float | None
) -> None:
    assert parse_local_time(value, NOW, SEOUL) == pytest.approx(expected, abs=1e-4)


def test_parse_local_time_picks_the_nearest_of_repeated_hours() -> None:
    # On 2026-10-25 in Berlin, 02:30 occurs twice: at 00:30 and at 01:30 UTC.
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    for now in (first + 60, first + 3600 + 60):
        read = parse_local_time("2026-10-25T02:30:00", Moment(now), BERLIN)
        assert read == now - 60


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))
def test_parse_local_time_round_trips_local_stamps(when: datetime) -> None:
    at = when.replace(tzinfo=UTC).timestamp()
    written = datetime.fromtimestamp(at, SEOUL).replace(tzinfo=None).isoformat()
    assert parse_local_time(written, Moment(at), SEOUL) == pytest.approx(at, abs=1e-4)


@given(anything)
def test_readers_accept_any_json_value(value: object) -> None:
    assert isinstance(as_list(value), list)
    assert isinstance(as_object(value), dict)
    assert as_bool(value) in (None, True, False)
    assert as_text(value, 5) is None or len(as_text(value, 5) or "") <= 5
    parse_local_time(value, NOW)
    known, whole = as_number(value), as_count(value)
    json.dumps([known, whole], allow_nan=False)
    assert whole is None or whole == known


@given(st.text(alphabet="0123456789-:.,TZ+ ", max_size=40))
def test_parse_local_time_never_raises_for_similar_text(value: str) -> None:
    found = parse_local_time(value, NOW, SEOUL)
    assert found is None or isinstance(found, float)


# --- time stamps without a zone -------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("ours", ["UTC", "Asia/Seoul", "Europe/Berlin"])
@pytest.mark.parametrize("late_s", [0.0, 1.5, 100.0])
def test_file_time_reveals_the_zone_of_a_stamp(zone: str, ours: str, late_s: float) -> None:
    stamp = datetime.fromtimestamp(NOW.at, ZoneInfo(zone)).replace(tzinfo=None).isoformat()
    assert parse_local_time(stamp, NOW, ZoneInfo(ours), NOW.at + late_s) == NOW.at


@pytest.mark.parametrize("age", [200.0, 600.0, 3600.0 + 300.0, 30 * 3600.0])
def test_copied_file_keeps_the_age_of_its_stamp(age: float) -> None:
    stamp = datetime.fromtimestamp(NOW.at - age, SEOUL).replace(tzinfo=None).isoformat()
    assert parse_local_time(stamp, NOW, SEOUL, NOW.at) == NOW.at - age


def test_stamp_with_a_zone_ignores_the_file_time() -> None:
    stamp = datetime.fromtimestamp(NOW.at - 3600, UTC).isoformat()
    assert parse_local_time(stamp, NOW, SEOUL, NOW.at) == NOW.at - 3600


@pytest.mark.parametrize(
    ("off_s", "apart_s"),
    [(0.0, 0.0), (30.0, 0.0), (120.0, 0.0), (9 * 3600.0 + 5, 9 * 3600.0), (-12_600.0, -12_600.0),
     (900.0, 900.0), (840.0, 900.0), (600.0, 0.0), (30 * 3600.0, 0.0)],
)  # fmt: skip
def test_zone_difference_s_rounds_to_quarter_hours(off_s: float, apart_s: float) -> None:
    assert zone_difference_s(off_s, 60.0) == apart_s


def test_parse_local_time_reads_powershell_dates() -> None:
    now = Moment(1_762_163_200.0)
    for stamp in ("/Date(1762163123000)/", " /Date(1762163123000+0900)/ "):
        assert parse_local_time(stamp, now) == 1_762_163_123.0
    for stamp in ("/Date()/", "/Date(1e9)/", "/Date(99999999999999999)/", "Date(1)"):
        assert parse_local_time(stamp, now) is None
