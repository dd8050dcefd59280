"""Tests of the walk along a path and its symbolic links."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.system.path_resolution import TooManyLinksError, walk_path


def below(place: Path, path: str) -> list[str]:
    """Return the steps of the walk below a directory, relative to it."""
    steps = [one for one in walk_path(path) if one.startswith(f"{place}/")]
    return [one.removeprefix(f"{place}/") for one in steps]


def test_walk_follows_links_before_parent_references(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("real/deep")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    steps = below(tmp_path, f"{tmp_path}/absolute/../x")
    assert steps == ["absolute", "relative", "real", "real/deep", "real/x"]


def test_walk_yields_a_link_before_it_is_followed(tmp_path: Path) -> None:
    """A caller that stops at the link has not followed it."""
    link = tmp_path / "link"
    link.symlink_to("there")
    way = walk_path(str(link))
    assert next(one for one in way if one == str(link))
    link.unlink()
    assert list(way) == []


def test_link_loop_raises_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(TooManyLinksError, match="too many links"):
        list(walk_path(f"{tmp_path}/a"))


def test_missing_path_components_are_yielded(tmp_path: Path) -> None:
    assert below(tmp_path, f"{tmp_path}/none/./below//x") == ["none", "none/below", "none/below/x"]
