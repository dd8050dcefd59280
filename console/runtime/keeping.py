"""How much of the past is kept in memory: what is judged by, and each monitor's newest looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from console.core.model import Moment, Sample

NEWEST = 20
"""So many looks are kept however old they are: after a night's sleep they tell what came before."""


def judged_since(run: object, history_s: float, now: Moment) -> float:
    """Since when samples count (Unix seconds): a baseline's run may reach back further."""
    began = now.since(Moment(*run["started"])) if isinstance(run, dict) else 0.0
    return now.at - max(history_s, began)


def trim(histories: Mapping[str, deque[Sample]], since: float) -> None:
    """Let go of older samples than that, but for the newest ones of each monitor."""
    for history in histories.values():
        while len(history) > NEWEST and history[0].moment.at < since:
            history.popleft()
