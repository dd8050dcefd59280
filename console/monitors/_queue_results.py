"""The server's list of results, which has no pages and no end: read seldom, and within bounds."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from console.core.frozen import replace, slotted
from console.core.metrics.task_outcomes import Outcomes, encode, items, outcomes
from console.core.model import Moment
from console.core.text.json_values import local_time, number
from console.monitors._queue_client import tail
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError


class Tasks(Protocol):
    """The tasks that the caller watches."""

    own: list[Mapping[str, Any]]
    """Results of watched tasks, oldest first."""
    types: dict[str, str]
    """Task number -> type."""


MOST, LIMIT, KEEP = 20_000, 8_000_000, 262_144
"""A list of more results, or more bytes, is not read; so many bytes of its end are kept."""
DUTY = 20.0
"""A list is not read again before so many times what the last reading took."""
TOO_MANY = "results too many to read"
_COUNT = re.compile(r'"count"\s*:\s*(\d{1,12})\s*\}\s*$')


@slotted
class Results:
    """What is known of the results of one run of a queue server."""

    completed: int = -1
    failed: int = -1
    """The counters at the last reading."""
    known: Outcomes | None = None
    failing: Moment | None = None
    """When a task was last seen to have failed, at the latest."""
    read: Moment | None = None
    took_s: float = 0.0
    trouble: str = ""

    def look(
        self,
        watch: Tasks,
        excluded: Collection[str],
        settings: Settings,
        seen: dict[str, Any],
        completed: int,
        failed: int,
        now: Moment,
    ) -> None:
        """Read the results where they are worth it, and put what is known into `seen`.

        `excluded`: the numbers of tasks that do not count.
        """
        if failed > self.failed >= 0:
            self.failing = now
        if self._due(completed, failed, now):
            self._read(watch.types, excluded, settings, seen, completed, now)
        self.completed, self.failed = completed, failed
        if self.trouble:
            seen["results_note"] = self.trouble
            own = outcomes(watch.own, watch.types)
            seen["errors"] = [list(one) for one in own.errors] or None
        elif self.known is not None and (self.known.failed or self.known.row):
            age_s = now.since(self.failing) if self.failing else self.known.age_s
            seen["tail"] = encode(replace(self.known, age_s=age_s))

    def _due(self, completed: int, failed: int, now: Moment) -> bool:
        """Whether there may be news: at first, after a failure, until the last tasks succeed."""
        if completed > MOST:
            self.trouble = TOO_MANY if failed else ""
            return False
        if self.trouble.startswith(TOO_MANY):
            return False
        if self.read is not None and now.since(self.read) < DUTY * self.took_s:
            return False
        known = self.known
        unclean = known is not None and bool(known.failed or known.row)
        return self.completed < 0 or failed > self.failed or (
            (unclean or bool(self.trouble)) and completed > self.completed
        )  # fmt: skip

    def _read(
        self,
        types: Mapping[str, str],
        excluded: Collection[str],
        settings: Settings,
        seen: dict[str, Any],
        completed: int,
        now: Moment,
    ) -> None:
        self.read, self.trouble = now, ""
        try:
            got = tail(settings, "/api/results", limit=LIMIT, keep=KEEP, word=b'"task_id"')
        except HttpError as error:
            larger = str(error).startswith("answer larger")
            self.trouble = TOO_MANY if larger else f"results cannot be read: {error}"
            self.took_s = settings.queue.timeout_s
            return
        self.took_s = got.elapsed_s
        body = got.raw.decode(errors="replace")
        found = items(body)
        if not found and completed:
            self.trouble = "results cannot be read: no result in the list's end"
            return
        told = _COUNT.search(body)
        seen["pings"] = max(0, (int(told[1]) if told else completed) - got.words)
        if self.failing is None:
            self.failing = _newest_failure(found, seen, now)
        self.known = outcomes(found, types, excluded)


def _newest_failure(found: list[dict[str, Any]], seen: dict[str, Any], now: Moment) -> Moment:
    """When the newest failure was recorded, by the server's clock as far as it is known."""
    for one in reversed(found):
        if one.get("success") is not True:
            at = local_time(one.get("submitted_at"), now)
            off_s = sum(number(seen.get(key)) or 0.0 for key in ("clock_off_s", "zone_s"))
            return now if at is None else now.plus(-max(0.0, now.at - (at - off_s)))
    return now
