"""Time and memory of a report over 10,000 trials: `PYTHONPATH=tests/support python tests/studies/report_speed.py` prints JSON."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from synthetic import NAMES, TARGETS, digest

from xlray.analysis import Sampling, results
from xlray.analysis.results import PHASES, SCORES, TRIALS
from xlray.report import report
from xlray.storage import parquet
from xlray.storage.journal import JOURNAL_FILE

RUNGS = (4_096, 16_384, 65_536, 262_144)
SIZES = (3, 6, 9, 14, 20)
NUM_SEEDS = 5
KINDS = ("headline", "metric", "majority", "english", "pivot")  # rows of a target at a rung


def large_subsets(num_subsets, generator):
    """(tasks, source, chain, role): the control, chains of all sizes from both pools, single ones to explore."""
    subsets: list[tuple[Any, ...]] = [((), "all", None, "measure")]
    num_chains = num_subsets * 9 // (10 * 2 * len(SIZES))
    for source, pool in NAMES.items():
        for chain in range(num_chains):
            line = generator.permutation(pool)
            subsets += [(tuple(sorted(line[:size].tolist())), source, chain, "measure") for size in SIZES]
    sources = list(NAMES)
    while len(subsets) < num_subsets:
        source = sources[len(subsets) % 2]
        tasks = tuple(sorted(generator.choice(NAMES[source], SIZES[1], replace=False).tolist()))
        subsets.append((tasks, source, None, "explore"))
    return subsets


def make_large_study(folder, num_subsets=2_000):
    """Write the folder of a sweep with five seeds of each subset; 2 % of the trials failed, explore trials were stopped."""
    generator = np.random.default_rng(5)
    subsets = large_subsets(num_subsets, generator)
    effects = {task: generator.normal(0.25, 0.45) for pool in NAMES.values() for task in pool}
    gain = np.array([2.5 * (1 - np.exp(-len(s[0]) / 6)) + sum(effects[t] for t in s[0]) / 6 for s in subsets])
    which = np.tile(np.arange(num_subsets), NUM_SEEDS)
    seeds = np.repeat(np.arange(NUM_SEEDS), num_subsets)
    explore = np.array([s[3] == "explore" for s in subsets])[which]
    last = np.where(explore, generator.integers(0, 4, len(which)), 3)
    failed = generator.random(len(which)) < 0.02
    last = np.where(failed, 0, last)
    trials = np.array([digest(seed, subset) for seed, subset in zip(seeds.tolist(), which.tolist(), strict=True)])
    shared = generator.normal(0, 0.5, NUM_SEEDS)[seeds] + gain[which]
    scores = np.array([base for base, _ in TARGETS.values()]) + 2.0 * np.arange(4)[:, None]
    scores = scores + shared[:, None, None] + generator.normal(0, 0.7, (len(which), 4, len(TARGETS)))
    place = {
        "trial_id": trials,
        "cell": np.array([f"{len(s[0])}-{s[1]}" if s[0] else "0" for s in subsets])[which],
        "num_tasks": np.array([len(s[0]) for s in subsets])[which],
        "seed": seeds,
        "role": np.where(explore, "explore", "measure"),
        "source": np.array([s[1] for s in subsets])[which],
    }
    status = np.where(failed, "failed", np.where(last < 3, "stopped", "finished"))
    lists = pa.array([list(s[0]) for s in subsets], pa.list_(pa.string()))
    (folder / "results").mkdir(parents=True)
    (folder / "journal").mkdir()
    write(folder, "scores", SCORES, score_columns(place, lists, which, last, scores, folder.name))
    count = len(which)
    more = {"sweep": [folder.name] * count, "status": status, "tasks": lists.take(pa.array(which))}
    more |= {"chain": pa.array([s[2] for s in subsets]).take(pa.array(which)), "last_rung": np.array(RUNGS)[last]}
    more |= {"degenerate": generator.random(count) < 0.01, "method_versions": ['{"trunk": 1}'] * count}
    write(folder, "trials", TRIALS, {**place, **more})
    write(folder, "phases", PHASES, phase_columns(trials, last))
    entries = journal_entries(place, last, status, scores)
    lines = [json.dumps({**entry, "time": 1.79e9 + number}) for number, entry in enumerate(entries)]
    (folder / "journal" / JOURNAL_FILE).write_text("\n".join(lines) + "\n")
    measured = [{"tasks": list(s[0]), "source": s[1], "chain": s[2]} for s in subsets if s[3] == "measure"]
    explored = [{"tasks": list(s[0]), "source": s[1], "chain": None} for s in subsets if s[3] == "explore"]
    definition = {"type": "Sweep", "name": folder.name, "seeds": list(range(NUM_SEEDS)), "measure": measured}
    definition |= {
        "explore": explored,
        "intermediate": {"rungs": list(RUNGS)},
        "targets": [{"task": t} for t in TARGETS],
    }
    (folder / "sweep.json").write_text(json.dumps(definition))
    return folder


def write(folder, name, schema, columns):
    size = len(next(iter(columns.values())))
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(size, f.type) for f in schema]
    parquet.write_table(folder / "results" / f"{name}.parquet", pa.table(arrays, schema=schema))


def score_columns(place, lists, which, last, scores, sweep):
    """One row for each trial, rung that it reached, target and kind of number."""
    shape = (*scores.shape, len(KINDS))
    trial, rung, target, kind = (part.ravel() for part in np.indices(shape))
    names = np.array(list(TARGETS))
    kept = (rung <= last[trial]) & ~((names[target] == "tatoeba") & (kind == 3))
    trial, rung, target, kind = (part[kept] for part in (trial, rung, target, kind))
    value = scores[trial, rung, target] + np.array([0, 0, -60, 14, -3])[kind]
    metric = np.where(kind == 1, np.array([m for _, m in TARGETS.values()])[target], np.array(["headline"])[0])
    return {
        "sweep": np.array([sweep])[np.zeros(len(trial), dtype=int)],
        **{name: column[trial] for name, column in place.items()},
        "tasks": lists.take(pa.array(which[trial])),
        "rung": np.array(RUNGS)[rung],
        "rung_index": rung,
        "num_examples": np.where(names[target] == "tatoeba", 0, 8_192),
        "task": names[target],
        "language": np.array(["fi", "fi", "fi", "en", "et"])[kind],
        "split": np.array(["dev"])[np.zeros(len(trial), dtype=int)],
        "metric": np.where(kind == 2, "majority", metric),
        "value": np.clip(value, 0, 100),
        "num_eval_examples": np.full(len(trial), 1_000),
        "selection": kind == 0,
    }


def phase_columns(trials, last):
    trial, rung, kind = (part.ravel() for part in np.indices((len(trials), 4, 6)))
    kept = rung <= last[trial]
    trial, rung, kind = trial[kept], rung[kept], kind[kept]
    kinds = np.array(["trunk", "cooldown", "target", "target", "target", "retrieval"])
    names = [f"{kinds[k]}-{trials[t]}-{r}-{k}" for t, r, k in zip(trial, rung, kind, strict=True)]
    count = len(trial)
    return {
        "phase": names, "kind": kinds[kind], "status": ["computed"] * count, "trial_id": trials[trial],
        "num_steps": np.full(count, 500), "num_tokens": np.full(count, 4_000_000), "device_hours": np.full(count, 0.3),
        "num_executed_steps": np.full(count, 500), "num_repeated_steps": np.zeros(count, dtype=int),
        "degenerate": np.zeros(count, dtype=bool),
    }  # fmt: skip


def journal_entries(place, last, status, scores):
    rows = zip(*(column.tolist() for column in place.values()), strict=True)
    for number, row in enumerate(rows):
        about = {key: value for key, value in zip(place, row, strict=True) if key in ("trial_id", "cell", "role")}
        for rung in range(int(last[number]) + 1):
            stops = status[number] == "stopped" and rung == last[number]
            mean = float(scores[number, rung].mean())
            decided = {"decision": "stop" if stops else "continue", "probability": 0.2 if stops else 1.0, "reason": ""}
            here = {"rung": RUNGS[rung], "rung_index": rung, "score": mean, "fi_accuracy": mean}
            yield {"event": "rung", **about, **here, **decided}
        yield {"event": str(status[number]), "trial_id": about["trial_id"]}


def main():
    with tempfile.TemporaryDirectory() as root:
        folder = make_large_study(Path(root) / "large", int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        loaded = results.load_results(folder)
        load_s = time.perf_counter() - start
        sizes = {"trials": loaded.trials.num_rows, "scores": loaded.scores.num_rows}
        del loaded
        start, used = time.perf_counter(), time.process_time()
        report.write_report(folder, Sampling(num_draws=1_000))
        found = {"load_s": load_s, "report_s": time.perf_counter() - start, "cpu_s": time.process_time() - used}
        page = (folder / "report" / "report.html").stat().st_size
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = {"peak_memory_mib": after / 1024, "peak_before_mib": before / 1024}
        print(json.dumps({**sizes, **{k: round(v, 2) for k, v in {**found, **memory}.items()}, "page_bytes": page}))


if __name__ == "__main__":
    main()
