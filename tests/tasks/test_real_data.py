"""Every real set is loaded, prepared and trained on for a few steps, where the folder of real data is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from xlray import subsets
from xlray.config.execution import Execution
from xlray.config.recipes import Encoder, Intermediate, Target
from xlray.config.sweep import Sweep
from xlray.data.encoders import encoder_vocabulary
from xlray.data.tokenization import open_examples
from xlray.phases.spec import Phases, data_of
from xlray.phases.store import Store
from xlray.plan.jobs import Prepared, make_job
from xlray.plan.trials import SweepPlan, plan_sweep
from xlray.storage.storage import Storage
from xlray.sweep.preparation import prepare_splits
from xlray.tasks import TASKS, Files, available
from xlray.training.train import run_phase

SHARED = Path(__file__).parents[3] / "shared"
DATA, ENCODER = SHARED / "data", SHARED / "encoders" / "xlmr-mini"

pytestmark = [
    pytest.mark.skipif(not (DATA.is_dir() and ENCODER.is_dir()), reason=f"{SHARED} is not here"),
    pytest.mark.usefixtures("process_group"),
]


def trainable() -> dict[str, str]:
    """Intermediate tasks whose training files are here, and their kinds."""
    return {
        name: task.kind
        for name, task in TASKS.items()
        if task.role == "intermediate"
        and isinstance(task.source, Files)
        and (DATA / task.source.folder).is_dir()
        and available(task, f"train/{task.languages[0]}", DATA)
    }


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> SweepPlan:
    kinds = trainable()
    drawn = [subsets.random_subsets(list(kinds), size, 1, seed=1, kinds=kinds)[0] for size in (9, 20)]
    sweep = Sweep(
        "real",
        Encoder(str(ENCODER)),
        measure=(*drawn, *subsets.everything(kinds)),
        intermediate=Intermediate(
            (96,), 32, 1e-4, warmup_examples=32, max_length=64, stride=32, examples_per_task=16, mixing="uniform"
        ),
        targets=(
            Target("udpos", 32, max_length=64, stride=32),
            Target("panx", 32, max_length=64, stride=32),
            Target("tydiqa", 32, max_length=96, stride=48),
            Target("tatoeba", max_length=64, stride=32),
        ),
        execution=Execution(micro_batch_tokens=2048),
    )
    return plan_sweep(sweep, DATA, Storage(tmp_path_factory.mktemp("runs")))


def run_phases_of(plan: SweepPlan, phases: Phases) -> list[str | None]:
    folder = plan.starts[plan.sweep.encoder].folder
    assert plan.sources.storage is not None and folder is not None
    store, vocabulary = Store(plan.sources.storage), encoder_vocabulary(folder)
    wanted = {data for spec in phases for data in data_of(spec)}
    folders = prepare_splits(plan.sources, store.storage, wanted, vocabulary)
    assert all(len(open_examples(folder, spec)) >= 1 for spec, folder in folders.items())
    job = make_job("real", phases, plan, store, Prepared(vocabulary.size, vocabulary.mask, folders, folder))
    job.progress.parent.mkdir(parents=True, exist_ok=True)
    return [run_phase(spec, job) for spec in phases]


def test_there_are_at_least_thirty_sets_of_all_kinds() -> None:
    kinds = trainable()
    assert len(kinds) >= 30
    assert {"classification", "regression", "multiple_choice", "span_qa", "tagging"} == set(kinds.values())


def test_subsets_of_nine_twenty_and_all_sets_train_together(plan: SweepPlan) -> None:
    sizes = []
    for trial in plan.trials:
        trunk = next(spec for spec in plan.phases[trial.trial_id] if spec.kind == "trunk")
        assert run_phases_of(plan, Phases(shared=(trunk,))) == [None], "the loss must stay finite"
        sizes.append(len(trial.config.tasks))
    assert sizes == [9, 20, len(trainable())]


@pytest.mark.slow
def test_the_four_targets_train_in_english_and_are_scored_in_finnish(plan: SweepPlan) -> None:
    phases = plan.phases[plan.trials[0].trial_id]
    run_phases_of(plan, phases)
    assert plan.sources.storage is not None
    found: dict[str, Any] = {}
    for spec in (spec for rung in phases.rungs for spec in rung.targets):
        rows = pq.read_table(Store(plan.sources.storage).folder(spec) / "scores.parquet").to_pylist()
        found |= {r["task"]: r["value"] for r in rows if r["language"] == "fi" and r["metric"] == "headline"}
    assert found.keys() == {"udpos", "panx", "tydiqa", "tatoeba"}
    assert all(math.isfinite(value) for value in found.values())
