"""The state directory is lost while its worker lives: the worker is adopted with its token."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

Wait = Callable[..., Any]


@pytest.mark.parametrize("running", [True, False])
def test_worker_of_a_lost_state_is_adopted_with_its_token(
    box: Any, wait_for: Wait, running: bool
) -> None:
    assert box.run("daemon", "start").returncode == 0
    assert box.run("ensure").returncode == 0
    (worker,) = box.workers()
    if not running:
        assert box.run("daemon", "stop").returncode == 0
    # The daemon may create files during a removal, so move the directory away first.
    shutil.rmtree(box.state.rename(box.state.with_name("lost")))
    if not running:
        assert box.run("daemon", "start").returncode == 0
    wait_for(lambda: box.state.exists() and box.lives("adopted"), 30, "the worker is adopted")
    (adopted,) = box.lives("adopted")
    assert "by this state directory, which has lost its lease" in adopted["reason"]
    assert adopted["token"] == 1
    os.kill(worker, signal.SIGKILL)
    (died,) = wait_for(lambda: box.lives("died"))
    assert (died["reason"], died["actor"]) == ("ended by SIGKILL", "shim")
    (started,) = wait_for(
        lambda: [event for event in box.lives("started") if event["actor"] == "policy"]
    )
    assert started["token"] == 2, "tokens increase although the file with the last one is lost"
    assert len(box.workers()) == 1
