"""The pipeline: samples the queue and writes how each channel stands against its own past."""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import time
from collections import deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import script_support
else:  # run by path, with this directory on the search path
    import script_support

CHANNELS = ("latency_ms", "queue_size", "success_rate")
STEPS = 28
ENOUGH = 12  # samples before a deviation is called an anomaly
RECENT = 240  # samples among which a period is looked for
LEAST_SIGMA = {"latency_ms": 250.0, "queue_size": 2.0, "success_rate": 2.0}
"""A channel that hardly ever moved: less than this is noise, not news."""
SEVERITIES = ((6.0, "high"), (4.0, "medium"), (3.0, "low"))
log = logging.getLogger("pipeline")

Sample = dict[str, float]  # "at" in epoch seconds, and those channels that were measured


class Window:
    """The samples of the last hours, kept in a file so that a restart does not forget them."""

    def __init__(self, path: Path, hours: float, interval: float) -> None:
        self.path = path
        self._span = hours * 3600.0
        self._most = max(RECENT, math.ceil(self._span / interval))
        self.samples: deque[Sample] = deque(self._recall(), maxlen=self._most)
        self._trim()
        self._lines = self._most  # makes the first addition rewrite the file

    def add(self, sample: Sample) -> None:
        """Remember one sample; the file is rewritten when it holds more old than new."""
        self.samples.append(sample)
        self._trim()
        self._lines += 1
        if self._lines > self._most:
            lines = [json.dumps(one) + "\n" for one in self.samples]
            script_support.write_whole(self.path, "".join(lines))
            self._lines = 0
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample) + "\n")

    def values(self, channel: str) -> list[float]:
        """What was measured of one channel, oldest first."""
        return [sample[channel] for sample in self.samples if channel in sample]

    def _trim(self) -> None:
        while self.samples and self.samples[0]["at"] < time.time() - self._span:
            self.samples.popleft()

    def _recall(self) -> list[Sample]:
        """The samples that can still be read; a broken line is no sample."""
        kept: list[Sample] = []
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return kept
        for line in text.splitlines():
            try:
                found = json.loads(line)
                numbers = {key: script_support.number(found.get(key)) for key in ("at", *CHANNELS)}
            except (ValueError, AttributeError):
                continue
            if numbers["at"] is not None:
                kept.append({key: value for key, value in numbers.items() if value is not None})
        return kept


def take(server: str) -> Sample:
    """One sample; a channel that says nothing yet is left out, not taken for 0."""
    stats, health = (
        script_support.call(server, "/api/stats"),
        script_support.call(server, "/api/health"),
    )
    found = {"queue_size": health.get("queue_size")}
    if stats.get("completed"):
        found["success_rate"] = stats.get("success_rate")
    if stats.get("avg_duration_ms"):
        found["latency_ms"] = stats.get("avg_duration_ms")
    numbers = {channel: script_support.number(value) for channel, value in found.items()}
    measured = {channel: value for channel, value in numbers.items() if value is not None}
    return {"at": time.time(), **measured}


def deviation(channel: str, values: list[float]) -> tuple[float, float]:
    """The mean before the latest value, and how many sigma the latest is away from it."""
    past, latest = values[:-1] or values, values[-1]
    mean = statistics.fmean(past)
    sigma = max(statistics.pstdev(past, mean), LEAST_SIGMA[channel])
    return mean, (latest - mean) / sigma


def correlation(values: list[float], lag: int) -> float:
    """How much a series resembles itself some steps earlier, from -1 to 1; 0 for a constant one."""
    mean = statistics.fmean(values)
    power = sum((value - mean) ** 2 for value in values)
    if len(values) <= lag or power == 0:
        return 0.0
    pairs = zip(values[:-lag], values[lag:], strict=True)
    return sum((a - mean) * (b - mean) for a, b in pairs) / power


def period(values: list[float], interval: float) -> float:
    """Seconds after which a channel repeats itself best; 0 where it does not."""
    recent = values[-RECENT:]
    scores = {lag: correlation(recent, lag) for lag in range(2, min(60, len(recent) // 2))}
    best = max(scores, key=lambda lag: scores[lag], default=0)
    return best * interval if scores.get(best, 0.0) > 0.3 else 0.0


def season(channel: str, values: list[float], interval: float) -> dict[str, Any]:
    """One channel's latest value against its own window."""
    mean, sigmas = deviation(channel, values)
    level = next((name for least, name in SEVERITIES if abs(sigmas) >= least), "none")
    anomaly = level != "none" and len(values) > ENOUGH
    return {
        "channel": channel,
        "latest": values[-1],
        "period": period(values, interval),
        "anomaly": anomaly,
        "severity": level if anomaly else "none",
        "deviation_sigma": round(sigmas, 3),
        "baseline": round(mean, 4),
        "confidence": round(min(1.0, len(values) / 60), 3),
    }


def simulate(channels: dict[str, list[float]]) -> dict[str, Any]:
    """Let each channel's deviation die away at the pace it did so far, for the next steps."""
    final: dict[str, float] = {}
    squares = [0.0] * STEPS
    for channel, values in channels.items():
        mean, sigmas = deviation(channel, values)
        pace = min(0.99, max(0.0, correlation(values[-RECENT:], 1)))
        for step in range(STEPS):
            squares[step] += (sigmas * pace**step) ** 2 / len(channels)
        final[channel] = round(mean + (values[-1] - mean) * pace**STEPS, 4)
    return {"final_state": final, "resonance_series": [round(math.sqrt(x), 4) for x in squares]}


def summarise(window: Window, options: argparse.Namespace) -> dict[str, Any]:
    """The status file's content."""
    now = datetime.now()
    measured = {channel: window.values(channel) for channel in CHANNELS}
    channels = {channel: values for channel, values in measured.items() if values}
    seasons = [season(channel, values, options.interval) for channel, values in channels.items()]
    upcoming = (now + timedelta(seconds=options.interval)).isoformat(timespec="seconds")
    return {
        "generated_at": now.isoformat(timespec="seconds"),
        "metrics_path": str(window.path),
        "window_hours": options.window_hours,
        "seeds": {one["channel"]: one["baseline"] for one in seasons},
        "seasonality": seasons,
        "simulation": simulate(channels),
        "next_runs": {"sample": upcoming, "report": upcoming},
    }


def markdown(content: dict[str, Any]) -> str:
    """The same for people."""
    head = f"# Realtime pipeline\n\nGenerated {content['generated_at']}, local time.\n\n"
    table = "| channel | latest | baseline | deviation | severity |\n|---|---|---|---|---|\n"
    rows = [
        f"| {one['channel']} | {one['latest']:g} | {one['baseline']:g} "
        f"| {one['deviation_sigma']:+.2f} σ | {one['severity']} |\n"
        for one in content["seasonality"]
    ]
    return head + table + "".join(rows)


def publish(outputs: Path, content: dict[str, Any], torn: bool) -> None:
    """Write both files; torn, the first is left as a writer that died half-way leaves it."""
    text, path = json.dumps(content, indent=2) + "\n", outputs / "realtime_pipeline_status.json"
    if torn:
        path.write_text(text[: len(text) // 2], encoding="utf-8")
    else:
        script_support.write_whole(path, text)
    script_support.write_whole(outputs / "realtime_pipeline_status.md", markdown(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--outputs", type=Path, default=Path())
    parser.add_argument("--interval", type=script_support.seconds, default=10.0)
    parser.add_argument("--window-hours", type=script_support.seconds, default=24.0)
    parser.add_argument("--torn", action="store_true", help="leave half a status file each time")
    options = parser.parse_args()
    script_support.start()
    metrics = options.outputs / "realtime_pipeline_metrics.jsonl"
    window = Window(metrics, options.window_hours, options.interval)
    while True:
        try:
            window.add(take(options.server))
        except (script_support.NoAnswer, OSError) as reason:
            log.warning("no sample: %s", reason)
        try:
            publish(options.outputs, summarise(window, options), options.torn)
        except OSError as error:
            log.error("status not written: %s", error)
        time.sleep(options.interval)


if __name__ == "__main__":
    main()
