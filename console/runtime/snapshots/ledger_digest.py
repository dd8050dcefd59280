"""What ledger and samples add up to, kept until there is news: a snapshot costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from console.core.frozen import replace, slotted
from console.core.metrics.queue_metrics import Work, told, work
from console.core.model import BaselineView, Event, Moment, Sample
from console.core.supervision.role_history import Memory, remember
from console.system.box import Box
from console.system.store.store import StoreError

if TYPE_CHECKING:
    from console.core.baseline.thresholds import Thresholds

LEDGER = 2_000
"""Lines of a role's ledger that are read to begin with."""
BASELINE_S = 5.0
"""A run's figures are of hours: without news they are worked out anew this seldom."""
_Stamp = tuple[int, int] | None


@slotted
class Digest:
    """One box's past, digested."""

    box: Box
    memories: dict[str, Memory] = field(default_factory=dict)
    """What each role's ledger adds up to."""
    _work: tuple[object, Work] = (None, Work())
    _told: tuple[object, Mapping[str, Moment]] = (None, {})
    _baseline: tuple[int, Moment, BaselineView] = (-1, Moment(0.0), BaselineView())
    _learnt: tuple[_Stamp, Thresholds | None] = (None, None)
    mistake: str | None = None
    """What is wrong with what was learnt."""

    def load(self, until: int) -> None:
        """Begin with each role's own past, however many other lines follow it. StoreError."""
        for role in self.box.roles:
            past = self.box.store.turns(role.name, until, LEDGER)
            self.memories[role.name] = remember(past, role)

    def reconfigure(self, until: int) -> None:
        """Begin anew with other roles; while the store cannot be read, with what is known."""
        try:
            self.load(until)
        except StoreError:
            for role in self.box.roles:
                self.memories.setdefault(role.name, remember((), role))

    def add(self, events: Iterable[Event]) -> None:
        """Go on with what is new in the ledger, oldest first."""
        roles = {role.name: role for role in self.box.roles}
        for event in events:
            if role := roles.get(event.role):
                self.memories[role.name] = remember([event], role, self.memories[role.name])

    def work(self, histories: Mapping[str, Sequence[Sample]]) -> Work:
        """What the histories add up to, worked out anew when the queue or a canary was seen."""
        newest = {name: history[-1] for name, history in histories.items() if history}
        seen = newest.get("queue"), newest.get("canary")
        if self._work[0] != seen:
            self._work = seen, work(histories)
        files = newest.get("watchdog"), newest.get("pipeline")
        if self._told[0] != files:
            self._told = files, told(histories)
        known = self._work[1]
        return replace(known, proofs={**known.proofs, **self._told[1]})

    def baseline(
        self,
        run: object,
        last: object,
        histories: Mapping[str, Sequence[Sample]],
        events: Sequence[Event],
        version: int,
        now: Moment,
    ) -> BaselineView:
        """The run under way, or what the last one has shown."""
        if run is None and last is None:
            return BaselineView()
        from console.core.baseline.run_document import began, shown
        from console.core.metrics.time_series import in_order
        from console.runtime.baseline.conditions import targets

        configured = targets(self.box.settings)
        if began(run) is None:
            return shown(None, last, (), (), configured, now)
        known, then, view = self._baseline
        if known != version or now.since(then) >= BASELINE_S or then.since(now) > 0:
            samples = in_order(sample for history in histories.values() for sample in history)
            view = shown(run, last, samples, events, configured, now)
            self._baseline = version, now, view
        return view

    def learnt(self) -> Thresholds | None:
        """What the last good baseline has shown to be normal, read again when the file changes."""
        try:
            status = self.box.paths.thresholds.stat()
        except OSError:
            self.mistake = None
            return None
        stamp = status.st_mtime_ns, status.st_ino
        if self._learnt[0] != stamp:
            from console.runtime.baseline import runs, threshold_file

            self._learnt = stamp, runs.learnt(self.box)
            self.mistake = threshold_file.mistake(self.box.paths.thresholds)
        return self._learnt[1]
