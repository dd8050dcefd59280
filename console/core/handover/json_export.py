"""Exports a hand-over as JSON for scripts: the same claims with the same evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from console.core.explain.death_chain import ExplanationStep
from console.core.handover.model import Claim, Handover
from console.core.text.formatting import format_utc


def handover_to_json(handover: Handover) -> dict[str, Any]:
    """Return plain JSON values; in schema 1 fields may be added, never renamed or removed."""
    return {
        "schema": 1,
        "host": handover.host,
        "box": handover.box,
        "at": format_utc(handover.at),
        "since": format_utc(handover.since),
        "verdict": handover.verdict.value,
        "summary": _claims(handover.summary),
        "jobs": _jobs(handover),
        "workers": _claims(handover.workers),
        "causes": [{"role": role, "steps": _steps(steps)} for role, steps in handover.death_chains],
        "watchdog": _claims(handover.watchdog),
        "pipeline": _claims(handover.pipeline),
        "queue": _claims(handover.queue),
        "baseline": {"claims": _claims(handover.baseline), "metrics": _metrics(handover)},
        "findings": [
            {
                "severity": finding.severity.value, "title": finding.title,
                "stands": finding.is_open, "cure": finding.remedy or None, **_claim(finding.claim),
            }
            for finding in handover.findings
        ],
        "conditions": [
            {"met": condition.met, **_claim(condition.claim)} for condition in handover.conditions
        ],
        "happened": [
            {
                "at": format_utc(entry.at), "until": format_utc(entry.until),
                "count": entry.count, "text": entry.text, "events": list(entry.event_ids),
            }
            for entry in handover.timeline
        ],
        "next": _claims(handover.upcoming),
        "unknown": _claims(handover.unknown),
    }  # fmt: skip


def _claim(claim: Claim) -> dict[str, Any]:
    return {"text": claim.text, "events": list(claim.event_ids), "looks": list(claim.sample_ids)}


def _claims(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    return [_claim(claim) for claim in claims]


def _jobs(handover: Handover) -> list[dict[str, Any]]:
    return [
        {
            "name": job.name, "state": job.state, "every": job.interval or None,
            "last": job.last_run or None, "next": job.next_run or None, **_claim(job.result),
        }
        for job in handover.jobs
    ]  # fmt: skip


def _steps(steps: Sequence[ExplanationStep]) -> list[dict[str, Any]]:
    return [
        {
            "part": step.part,
            "at": format_utc(step.moment),
            "text": step.text,
            "events": list(step.event_ids),
        }
        for step in steps
    ]


def _metrics(handover: Handover) -> list[dict[str, Any]]:
    return [
        {
            "name": metric.name, "value": metric.value, "target": metric.target,
            "verdict": metric.verdict, "n": metric.n, "note": metric.note.text,
            "events": list(metric.note.event_ids), "looks": list(metric.note.sample_ids),
        }
        for metric in handover.metrics
    ]  # fmt: skip
