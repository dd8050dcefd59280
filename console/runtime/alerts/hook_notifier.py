"""Notifies an operator's hook command of alerts: each change of an alert once, one call at a time.

Delivery is at least once. A notification is marked in the store after the hook has succeeded; if
the process is killed in between, its successor repeats the notification.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator

from console.core.model.views import Alert
from console.core.records import Component, field
from console.core.secret_redaction import redact
from console.core.text.formatting import format_utc
from console.core.text.json_values import as_object
from console.system.box import Box
from console.system.host import hook_command
from console.system.store.store import StoreError

RAISED, RESOLVED, ALREADY_NOTIFIED = "raised", "resolved", "known"
"""`known`: the hook was notified of the alert as raised before this process was started."""
NOTIFIED_FACT = "told"
"""Fact of the store: key -> event id of each alert that the hook was notified of as raised."""
MIN_REPEAT_INTERVAL_S = 600.0
"""The hook is not notified of the same alert as raised within this time; afterwards it is, if the
alert is open then."""
RETRY_DELAY_S, MAX_RETRY_DELAY_S = 1.0, 30.0


def pending_notifications(
    notified: object, open_alerts: Iterable[Alert], past_alerts: Iterable[Alert]
) -> Iterator[tuple[str, Alert]]:
    """Yield the (state, alert) that the hook is to be notified of at the start.

    `notified`: the fact `NOTIFIED_FACT`; None: the hook was notified of every open alert.
    `past_alerts`: every alert that was ever raised.
    """
    event_ids, open_keys = as_object(notified), {alert.key for alert in open_alerts}
    for alert in open_alerts:
        yield (
            (
                ALREADY_NOTIFIED
                if notified is None or event_ids.get(alert.key) == alert.event_id
                else RAISED
            ),
            alert,
        )
    for alert in past_alerts:
        if alert.key not in open_keys and event_ids.get(alert.key) == alert.event_id:
            yield ALREADY_NOTIFIED, alert
            yield RESOLVED, alert


class HookNotifier(Component):
    """Queue of the notifications of one hook, with the state of each alert last notified."""

    box: Box
    on_failed: Callable[[Alert, str], None]
    """Called with the reason when a notification has failed."""
    min_repeat_interval_s: float = MIN_REPEAT_INTERVAL_S
    _pending: dict[str, tuple[str, Alert]] = field(default_factory=dict)
    _notified_states: dict[str, str] = field(default_factory=dict)
    _last_raised_at: dict[str, float] = field(default_factory=dict)
    """Loop time at which the hook was last notified of each alert as raised."""
    _has_pending: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self, state: str, alert: Alert) -> None:
        """Queue a notification. A change that is reverted before its call is not notified."""
        if state == ALREADY_NOTIFIED:
            state = self._notified_states[alert.key] = RAISED
        self._pending[alert.key] = state, alert
        self._has_pending.set()

    async def run(self) -> None:
        """Call the hook for each notification in turn until cancelled."""
        while True:
            self._has_pending.clear()
            notification, delay_s = self._next_notification()
            if notification is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):  # `wait_for` can lose a cancellation
                        await self._has_pending.wait()
                continue
            state, alert = notification
            self._notified_states[alert.key] = state
            if state == RAISED:
                self._last_raised_at[alert.key] = asyncio.get_running_loop().time()
            await self._call_hook(state, alert)

    def _next_notification(self) -> tuple[tuple[str, Alert] | None, float | None]:
        """Return the notification that is due, and None.

        If none is due, return None and the seconds until one is; None: none is queued.
        """
        now = asyncio.get_running_loop().time()
        delay_s: float | None = None
        for key, (state, alert) in self._pending.items():
            if state == self._notified_states.get(key, RESOLVED):
                continue
            remaining_s = (
                self._last_raised_at.get(key, -self.min_repeat_interval_s)
                + self.min_repeat_interval_s
                - now
            )
            if state == RESOLVED or remaining_s <= 0:
                return (state, alert), None
            delay_s = remaining_s if delay_s is None else min(delay_s, remaining_s)
        return None, delay_s

    async def _call_hook(self, state: str, alert: Alert) -> None:
        """Call the hook until it succeeds or the retries are used up."""
        settings = self.box.settings.alerts
        if not settings.hook:
            return
        payload = self._payload(state, alert)
        stdin_data = json.dumps({"schema": 1, **payload}).encode() + b"\n"
        env = {f"RPA_ALERT_{key.upper()}": str(value) for key, value in payload.items()}
        delay_s = RETRY_DELAY_S
        for retries_left in reversed(range(settings.retries + 1)):
            trouble = await hook_command.run_hook(
                settings.hook, stdin_data, env, settings.timeout_s
            )
            if trouble is None:
                await asyncio.to_thread(self._mark_notified, state, alert)
                return
            if retries_left:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, MAX_RETRY_DELAY_S)
        tries = settings.retries + 1
        reason = f"{trouble} ({tries} {'try' if tries == 1 else 'tries'})"
        await asyncio.to_thread(self.on_failed, alert, reason)

    def _mark_notified(self, state: str, alert: Alert) -> None:
        with contextlib.suppress(StoreError):
            event_ids = dict(as_object(self.box.store.get_fact(NOTIFIED_FACT)))
            event_ids.pop(alert.key, None)
            if state == RAISED:
                event_ids[alert.key] = alert.event_id
            self.box.store.set_fact(NOTIFIED_FACT, event_ids)

    def _payload(self, state: str, alert: Alert) -> dict[str, str | int | None]:
        return {
            "state": state,
            "key": alert.key,
            "severity": alert.severity.value,
            "title": redact(alert.title),
            "reason": redact(alert.reason),
            "since": format_utc(alert.since),
            "at": format_utc(self.box.now()),
            "host": self.box.host,
            "box": self.box.name,
            "event": alert.event_id,
        }
