"""A storage that an older version wrote is read: what has not changed keeps its hashes, what has changed is known by its version.

The archive holds a finished sweep of the embedded world, written by commit 1d36c75, without weights, data and jobs.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from xlray.analysis.results import load_results
from xlray.cli.sweep_file import load_sweep
from xlray.phases.spec import METHOD_VERSIONS, Spec, from_plain, phase_hash
from xlray.phases.store import Store
from xlray.plan.definition import check_definition
from xlray.plan.trials import SweepPlan, plan_sweep
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

CHANGED = {"target", "retrieval"}  # kinds of phases whose method has a new version since


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(Path(__file__).parent / "written_by_1d36c75.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return Storage(folder)


@pytest.fixture(scope="module")
def plan(storage: Storage) -> SweepPlan:
    return plan_sweep(load_sweep(storage.root / "sweeps" / "small" / "small.py"), None, storage)


def test_stored_specs_have_the_hashes_that_they_were_stored_under(storage: Storage) -> None:
    found = sorted(storage.root.glob("phases/*/spec.json"))
    assert len(found) == 12
    for path in found:
        spec: Spec = from_plain(json.loads(path.read_text()))
        assert path.parent.name.endswith(f"-{phase_hash(spec)}")


def test_a_plan_finds_every_phase_whose_method_is_the_same(storage: Storage, plan: SweepPlan) -> None:
    store = Store(storage)
    specs = plan.all_specs().values()
    assert len(specs) == 12
    assert {spec.kind for spec in specs if store.has(spec)} == {"tokenizer", "pretrain", "trunk", "cooldown"}
    assert {spec.kind for spec in specs if not store.has(spec)} == CHANGED
    stored = {
        json.loads(p.read_text())["kind"]: json.loads(p.read_text()) for p in storage.root.glob("phases/*/spec.json")
    }
    assert {k for k, v in METHOD_VERSIONS.items() if stored[k]["method_version"] != v} == CHANGED


def test_its_definition_is_that_of_the_same_sweep_file(storage: Storage, plan: SweepPlan) -> None:
    check_definition(plan.sweep, storage)


def test_its_trials_and_scores_are_read(storage: Storage) -> None:
    folder = sweep_folder(storage, "small")
    rows = load_results(folder.path).trials.to_pylist()
    assert [(row["trial_id"], row["status"], row["design"]) for row in rows] == [
        ("bd2ed3b3f8", "finished", None),
        ("1c32518511", "finished", None),
    ]
    assert rows[0]["fi_accuracy"] == pytest.approx(14.33852206637)
