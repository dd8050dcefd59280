"""`@frozen` is `@dataclass(frozen=True, slots=True)` to everybody who uses a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace

import pytest

from console.core.frozen import RECORDS_BEFORE_COMPILING, frozen, slotted


class Shape:
    """A record's fields, to be decorated either way."""

    name: str
    at: float = 0.0
    data: Mapping[str, int] = field(default_factory=dict)
    inner: object = None


def made(decorate):
    space = {**vars(Shape)}
    del space["__dict__"], space["__weakref__"]
    return decorate(type("Shape", (), space))


Ours, Theirs = made(frozen), made(dataclass(frozen=True, slots=True))


@pytest.mark.parametrize(
    ("words", "named"),
    [(("a",), {}), (("a", 1.5), {"data": {"x": 1}}), ((), {"name": "b", "inner": ("c", None)})],
)
def test_it_is_the_same_record(words: tuple, named: dict) -> None:
    ours, theirs = Ours(*words, **named), Theirs(*words, **named)
    assert repr(ours).removeprefix("Shape") == repr(theirs).removeprefix("Shape")
    assert asdict(ours) == asdict(theirs)
    assert [one.name for one in fields(ours)] == [one.name for one in fields(theirs)]
    assert Ours.__slots__ == Theirs.__slots__
    assert Ours.__match_args__ == Theirs.__match_args__
    assert asdict(replace(ours, at=9.0)) == asdict(replace(theirs, at=9.0))
    assert is_dataclass(Ours)
    assert not hasattr(ours, "__dict__")


@pytest.mark.parametrize("words", [(), ("a", 0.0, {}, None, "more")])
def test_wrong_arguments_are_refused(words: tuple) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*words)
    with pytest.raises(TypeError):
        replace(Ours("a"), unknown=1)


def test_nothing_changes_it() -> None:
    one = Ours("a")
    with pytest.raises(FrozenInstanceError):
        one.name = "b"
    with pytest.raises(FrozenInstanceError):
        del one.name
    with pytest.raises(FrozenInstanceError):
        one.other = 1
    assert one == Ours("a")


def test_it_is_equal_and_hashed_by_its_fields() -> None:
    assert Ours("a", 1.0, ()) == Ours("a", 1.0, ())
    assert Ours("a") != Ours("b")
    assert Ours("a") != Theirs("a")
    assert Ours("a") != ("a", 0.0, {}, None)
    assert len({Ours("a", 1.0, ()), Ours("a", 1.0, ()), Ours("b", 1.0, ())}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ours("a"))


def test_a_default_that_is_made_is_made_each_time() -> None:
    assert Ours("a").data is not Ours("a").data


def test_one_field_is_enough_and_own_methods_win() -> None:
    @frozen
    class Single:
        """One field."""

        name: str

        def __repr__(self) -> str:
            return f"<{self.name}>"

    assert Single("a") == Single("a") != Single("b")
    assert hash(Single("a")) == hash(Single("a"))
    assert repr(Single("a")) == "<a>"


@pytest.mark.parametrize(
    "before",
    [0, RECORDS_BEFORE_COMPILING - 1, RECORDS_BEFORE_COMPILING, 3 * RECORDS_BEFORE_COMPILING],
)
def test_the_first_records_are_as_those_that_follow(before: int) -> None:
    kind = made(frozen)
    for _ in range(before):
        kind("a")
    one = kind("b", inner=("c",))
    assert one == kind(name="b", at=0.0, data={}, inner=("c",)) and one.data == {}
    for words, named in [((), {}), (("a",), {"name": "b"}), (("a",), {"other": 1})]:
        with pytest.raises(TypeError):
            kind(*words, **named)


def test_a_record_may_go_on_from_another_one() -> None:
    @frozen
    class More(Ours):
        """Two fields more."""

        size: int = 3
        rest: tuple = ()

    one = More("a", 1.0, size=4)
    assert asdict(one) == {"name": "a", "at": 1.0, "data": {}, "inner": None, "size": 4, "rest": ()}
    assert replace(one, at=2.0).at == 2.0 and one != Ours("a", 1.0)


def test_what_has_a_state_is_changed_and_equal_to_itself_alone() -> None:
    @slotted
    class Thing:
        """One that can be changed."""

        name: str
        seen: list[int] = field(default_factory=list)
        whole: str = field(init=False)

        def __post_init__(self) -> None:
            self.whole = f"<{self.name}>"

    one, other = Thing("a"), Thing(name="a")
    one.seen.append(1)
    one.name = "b"
    assert (one.name, one.seen, one.whole, other.seen) == ("b", [1], "<a>", [])
    assert one != other and not hasattr(one, "__dict__")
    for words, named in [((), {}), (("a", [], "w"), {}), (("a",), {"whole": "w"}), ((), {"x": 1})]:
        with pytest.raises(TypeError):
            Thing(*words, **named)
