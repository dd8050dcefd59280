"""The way to a file, links included."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.system.path_resolution import TooManyLinksError, walk_path


def below(place: Path, path: str) -> list[str]:
    """The steps of the walk below a directory, relative to it."""
    steps = [one for one in walk_path(path) if one.startswith(f"{place}/")]
    return [one.removeprefix(f"{place}/") for one in steps]


def test_links_are_followed_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("real/deep")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    steps = below(tmp_path, f"{tmp_path}/absolute/../x")
    assert steps == ["absolute", "relative", "real", "real/deep", "real/x"]


def test_a_step_is_told_before_it_is_touched(tmp_path: Path) -> None:
    """What stops at the link has not followed it."""
    link = tmp_path / "link"
    link.symlink_to("there")
    way = walk_path(str(link))
    assert next(one for one in way if one == str(link))
    link.unlink()
    assert list(way) == []


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(TooManyLinksError, match="too many links"):
        list(walk_path(f"{tmp_path}/a"))


def test_what_is_missing_is_no_link(tmp_path: Path) -> None:
    assert below(tmp_path, f"{tmp_path}/none/./below//x") == ["none", "none/below", "none/below/x"]
