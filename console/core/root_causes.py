"""Which finding is a cause, and what merely follows from it.

One cause leads the verdict. Its symptoms are told under it: where the queue server does not answer,
the canary fails as well, and the watchdog reports it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from console.core.frozen import frozen, replace
from console.core.model import Verdict

ORDER = (Verdict.DOWN, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.HEALTHY)
SERVER, WORKER, WATCHING = "queue.silent", "worker.out", "daemon.out"
CAUSES = {
    "server": (SERVER,),
    "canary": (SERVER, WORKER),
    "queue.long": (WORKER,),
    "server_down": (SERVER,),
    "queue_stuck": (WORKER, SERVER),
    "consumers_not_consuming": (WORKER, SERVER),
    "overdue": (WATCHING,),
}
"""Symptom -> what it follows from, the graver cause first."""
ALERTS = {
    "canary.failing": ("queue.down", "worker.down", "worker.stalled"),
    "queue.long": ("worker.down", "worker.stalled"),
}
"""The same for alerts, by their keys."""


@frozen
class Finding:
    """Something that counts against the box."""

    verdict: Verdict
    reason: str
    subject: str
    """The role or monitor that it is about, or `daemon`."""
    cause: str = ""
    """What it is, where other findings may follow from it."""
    symptoms: tuple[str, ...] = ()
    """What it is, where it follows from a cause: from all of them, if there are several."""


@frozen
class Judgement:
    """The verdict, its causes worst first, and what follows from them."""

    verdict: Verdict
    reasons: tuple[str, ...]
    follows: tuple[str, ...] = ()
    root: str = ""
    """The subject of the first cause."""


def judge(findings: Sequence[Finding]) -> Judgement:
    """Fold what follows from a cause under it. There is at least one finding."""
    known: dict[str, Finding] = {}
    for one in findings:  # roles come first: a role is the cause of what its monitor sees
        if one.cause:
            known.setdefault(one.cause, one)
    folded: dict[int, Finding] = {}
    for index, one in enumerate(findings):
        roots = [_root(symptom, known) for symptom in one.symptoms]
        if roots and (root := roots[0]) is not None and all(roots) and root is not one:
            folded[index] = root
    led = {id(root) for root in folded.values()}
    causes = [one for index, one in enumerate(findings) if index not in folded]
    worst = min((one.verdict for one in findings), key=ORDER.index)
    # A cause is at least as grave as what follows from it.
    graver = [_raised(one, [s for i, s in enumerate(findings) if folded.get(i) is one])
              for one in causes]  # fmt: skip
    ranked = sorted(
        zip(causes, graver, strict=True),
        key=lambda pair: (ORDER.index(pair[1].verdict), id(pair[0]) not in led),
    )
    follows = [
        f"{findings[index].reason} (follows from {root.subject})" for index, root in folded.items()
    ]
    reasons = tuple(dict.fromkeys(one.reason for one, _ in ranked))
    return Judgement(worst, reasons, tuple(dict.fromkeys(follows)), ranked[0][0].subject)


def _raised(cause: Finding, symptoms: Sequence[Finding]) -> Finding:
    worst = min((one.verdict for one in (cause, *symptoms)), key=ORDER.index)
    return replace(cause, verdict=worst)


def _root(symptom: str, known: dict[str, Finding]) -> Finding | None:
    return next((known[cause] for cause in CAUSES.get(symptom, ()) if cause in known), None)


def consequences(keys: Collection[str]) -> frozenset[str]:
    """Which of these alerts follow from others of them."""
    return frozenset(key for key in keys if any(one in keys for one in ALERTS.get(key, ())))
