"""Tells a person's hook command of alerts: each change of an alert once, one at a time.

At least once, that is: what the hook has been told is marked in the store after it has ended well,
so whoever is killed in between tells it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from console.core.frozen import slotted
from console.core.model import Alert
from console.core.secret_redaction import redact
from console.core.text.formatting import utc
from console.core.text.json_values import table
from console.system.box import Box
from console.system.host import hook_command
from console.system.store.store import StoreError

RAISED, RESOLVED, KNOWN = "raised", "resolved", "known"
"""`known`: it was told as raised before we were started."""
TOLD = "told"
"""Fact of the store: key -> ledger line of each alert that the hook knows as raised."""
QUIET_S = 600.0
"""The same alert is not told again as raised within this time; if it then stands, it is."""
RETRY_S, LONGEST_S = 1.0, 30.0


def owed(
    marks: object, stand: Iterable[Alert], past: Iterable[Alert]
) -> Iterator[tuple[str, Alert]]:
    """What a hook should be told of as we begin, by what it is marked to know.

    `past`: every alert that was ever raised. Without any marks, it knows what stands.
    """
    told, now = table(marks), {alert.key for alert in stand}
    for alert in stand:
        yield (KNOWN if marks is None or told.get(alert.key) == alert.event else RAISED), alert
    for alert in past:
        if alert.key not in now and told.get(alert.key) == alert.event:
            yield KNOWN, alert
            yield RESOLVED, alert


@slotted
class Teller:
    """What the hook should know of each alert, and what it has been told."""

    box: Box
    failed: Callable[[Alert, str], None]
    """Called with the reason when an alert could not be told."""
    quiet_s: float = QUIET_S
    _wanted: dict[str, tuple[str, Alert]] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)
    _spoken: dict[str, float] = field(default_factory=dict)
    """When each alert was last told as raised."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, state: str, alert: Alert) -> None:
        """Have the hook told; what changes back before its turn comes is not told at all."""
        if state == KNOWN:
            state = self._told[alert.key] = RAISED
        self._wanted[alert.key] = state, alert
        self._news.set()

    async def run(self) -> None:
        """Until cancelled: one call after the other."""
        while True:
            self._news.clear()
            ready, pause = self._next()
            if ready is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):  # loses no cancellation, as `wait_for` may
                        await self._news.wait()
                continue
            state, alert = ready
            self._told[alert.key] = state
            if state == RAISED:
                self._spoken[alert.key] = asyncio.get_running_loop().time()
            await self._call(state, alert)

    def _next(self) -> tuple[tuple[str, Alert] | None, float | None]:
        """What is to be told now; or else how long nothing is."""
        now = asyncio.get_running_loop().time()
        pause: float | None = None
        for key, (state, alert) in self._wanted.items():
            if state == self._told.get(key, RESOLVED):
                continue
            left = self._spoken.get(key, -self.quiet_s) + self.quiet_s - now
            if state == RESOLVED or left <= 0:
                return (state, alert), None
            pause = left if pause is None else min(pause, left)
        return None, pause

    async def _call(self, state: str, alert: Alert) -> None:
        """Call the hook until it succeeds or the tries are used up."""
        settings = self.box.settings.alerts
        if not settings.hook:
            return
        about = self._about(state, alert)
        told = json.dumps({"schema": 1, **about}).encode() + b"\n"
        env = {f"RPA_ALERT_{key.upper()}": str(value) for key, value in about.items()}
        pause = RETRY_S
        for left in reversed(range(settings.retries + 1)):
            trouble = await hook_command.call(settings.hook, told, env, settings.timeout_s)
            if trouble is None:
                await asyncio.to_thread(self._mark, state, alert)
                return
            if left:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_S)
        tries = settings.retries + 1
        reason = f"{trouble} ({tries} {'try' if tries == 1 else 'tries'})"
        await asyncio.to_thread(self.failed, alert, reason)

    def _mark(self, state: str, alert: Alert) -> None:
        with contextlib.suppress(StoreError):
            told = dict(table(self.box.store.get(TOLD)))
            told.pop(alert.key, None)
            if state == RAISED:
                told[alert.key] = alert.event
            self.box.store.put(TOLD, told)

    def _about(self, state: str, alert: Alert) -> dict[str, str | int | None]:
        return {
            "state": state,
            "key": alert.key,
            "severity": alert.severity.value,
            "title": redact(alert.title),
            "reason": redact(alert.reason),
            "since": utc(alert.since),
            "at": utc(self.box.now()),
            "host": self.box.host,
            "box": self.box.name,
            "event": alert.event,
        }
