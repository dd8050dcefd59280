"""Separates the causes among the findings from their consequences.

One cause leads the verdict. Its symptoms are listed under it: if the queue server does not answer,
the canary fails as well, and the watchdog reports it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from console.core.model.snapshot import Verdict
from console.core.records import Record, replace

VERDICTS_WORST_FIRST = (Verdict.DOWN, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.HEALTHY)
CAUSE_QUEUE_SILENT, CAUSE_WORKER_OUT, CAUSE_DAEMON_OUT = "queue.silent", "worker.out", "daemon.out"
CAUSES_BY_SYMPTOM = {
    "server": (CAUSE_QUEUE_SILENT,),
    "canary": (CAUSE_QUEUE_SILENT, CAUSE_WORKER_OUT),
    "queue.long": (CAUSE_WORKER_OUT,),
    "server_down": (CAUSE_QUEUE_SILENT,),
    "queue_stuck": (CAUSE_WORKER_OUT, CAUSE_QUEUE_SILENT),
    "consumers_not_consuming": (CAUSE_WORKER_OUT, CAUSE_QUEUE_SILENT),
    "overdue": (CAUSE_DAEMON_OUT,),
}
"""Symptom -> possible causes, the graver one first."""
CAUSES_BY_ALERT = {
    "canary.failing": ("queue.down", "worker.down", "worker.stalled"),
    "queue.long": ("worker.down", "worker.stalled"),
}
"""Alert key -> keys of the alerts that may cause it."""


class Finding(Record, frozen=True):
    """A problem that affects the verdict."""

    verdict: Verdict
    reason: str
    subject: str
    """The role or monitor concerned, or `daemon`."""
    cause_key: str = ""
    """The cause that this finding is, if other findings may follow from it."""
    symptom_keys: tuple[str, ...] = ()
    """The symptoms that this finding shows. It is a consequence only if each has a present
    cause."""


class Judgement(Record, frozen=True):
    """The verdict, its causes, worst first, and their consequences."""

    verdict: Verdict
    reasons: tuple[str, ...]
    consequences: tuple[str, ...] = ()
    root_subject: str = ""
    """The subject of the first cause."""


def rank_findings(findings: Sequence[Finding]) -> Judgement:
    """Return the judgement: each consequence is listed under its cause.

    `findings` must have at least one element.
    """
    findings_by_cause: dict[str, Finding] = {}
    for finding in findings:  # roles come first: a role's state causes its monitor's finding
        if finding.cause_key:
            findings_by_cause.setdefault(finding.cause_key, finding)
    root_by_index: dict[int, Finding] = {}
    for index, finding in enumerate(findings):
        roots = [_find_cause(symptom, findings_by_cause) for symptom in finding.symptom_keys]
        if roots and (root := roots[0]) is not None and all(roots) and root is not finding:
            root_by_index[index] = root
    leading_ids = {id(root) for root in root_by_index.values()}
    causes = [finding for index, finding in enumerate(findings) if index not in root_by_index]
    worst = min((finding.verdict for finding in findings), key=VERDICTS_WORST_FIRST.index)
    # A cause is at least as grave as its consequences.
    graded = [
        _with_worst_verdict(
            finding,
            [other for i, other in enumerate(findings) if root_by_index.get(i) is finding],
        )
        for finding in causes
    ]
    ranked = sorted(
        zip(causes, graded, strict=True),
        key=lambda pair: (
            VERDICTS_WORST_FIRST.index(pair[1].verdict),
            id(pair[0]) not in leading_ids,
        ),
    )
    consequences = [
        f"{findings[index].reason} (follows from {root.subject})"
        for index, root in root_by_index.items()
    ]
    reasons = tuple(dict.fromkeys(finding.reason for finding, _ in ranked))
    return Judgement(worst, reasons, tuple(dict.fromkeys(consequences)), ranked[0][0].subject)


def _with_worst_verdict(cause: Finding, symptoms: Sequence[Finding]) -> Finding:
    worst_verdict = min(
        (finding.verdict for finding in (cause, *symptoms)), key=VERDICTS_WORST_FIRST.index
    )
    return replace(cause, verdict=worst_verdict)


def _find_cause(symptom: str, findings_by_cause: dict[str, Finding]) -> Finding | None:
    return next(
        (
            findings_by_cause[cause]
            for cause in CAUSES_BY_SYMPTOM.get(symptom, ())
            if cause in findings_by_cause
        ),
        None,
    )


def find_dependent_alerts(alert_keys: Collection[str]) -> frozenset[str]:
    """Return those of these alerts that follow from others of them."""
    return frozenset(
        key
        for key in alert_keys
        if any(cause in alert_keys for cause in CAUSES_BY_ALERT.get(key, ()))
    )
