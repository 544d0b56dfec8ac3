"""Makes xlray.json, the dashboard for Grafana, from the metrics that xlray exports.

python deploy/grafana/generate.py > deploy/grafana/xlray.json
"""

import json
import sys
from typing import Any

from xlray.sweep.prometheus import METRICS

PER_ROW, HEIGHT = 2, 8
MEAN = ', target="mean"'
SWEEP = 'sweep=~"$sweep"'


def query(expression: str, legend: str) -> dict[str, Any]:
    """One line, or one group of lines, of a panel."""
    return {"expr": expression, "legendFormat": legend, "datasource": {"type": "prometheus", "uid": "${datasource}"}}


def xlray(name: str, more: str = "") -> str:
    """A selector of a metric of ours, over the sweeps that were chosen; Ray puts its prefix before the name."""
    assert name in METRICS, name
    return f"ray_{name}{{{SWEEP}{more}}}"


def quantile(share: float) -> str:
    """A quantile of the seconds of phases, over the last quarter of an hour, by kind."""
    rate = f"rate(ray_xlray_phase_seconds_bucket{{{SWEEP}}}[15m])"
    return f"histogram_quantile({share}, sum by (le, kind) ({rate}))"


# Title, unit, what it says, queries, whether the lines are stacked.
PANELS: list[tuple[str, str, str, list[dict[str, Any]], bool]] = [
    (
        "Accuracy of each trial",
        "percent",
        "Mean of the targets at the last rung that a trial has reported. Compare within a rung only.",
        [query(f"max by (trial, rung) ({xlray('xlray_accuracy', MEAN)})", "{{trial}} ({{rung}})")],
        False,
    ),
    (
        "Accuracy by target",
        "percent",
        "Mean over the trials that are shown, per target and rung.",
        [query(f"avg by (target, rung) ({xlray('xlray_accuracy')})", "{{target}} ({{rung}})")],
        False,
    ),
    (
        "Tokens per second",
        "short",
        "That trials train on, over all ranks; nothing while one evaluates or starts.",
        [
            query(f"sum by (trial) ({xlray('xlray_tokens_per_second')})", "{{trial}}"),
            query(f"sum({xlray('xlray_tokens_per_second')})", "all"),
        ],
        False,
    ),
    (
        "Padding",
        "percentunit",
        "Share of padding and idle tokens among those computed.",
        [query(f"max by (trial) ({xlray('xlray_padding_ratio')})", "{{trial}}")],
        False,
    ),
    (
        "Phases",
        "short",
        "Computed in this run, stored before it, open.",
        [query(f"max by (status) ({xlray('xlray_phases')})", "{{status}}")],
        True,
    ),
    ("Trials", "short", "By status.", [query(f"max by (status) ({xlray('xlray_trials')})", "{{status}}")], True),
    (
        "Time of a phase",
        "s",
        "Median and nine in ten, by kind; the time that it held its workers.",
        [query(quantile(0.5), "{{kind}} median"), query(quantile(0.9), "{{kind}} 90 %")],
        False,
    ),
    (
        "Devices",
        "percent",
        "As Ray's agents measure them, per machine.",
        [
            query("avg by (instance) (ray_node_gpus_utilization)", "GPUs of {{instance}}"),
            query("avg by (instance) (ray_node_cpu_utilization)", "CPUs of {{instance}}"),
        ],
        False,
    ),
]


def panel(
    number: int, title: str, unit: str, text: str, queries: list[dict[str, Any]], stacked: bool
) -> dict[str, Any]:
    """A panel with lines over time, at its place in the grid."""
    width = 24 // PER_ROW
    custom = {"lineWidth": 2, "fillOpacity": 25 if stacked else 0, "spanNulls": 60_000, "showPoints": "auto"}
    custom["stacking"] = {"mode": "normal" if stacked else "none"}  # type: ignore[assignment]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": HEIGHT, "w": width, "x": width * (number % PER_ROW), "y": HEIGHT * (number // PER_ROW)},
        "targets": [{**one, "refId": chr(ord("A") + place)} for place, one in enumerate(queries)],
        "fieldConfig": {
            "defaults": {"unit": unit, "min": 0 if stacked else None, "custom": custom},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "table", "calcs": ["lastNotNull"]}, "tooltip": {"mode": "multi"}},
    }


def dashboard() -> dict[str, Any]:
    """The whole dashboard, in Grafana's own schema."""
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "sweep",
            "type": "query",
            "label": "Sweep",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": "label_values(ray_xlray_trials, sweep)",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "uid": "xlray",
        "title": "xlray",
        "tags": ["xlray"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": [panel(number, *one) for number, one in enumerate(PANELS)],
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    print()
