"""The pipeline: samples the queue and compares each channel with its own history."""

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

if TYPE_CHECKING or __package__:
    from . import script_support
else:  # run by path: its own directory is on the search path
    import script_support

CHANNELS = ("latency_ms", "queue_size", "success_rate")
FORECAST_STEPS = 28
MIN_ANOMALY_SAMPLES = 12  # minimum of samples before a deviation is an anomaly
MAX_PERIOD_SAMPLES = 240  # newest samples that are searched for a period
MIN_SIGMA = {"latency_ms": 250.0, "queue_size": 2.0, "success_rate": 2.0}
"""Lower bound of sigma: in a channel that hardly ever changed, smaller changes are noise."""
SEVERITY_SIGMAS = ((6.0, "high"), (4.0, "medium"), (3.0, "low"))
log = logging.getLogger("pipeline")

Sample = dict[str, float]  # "at" in epoch seconds, and the measured channels


class SampleWindow:
    """The samples of the last hours, kept in a file so that they survive a restart."""

    def __init__(self, path: Path, hours: float, interval: float) -> None:
        self.path = path
        self._span_s = hours * 3600.0
        self._max_samples = max(MAX_PERIOD_SAMPLES, math.ceil(self._span_s / interval))
        self.samples: deque[Sample] = deque(self._load_samples(), maxlen=self._max_samples)
        self._trim()
        self._file_lines = self._max_samples  # makes the first `add` rewrite the file

    def add(self, sample: Sample) -> None:
        """Append one sample. Raises OSError.

        The file is rewritten when it holds more old samples than current ones.
        """
        self.samples.append(sample)
        self._trim()
        self._file_lines += 1
        if self._file_lines > self._max_samples:
            lines = [json.dumps(kept) + "\n" for kept in self.samples]
            script_support.write_atomically(self.path, "".join(lines))
            self._file_lines = 0
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample) + "\n")

    def channel_values(self, channel: str) -> list[float]:
        """Return the measured values of one channel, oldest first."""
        return [sample[channel] for sample in self.samples if channel in sample]

    def _trim(self) -> None:
        while self.samples and self.samples[0]["at"] < time.time() - self._span_s:
            self.samples.popleft()

    def _load_samples(self) -> list[Sample]:
        """Return the readable samples of the file; skip broken lines."""
        samples: list[Sample] = []
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return samples
        for line in text.splitlines():
            try:
                row = json.loads(line)
                numbers = {key: script_support.as_number(row.get(key)) for key in ("at", *CHANNELS)}
            except (ValueError, AttributeError):
                continue
            if numbers["at"] is not None:
                samples.append({key: value for key, value in numbers.items() if value is not None})
        return samples


def take_sample(server: str) -> Sample:
    """Return one sample. Raises RequestFailed.

    A channel without a value yet is left out instead of set to 0.
    """
    stats, health = (
        script_support.call_server(server, "/api/stats"),
        script_support.call_server(server, "/api/health"),
    )
    readings = {"queue_size": health.get("queue_size")}
    if stats.get("completed"):
        readings["success_rate"] = stats.get("success_rate")
    if stats.get("avg_duration_ms"):
        readings["latency_ms"] = stats.get("avg_duration_ms")
    numbers = {channel: script_support.as_number(value) for channel, value in readings.items()}
    measured = {channel: value for channel, value in numbers.items() if value is not None}
    return {"at": time.time(), **measured}


def deviation(channel: str, values: list[float]) -> tuple[float, float]:
    """Return the mean of the values before the latest, and the deviation of the latest in sigma.

    `values` must not be empty.
    """
    past, latest = values[:-1] or values, values[-1]
    mean = statistics.fmean(past)
    sigma = max(statistics.pstdev(past, mean), MIN_SIGMA[channel])
    return mean, (latest - mean) / sigma


def autocorrelation(values: list[float], lag: int) -> float:
    """Return the autocorrelation of `values` at `lag`, from -1 to 1.

    Return 0 for a constant series, and for one that is not longer than `lag`.
    """
    mean = statistics.fmean(values)
    power = sum((value - mean) ** 2 for value in values)
    if len(values) <= lag or power == 0:
        return 0.0
    pairs = zip(values[:-lag], values[lag:], strict=True)
    return sum((a - mean) * (b - mean) for a, b in pairs) / power


def find_period_s(values: list[float], interval_s: float) -> float:
    """Return the period in seconds at which a channel repeats itself best; 0 if it does not."""
    recent = values[-MAX_PERIOD_SAMPLES:]
    scores = {lag: autocorrelation(recent, lag) for lag in range(2, min(60, len(recent) // 2))}
    best = max(scores, key=lambda lag: scores[lag], default=0)
    return best * interval_s if scores.get(best, 0.0) > 0.3 else 0.0


def channel_seasonality(channel: str, values: list[float], interval_s: float) -> dict[str, Any]:
    """Return the comparison of one channel's latest value with its own window."""
    mean, sigmas = deviation(channel, values)
    level = next((name for least, name in SEVERITY_SIGMAS if abs(sigmas) >= least), "none")
    anomaly = level != "none" and len(values) > MIN_ANOMALY_SAMPLES
    return {
        "channel": channel,
        "latest": values[-1],
        "period": find_period_s(values, interval_s),
        "anomaly": anomaly,
        "severity": level if anomaly else "none",
        "deviation_sigma": round(sigmas, 3),
        "baseline": round(mean, 4),
        "confidence": round(min(1.0, len(values) / 60), 3),
    }


def simulate_decay(channels: dict[str, list[float]]) -> dict[str, Any]:
    """Return a forecast in which each channel's deviation decays at its pace so far.

    The pace is the autocorrelation at lag 1; the forecast covers `FORECAST_STEPS` steps.
    """
    final: dict[str, float] = {}
    squares = [0.0] * FORECAST_STEPS
    for channel, values in channels.items():
        mean, sigmas = deviation(channel, values)
        pace = min(0.99, max(0.0, autocorrelation(values[-MAX_PERIOD_SAMPLES:], 1)))
        for step in range(FORECAST_STEPS):
            squares[step] += (sigmas * pace**step) ** 2 / len(channels)
        final[channel] = round(mean + (values[-1] - mean) * pace**FORECAST_STEPS, 4)
    return {"final_state": final, "resonance_series": [round(math.sqrt(x), 4) for x in squares]}


def build_status(window: SampleWindow, options: argparse.Namespace) -> dict[str, Any]:
    """Return the content of the status file."""
    now = datetime.now()
    measured = {channel: window.channel_values(channel) for channel in CHANNELS}
    channels = {channel: values for channel, values in measured.items() if values}
    seasons = [
        channel_seasonality(channel, values, options.interval)
        for channel, values in channels.items()
    ]
    upcoming = (now + timedelta(seconds=options.interval)).isoformat(timespec="seconds")
    return {
        "generated_at": now.isoformat(timespec="seconds"),
        "metrics_path": str(window.path),
        "window_hours": options.window_hours,
        "seeds": {season["channel"]: season["baseline"] for season in seasons},
        "seasonality": seasons,
        "simulation": simulate_decay(channels),
        "next_runs": {"sample": upcoming, "report": upcoming},
    }


def render_markdown(content: dict[str, Any]) -> str:
    """Return the status as Markdown for human readers."""
    head = f"# Realtime pipeline\n\nGenerated {content['generated_at']}, local time.\n\n"
    table = "| channel | latest | baseline | deviation | severity |\n|---|---|---|---|---|\n"
    rows = [
        f"| {season['channel']} | {season['latest']:g} | {season['baseline']:g} "
        f"| {season['deviation_sigma']:+.2f} σ | {season['severity']} |\n"
        for season in content["seasonality"]
    ]
    return head + table + "".join(rows)


def write_status(outputs: Path, content: dict[str, Any], truncate: bool) -> None:
    """Write the JSON and the Markdown status file. Raises OSError.

    With `truncate`, write half of the JSON file, as a writer that dies halfway leaves it.
    """
    text, path = json.dumps(content, indent=2) + "\n", outputs / "realtime_pipeline_status.json"
    if truncate:
        path.write_text(text[: len(text) // 2], encoding="utf-8")
    else:
        script_support.write_atomically(path, text)
    script_support.write_atomically(
        outputs / "realtime_pipeline_status.md", render_markdown(content)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--outputs", type=Path, default=Path())
    parser.add_argument("--interval", type=script_support.seconds, default=10.0)
    parser.add_argument("--window-hours", type=script_support.seconds, default=24.0)
    parser.add_argument("--torn", action="store_true", help="leave half a status file each time")
    options = parser.parse_args()
    script_support.set_up_script()
    metrics = options.outputs / "realtime_pipeline_metrics.jsonl"
    window = SampleWindow(metrics, options.window_hours, options.interval)
    while True:
        try:
            window.add(take_sample(options.server))
        except (script_support.RequestFailed, OSError) as reason:
            log.warning("no sample: %s", reason)
        try:
            write_status(options.outputs, build_status(window, options), options.torn)
        except OSError as error:
            log.error("status not written: %s", error)
        time.sleep(options.interval)


if __name__ == "__main__":
    main()
