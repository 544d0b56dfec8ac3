"""A finished sweep with known scores, written without running it, for tests of reports."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import statistics
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from xlray import analysis
from xlray.analysis import results
from xlray.analysis.results import PHASES, SCORES, TRIALS
from xlray.report import evidence, report
from xlray.storage import parquet
from xlray.storage.sweep_folder import open_sweep
from xlray.templates import ECHARTS

RUNGS = (1_024, 4_096, 16_384)


TARGETS = {"udpos": 75.0, "panx": 55.0, "tydiqa": 40.0, "tatoeba": 30.0}


EFFECTS = {"mnli": 1.5, "squad": 2.0, "copa": 0.3, "random": -2.0, "paws": 0.7, "qqp": 0.2, "swag": 0.0, "ccg": 0.6}


SUBSETS = (  # tasks, role
    ((), "measure"),
    (("mnli", "squad"), "measure"),
    (("copa", "random"), "measure"),
    (("mnli", "squad", "paws", "qqp"), "measure"),
    (("copa", "random", "swag", "ccg"), "measure"),
    (tuple(EFFECTS), "measure"),
    (("swag", "random"), "explore"),
    (("mnli", "copa"), "explore"),
)


def make_sweep(folder, seeds=(0, 1), subsets=SUBSETS, rungs=3, noise=0.4, statuses=None, targets=None):
    """A plausible sweep on disk: known effects, seed noise, explore trials that are stopped at the second rung."""
    folder = Path(folder)
    targets = targets or TARGETS
    generator = np.random.default_rng(7)
    scores, trials, phases = [], [], []
    journal = open_sweep(folder).journal
    journal.append({"event": "sweep", "definition": {"name": folder.name}})
    for seed, (position, (subset, role)) in itertools.product(seeds, enumerate(subsets)):
        tasks = sorted(subset)
        cell = f"{len(tasks)}-all" if tasks else "0"
        trial = hashlib.sha256(f"{seed} {tasks}".encode()).hexdigest()[:10]
        journal.append({"event": "created", "trial_id": trial, "role": role, "cell": cell})
        journal.append({"event": "running", "trial_id": trial})
        stopped = role == "explore" and "random" in tasks
        last = min(1 if stopped else 2, rungs - 1)
        means = []
        for rung_index in range(last + 1):
            common = {
                "sweep": folder.name,
                "trial_id": trial,
                "cell": cell,
                "num_tasks": len(tasks),
                "tasks": tasks,
                "seed": seed,
                "rung": RUNGS[rung_index],
                "rung_index": rung_index,
                "split": "dev",
                "role": role,
                "source": "all",
                "num_eval_examples": 500,
            }
            gain = sum(EFFECTS[task] for task in tasks) * (rung_index + 1) / 3
            found = {}
            for task, base in targets.items():
                value = base + 3 * rung_index + gain * (2 if task == "tatoeba" else 1) + generator.normal(0, noise)
                found[task] = value
                examples = 0 if task == "tatoeba" else 512
                rows = [("headline", "fi", value, True), ("majority", "fi", base / 2, False)]
                rows += [("headline", "en", value + 12, False)] if task != "tatoeba" else []
                rows += [("majority", language, base / 3, False) for language in ("en", "et", "hu")]
                scores += [
                    {
                        **common,
                        "task": task,
                        "num_examples": examples,
                        "metric": metric,
                        "language": language,
                        "value": v,
                        "selection": chosen,
                    }
                    for metric, language, v, chosen in rows
                ]
            means.append(statistics.fmean(found.values()))
            stops = stopped and rung_index == 1
            journal.append(
                {
                    "event": "rung",
                    "trial_id": trial,
                    "cell": cell,
                    "role": role,
                    "rung": RUNGS[rung_index],
                    "rung_index": rung_index,
                    "score": results.without_tatoeba(found),
                    "fi_accuracy": means[-1],
                    "scores": found,
                    "decision": "stop" if stops else "continue",
                    "probability": 0.2 if role == "explore" else 1.0,
                    "cutoff": 55.0 if role == "explore" else None,
                },
            )
        done = "stopped" if stopped else "finished"
        status = (statuses or {}).get((seed, position), done if rungs == 3 else "running")
        if status in evidence.ENDED:
            journal.append({"event": status, "trial_id": trial, "error": None})
        trials.append(
            {
                "sweep": folder.name,
                "trial_id": trial,
                "status": status,
                "role": role,
                "cell": cell,
                "num_tasks": len(tasks),
                "tasks": tasks,
                "source": "all",
                "chain": None,
                "position": position,
                "seed": seed,
                "last_rung": RUNGS[last],
                "degenerate": False,
                "execution": '{"num_workers": 2}',
                "method_versions": '{"trunk": 1}',
                "fi_accuracy": means[-1],
                "num_distinct": 2_048 * len(tasks) or None,
                "effective_tasks": 0.5 * len(tasks) or None,
                "translated": 0.25 * ("random" in tasks) if tasks else None,
                "rung_tokens": [100 * rung for rung in RUNGS[: last + 1]] if tasks else [],
            }
        )
        for number, kind in enumerate(("trunk", "cooldown", "target")):
            shared = kind == "trunk" and position == 0
            phases.append(
                {
                    "phase": f"{kind}-{trial}",
                    "kind": kind,
                    "status": "shared" if shared else "computed",
                    "num_steps": 100 * (number + 1),
                    "num_tokens": 50_000,
                    "device_hours": 0.25,
                    "trial_id": trial,
                    "num_executed_steps": 0 if shared else 100 * (number + 1) + 5,
                    "degenerate": False,
                    "num_repeated_steps": 0 if shared else 5,
                }
            )
    for name, table, schema in (("scores", scores, SCORES), ("trials", trials, TRIALS), ("phases", phases, PHASES)):
        parquet.write_table(folder / f"results/{name}.parquet", parquet.to_table(table, schema))
    definition = {
        "type": "Sweep",
        "name": folder.name,
        "question": "Do more intermediate tasks make XLM-R better at Finnish?",
        "seeds": list(seeds),
        "measure": [{"tasks": list(tasks)} for tasks, role in subsets if role == "measure"],
        "explore": [{"tasks": list(tasks)} for tasks, role in subsets if role == "explore"],
    }
    (folder / "sweep.json").write_text(json.dumps(definition))
    return folder


def rewrite(folder, change):
    """Rewrite the tables of scores and trials with what `change` makes of each row: a list of rows."""
    loaded = results.load_results(folder)
    for name, schema in (("scores", SCORES), ("trials", TRIALS)):
        rows = [made for row in getattr(loaded, name).to_pylist() for made in change(row)]
        settings = [row.pop("setting", "") for row in rows]
        table = parquet.to_table(rows, schema)
        if name == "trials" and any(settings):
            table = table.append_column("setting", pa.array(settings, pa.string()))
        parquet.write_table(folder / f"results/{name}.parquet", table)
    return folder


def with_axis(folder, settings):
    """The sweep with each trial that has tasks at every setting: `{"lr=1e-5": points that it adds}`."""

    def change(row):
        if not row["num_tasks"]:
            return [row]
        made = []
        for setting, gain in settings.items():
            value = {"value": row["value"] + gain} if "value" in row else {}
            place = {"trial_id": f"{row['trial_id']} {setting}", "cell": f"{row['cell']} {setting}", "setting": setting}
            made.append({**row, **value, **place})
        return made

    rates = [[float(setting.partition("=")[2])] for setting in settings]
    definition = json.loads((folder / "sweep.json").read_text())
    definition["vary"] = [{"fields": ["intermediate.learning_rate"], "rows": rates}]
    (folder / "sweep.json").write_text(json.dumps(definition))
    return rewrite(folder, change)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = make_sweep(tmp_path_factory.mktemp("sweeps") / "quickstart")
    return folder, report.write_report(folder, analysis.Sampling(num_draws=200))


@pytest.fixture(autouse=True)
def few_draws_and_no_pdf(monkeypatch):
    """Intervals are tested with the estimators and PDFs with the fixtures; here they only take time."""
    monkeypatch.setattr(report, "Sampling", functools.partial(analysis.Sampling, num_draws=200))
    canvas = "matplotlib.backends.backend_pdf.FigureCanvasPdf"
    monkeypatch.setattr(f"{canvas}.print_figure", lambda self, file, **_: file.write(b"%PDF"))


def page(folder):
    """The page without ECharts, which is not ours."""
    return (folder / "report/report.html").read_text().replace(ECHARTS.read_text(), "")
