"""A study on disk as a large sweep would leave it, with known effects: two pools, chains, rungs, stopped and failed trials."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xlray.analysis.results import PHASES, SCORES, TRIALS
from xlray.storage import parquet
from xlray.storage.journal import JOURNAL_FILE
from xlray.tasks.pools import ENGLISH_32, NON_ENGLISH_32

TARGETS = {"udpos": (80.0, "accuracy"), "panx": (66.0, "f1"), "tydiqa": (55.0, "f1"), "tatoeba": (62.0, "accuracy")}
MAJORITY = {"udpos": 25.6, "panx": 0.0, "tydiqa": 0.0, "tatoeba": 0.2}
RUNGS = (16_384, 65_536, 262_144)
NAMES = {"en": sorted(ENGLISH_32), "non-en": sorted(NON_ENGLISH_32)}
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "xlray": "0.1.0", "commit": "0123456789ab"}


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def make_subsets(sizes, num_chains, num_explore, generator):
    """(tasks, source, chain, role), the control first."""
    subsets: list[tuple[Any, ...]] = [((), "all", None, "measure")]
    for source, pool in NAMES.items():
        for chain in range(num_chains):
            line = generator.permutation(pool)
            subsets += [(tuple(sorted(line[:size])), source, chain, "measure") for size in sizes]
        for _ in range(num_explore):
            chosen = generator.choice(pool, size=sizes[0], replace=False)
            subsets.append((tuple(sorted(chosen)), source, None, "explore"))
    return list({subset[0]: subset for subset in subsets}.values())


def make_study(  # noqa: PLR0915
    folder, sizes=(3, 6, 9, 14, 20), num_chains=6, seeds=5, num_explore=8, rungs=RUNGS, unfinished=0
):
    """Write the folder of a sweep; returns its path.

    Args:
        unfinished: trials at the end of the list that only were created.
    """
    folder = Path(folder)
    generator = np.random.default_rng(3)
    effects = {task: generator.normal(0.25, 0.45) for pool in NAMES.values() for task in pool}
    subsets = make_subsets(sizes, num_chains, num_explore, generator)
    by_seed = generator.normal(0, 0.5, seeds)
    rows, trials, phases, journal, clock = [], [], [], [], 1_790_000_000.0
    plan = list(itertools.product(range(seeds), enumerate(subsets)))
    for number, (seed, (position, (tasks, source, chain, role))) in enumerate(plan):
        trial, size = digest(seed, tasks), len(tasks)
        cell = f"{size}-{source}" if size else "0"
        place = {"sweep": folder.name, "trial_id": trial, "cell": cell, "num_tasks": size, "tasks": list(tasks)}
        place |= {"seed": seed, "role": role, "source": source}
        journal.append({"event": "created", "trial_id": trial, "cell": cell, "role": role, "tasks": list(tasks)})
        failed = number % 97 == 50
        last = len(rungs) - 1
        if role == "explore" and number % 3:
            last = number % 2
        if failed:
            last = 0
        status = "failed" if failed else "stopped" if last < len(rungs) - 1 else "finished"
        collapsed = number % 61 == 30
        if number >= len(plan) - unfinished:
            last, status = -1, "created"
        gain = 2.2 * (1 - np.exp(-size / 6)) * (1.25 if source == "non-en" else 1) + sum(effects[t] for t in tasks) / 6
        mean = None
        for index in range(last + 1):
            found = {}
            for task, (base, metric) in TARGETS.items():
                value = base + 2.0 * index + gain * (index + 1) / len(rungs) * (2.2 if task == "tatoeba" else 1)
                value += by_seed[seed] + generator.normal(0, 0.7) - (12 if collapsed and task == "panx" else 0)
                found[task] = value
                here = {**place, "rung": rungs[index], "rung_index": index, "task": task, "split": "dev"}
                here |= {"num_examples": 0 if task == "tatoeba" else 8_192, "num_eval_examples": 1_000}
                rows.append({**here, "language": "fi", "metric": "headline", "value": value, "selection": True})
                rows.append({**here, "language": "fi", "metric": metric, "value": value, "selection": False})
                rows.append(
                    {**here, "language": "fi", "metric": "majority", "value": MAJORITY[task], "selection": False}
                )
                if task != "tatoeba":
                    there = {"language": "en", "metric": "headline", "selection": False}
                    rows.append({**here, **there, "value": value + 14 + generator.normal(0, 0.8)})
                pivot = {"language": "ru" if task == "tydiqa" else "et", "metric": "headline", "selection": False}
                rows.append({**here, **pivot, "value": value - 3 + generator.normal(0, 0.6)})
            mean = float(np.mean(list(found.values())))
            stops = status == "stopped" and index == last
            journal.append(
                {
                    "event": "rung", "trial_id": trial, "cell": cell, "role": role, "rung": rungs[index],
                    "rung_index": index, "score": float(np.mean([v for t, v in found.items() if t != "tatoeba"])),
                    "fi_accuracy": mean, "degenerate": "", "scores": found, "reason": "",
                    "decision": "stop" if stops else "continue", "cutoff": 70.0 if role == "explore" else None,
                    "probability": 0.2 if stops else 1.0,
                }
            )  # fmt: skip
        if status in ("finished", "stopped", "failed"):
            journal.append({"event": status, "trial_id": trial, "error": "out of memory" if failed else None})
        trials.append(
            {
                **place, "status": status, "chain": chain, "position": position, "degenerate": collapsed,
                "last_rung": rungs[last] if last >= 0 else None, "error": "", "fi_accuracy": mean,
                "execution": '[{"num_workers": 8, "zero_stage": 2}]', "method_versions": '{"trunk": 1, "target": 1}',
                "versions": json.dumps([VERSIONS]),
            }
        )  # fmt: skip
        for index in range(last + 1):
            for kind, hours in (("trunk", 0.9), ("cooldown", 0.2), ("target", 0.35), ("retrieval", 0.02)):
                shared = not size and index > 0
                phases.append(
                    {
                        "phase": f"{kind}-{digest(trial, 0 if shared else index)}", "kind": kind, "trial_id": trial,
                        "status": "shared" if shared else "computed", "num_steps": 500, "num_tokens": 4_000_000,
                        "device_hours": 0.0 if shared else hours * (index + 1), "num_executed_steps": 0 if shared else 500,
                        "num_repeated_steps": 0, "degenerate": collapsed and kind == "target",
                    }
                )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, table, schema in (("scores", rows, SCORES), ("trials", trials, TRIALS), ("phases", phases, PHASES)):
        parquet.write_table(folder / "results" / f"{name}.parquet", pa.Table.from_pylist(table, schema))
    (folder / "journal").mkdir(exist_ok=True)
    lines = [json.dumps({**entry, "time": clock + 40.0 * number}) for number, entry in enumerate(journal)]
    (folder / "journal" / JOURNAL_FILE).write_text("\n".join(lines) + "\n")
    by_role = {role: [s for s in subsets if s[3] == role] for role in ("measure", "explore")}
    definition = {
        "type": "Sweep",
        "name": folder.name,
        "question": "Is Finnish better after 20 intermediate tasks than after 9, and are non-English ones better?",
        "encoder": {"path": "FacebookAI/xlm-roberta-large", "revision": "c23d21b0620b635a76227c604d44e43a9f0ee389"},
        "seeds": list(range(seeds)),
        "precision": "bf16",
        "intermediate": {"rungs": list(rungs)},
        "targets": [{"task": task} for task in TARGETS],
        **{role: [{"tasks": list(s[0]), "source": s[1], "chain": s[2]} for s in by_role[role]] for role in by_role},
    }
    (folder / "sweep.json").write_text(json.dumps(definition))
    return folder
