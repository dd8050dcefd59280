"""The strict JSON decoder: valid values round-trip, anything else is refused with a reason."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.system.files.safe_files import JsonError, decode_json

sound = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@given(sound, st.booleans())
def test_valid_json_round_trips(value: object, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert decode_json(raw) == value
    assert decode_json(b"\xef\xbb\xbf" + raw) == value


@given(st.dictionaries(st.text(), sound, min_size=1), st.data())
def test_prefix_of_a_document_is_reported_as_truncated(value: object, data: st.DataObject) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    with pytest.raises(JsonError) as caught:
        decode_json(raw[: data.draw(st.integers(0, len(raw) - 1))])
    assert caught.value.truncated


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_decode_or_raise_json_error(raw: bytes) -> None:
    try:
        value = decode_json(raw)
    except JsonError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"1e999", "beyond all bounds"),
        (b"[" + b"9" * 5000 + b"]", "a number of 5000 digits"),
        (b"9223372036854775808", "a number of 19 digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 300 + b"]" * 300, "nested too deeply"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "nested too deeply"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\udfff": 1}', "lone surrogate"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"\xff\xfe\x00\xdc}\x00", "not UTF-16 at byte"),
        (b"<html><body>log in, please</body></html>", "Expecting value"),
        (b'{"a": 1} and then something else', "Extra data"),
        (b'{"a"\x00: 1, "and": "some more"}', "Expecting ':'"),
    ],
)
def test_invalid_json_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode_json(raw)
    assert reason in str(caught.value)
    assert not caught.value.truncated


def test_surrogate_pair_decodes_to_one_character() -> None:
    assert decode_json(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_numbers_decode_exactly() -> None:
    assert decode_json(b"[1, -0.0, 1e300]") == [1, -0.0, 1e300]
    assert isinstance(decode_json(b"1e300"), float) and math.isfinite(decode_json(b"1e300"))  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_bom_encodings_and_nan_are_accepted(encoding: str) -> None:
    text = '{"이름": "값", "rate": NaN, "low": -Infinity, "n": 1}'
    assert decode_json(text.encode(encoding)) == {"이름": "값", "rate": None, "low": None, "n": 1}


def test_prefix_of_a_utf16_document_is_reported_as_truncated() -> None:
    raw = '{"a": [1, 2, 3], "b": "c"}'.encode("utf-16")
    for end in range(2, len(raw) - 2):
        with pytest.raises(JsonError) as caught:
            decode_json(raw[:end])
        assert caught.value.truncated, end
