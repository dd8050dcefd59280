"""Observations in the worker monitor's samples round-trip, and malformed data is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.processes import Identity, Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner
from console.core.model.time import Moment
from console.core.supervision.role_codec import (
    MAX_ARGV_CHARS,
    RoleObservation,
    decode_observation,
    encode_observation,
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
identities = st.builds(Identity, st.integers(1, 2**22), st.integers(0, 2**60), words)
moments = st.builds(Moment, st.floats(0, 1e10), st.floats(0, 1e9), words)
processes = st.builds(
    Process,
    identities,
    st.integers(0, 2**22),
    st.lists(words, max_size=5).map(tuple),
    moments,
    st.sampled_from("RSDTZ"),
)
instances = st.builds(
    Instance,
    st.just("worker"),
    st.lists(processes, min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.none() | st.integers(1, 1000),
)
owners = st.builds(Owner, identities, st.integers(1, 99), moments, st.none() | identities, words)
leases = st.builds(
    Lease,
    st.sampled_from(LeaseState),
    st.none() | owners,
    st.lists(st.integers(1, 99), max_size=3).map(tuple),
    words,
)


@given(st.lists(instances, max_size=3, unique_by=lambda one: one.pid), leases)
def test_observation_round_trips_through_json(found: list[Instance], lease: Lease) -> None:
    usage = {one.pid: (12.5, 4096) for one in found[:1]}
    seen = RoleObservation(tuple(found), lease, usage)
    assert decode_observation("worker", json.loads(json.dumps(encode_observation(seen)))) == seen


def test_encoded_command_line_is_truncated_and_valid_utf8() -> None:
    identity = Identity(1, 2, "boot")
    process = Process(identity, 1, ("x" * 5000, "never kept", "\udcff"), Moment(1.0))
    short = Process(identity, 1, ("caf\udce9",), Moment(1.0))
    for one in (process, short):
        seen = decode_observation(
            "worker", encode_observation(RoleObservation((Instance("worker", (one,)),)))
        )
        argv = seen.instances[0].root.argv
        assert sum(map(len, argv)) <= MAX_ARGV_CHARS
        assert " ".join(argv).encode()


def test_decode_observation_reads_the_older_format_with_a_user() -> None:
    process = Process(Identity(1, 2, "boot"), 1, ("x",), Moment(1.0), "T")
    seen = RoleObservation((Instance("worker", (process,)),))
    row = encode_observation(seen)
    row["instances"][0]["processes"][0].insert(4, 1000)
    assert decode_observation("worker", row) == seen


@pytest.mark.parametrize(
    "foreign",
    [
        {}, {"instances": None, "lease": {}}, {"instances": [], "lease": {"state": "no such"}},
        {"instances": [{"pid": 1}], "lease": {}}, {"instances": [[]], "lease": {}},
    ],
)  # fmt: skip
def test_decode_observation_refuses_malformed_data(foreign: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_observation("worker", foreign)
