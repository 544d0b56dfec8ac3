"""Grafana's dashboard: the file is what its generator makes, and every panel asks for a metric that is exported."""

import importlib.util
import json
import re
from pathlib import Path

from xlray.sweep.prometheus import METRICS

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
RAYS = {"ray_node_gpus_utilization", "ray_node_cpu_utilization"}


def generator():
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expressions(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_file_is_what_the_generator_makes():
    assert json.loads((FOLDER / "xlray.json").read_text()) == generator().dashboard(), (
        "recreate it: python deploy/grafana/generate.py > deploy/grafana/xlray.json"
    )


def test_panels_ask_for_exported_metrics_with_their_own_tags_and_leave_none_out():
    found = expressions(generator().dashboard())
    asked = {name for text in found for name in re.findall(r"\bray_\w+", text)}
    ours = {name.removesuffix("_bucket") for name in asked} - RAYS
    assert ours == {f"ray_{name}" for name in METRICS}
    for text in found:
        (name,) = {name.removesuffix("_bucket") for name in re.findall(r"\bray_\w+", text)}
        labels = set(re.findall(r"(\w+)(?:=~?\")", text))
        labels |= {label for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(", ")}
        known = {"instance"} if name in RAYS else {*METRICS[name.removeprefix("ray_")][1], "le"}
        assert labels <= known, text


def test_panels_do_not_overlap():
    taken = set()
    for panel in generator().dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells
