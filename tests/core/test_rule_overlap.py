"""Detection of roles that could match the same process."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.processes import Identity, Process
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.processes.instances import BoxScope, belongs_to_role
from console.core.processes.rule_overlap import find_overlap, find_overlaps


def role(name: str, match: str, *words: str, **more: Any) -> Role:
    return Role(name, match, match_args=words, **more)


A, B = {"BOX": "a"}, {"BOX": "b"}
TOGETHER = [
    (role("a", "m.py"), role("b", "m.py")),
    (role("a", "m.py"), role("b", "jobs/m.py")),
    (role("a", "jobs/m.py"), role("b", "/opt/jobs/m.py")),
    (role("a", "m.py"), role("b", "m.py", "watch")),
    (role("a", "m.py", "work"), role("b", "m.py", "work", "--fast")),
    (role("a", "m.py", "work"), role("b", "m.py", "work")),
    (role("a", "m.py", match_cwd="/a"), role("b", "m.py")),
    (role("a", "m.py", match_cwd="/a"), role("b", "m.py", match_cwd="/a")),
    (role("a", "m.py", match_env=A), role("b", "m.py")),
    (role("a", "m.py", match_env=A), role("b", "m.py", match_env={"OTHER": "b"})),
]
APART = [
    (role("a", "m.py"), role("b", "n.py")),
    (role("a", "m.py"), role("b", "my-m.py")),
    (role("a", "work/m.py"), role("b", "watch/m.py")),
    (role("a", "m.py", "work"), role("b", "m.py", "watch")),
    (role("a", "m.py", "work", "--queue", "a"), role("b", "m.py", "work", "--queue", "b")),
    (role("a", "m.py", match_cwd="/a"), role("b", "m.py", match_cwd="/b")),
    (role("a", "m.py", match_env=A), role("b", "m.py", match_env=B)),
]


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_overlapping_roles_are_reported(one: Role, other: Role) -> None:
    for message in (find_overlap(one, other), find_overlap(other, one)):
        assert message is not None
        assert (
            "'a'" in message
            and "'b'" in message
            and "match_args, match_cwd or match_env" in message
        )
    assert len(find_overlaps([one, role("c", "c.py"), other])) == 1


@pytest.mark.parametrize(("one", "other"), APART)
def test_distinct_roles_are_not_reported(one: Role, other: Role) -> None:
    assert find_overlap(one, other) is None and find_overlap(other, one) is None
    assert find_overlaps([one, other]) == []


SEVERAL = st.builds(
    Role,
    name=st.just("one"),
    match=st.sampled_from(["m.py", "n.py", "x/m.py", "y/m.py", "/r/x/m.py"]),
    match_args=st.sampled_from([(), ("work",), ("watch",), ("work", "-v")]),
    match_cwd=st.sampled_from([None, "/r/x", "/r/y"]),
    match_env=st.sampled_from([{}, A, B]),
)
SEEN = st.builds(
    Process,
    st.just(Identity(1, 1, "b")),
    st.just(1),
    st.builds(
        lambda script, words: ("python", script, *words),
        st.sampled_from(["m.py", "n.py", "x/m.py", "/r/x/m.py", "/r/y/m.py"]),
        st.sampled_from([(), ("work",), ("watch",), ("work", "-v")]),
    ),
    st.just(Moment(1.0)),
    cwd=st.sampled_from(["/r/x", "/r/y", "/"]),
    env=st.sampled_from([{}, A, B]),
)


@given(SEVERAL, SEVERAL, SEEN)
def test_roles_that_share_a_process_are_reported_as_overlapping(
    one: Role, other: Role, process: Process
) -> None:
    if belongs_to_role(process, one, BoxScope("box")) and belongs_to_role(
        process, other, BoxScope("box")
    ):
        assert find_overlap(one, other) is not None
