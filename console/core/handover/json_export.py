"""A hand-over for scripts: the same claims with the same evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from console.core.explain.death_chain import Step
from console.core.handover.model import Claim, Handover
from console.core.text.formatting import utc


def document(told: Handover) -> dict[str, Any]:
    """Plain JSON values; schema 1: fields are added, never renamed or removed."""
    return {
        "schema": 1,
        "host": told.host,
        "box": told.box,
        "at": utc(told.at),
        "since": utc(told.since),
        "verdict": told.verdict.value,
        "summary": _claims(told.summary),
        "jobs": _jobs(told),
        "workers": _claims(told.workers),
        "causes": [{"role": role, "steps": _steps(steps)} for role, steps in told.causes],
        "watchdog": _claims(told.watchdog),
        "pipeline": _claims(told.pipeline),
        "queue": _claims(told.queue),
        "baseline": {"claims": _claims(told.baseline), "metrics": _metrics(told)},
        "findings": [
            {
                "severity": one.severity.value, "title": one.title, "stands": one.stands,
                "cure": one.cure or None, **_claim(one.claim),
            }
            for one in told.findings
        ],
        "conditions": [{"met": one.met, **_claim(one.claim)} for one in told.conditions],
        "happened": [
            {
                "at": utc(one.at), "until": utc(one.until), "count": one.count, "text": one.text,
                "events": list(one.events),
            }
            for one in told.happened
        ],
        "next": _claims(told.next),
        "unknown": _claims(told.unknown),
    }  # fmt: skip


def _claim(claim: Claim) -> dict[str, Any]:
    return {"text": claim.text, "events": list(claim.events), "looks": list(claim.looks)}


def _claims(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    return [_claim(one) for one in claims]


def _jobs(told: Handover) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name, "state": one.state, "every": one.every or None,
            "last": one.last or None, "next": one.next or None, **_claim(one.found),
        }
        for one in told.jobs
    ]  # fmt: skip


def _steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [
        {"part": one.part, "at": utc(one.moment), "text": one.text, "events": list(one.events)}
        for one in steps
    ]


def _metrics(told: Handover) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name, "value": one.value, "target": one.target, "verdict": one.verdict,
            "n": one.n, "note": one.note.text, "events": list(one.note.events),
            "looks": list(one.note.looks),
        }
        for one in told.metrics
    ]  # fmt: skip
