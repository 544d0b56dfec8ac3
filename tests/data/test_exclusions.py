"""Training examples with a text of the Finnish target data are left out, whatever files a later machine has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import helpers
import pytest

from xlray.config.recipes import Encoder, Intermediate, Subset, Target
from xlray.config.sweep import Sweep
from xlray.data.contamination import load_exclusions
from xlray.phases.spec import DataSpec
from xlray.phases.store import Store
from xlray.plan.forecast import summary
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage

SHARED = "moni lause on jo täällä"
WORDS = ["sky", *SHARED.split()]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = helpers.encoder_folder(tmp_path_factory.mktemp("encoder") / "encoder", WORDS)[0]
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One intermediate set and one target, which share a sentence."""
    folder = tmp_path / "data"
    (folder / "indonlu_smsa").mkdir(parents=True)
    rows = [f"sky number {n} is up\tpositive\n" for n in range(20)]
    (folder / "indonlu_smsa" / "train_preprocess.tsv").write_text("".join([*rows, f"{SHARED.upper()}!\tnegative\n"]))
    (folder / "tatoeba").mkdir()
    (folder / "tatoeba" / "tatoeba.fin-eng.fin").write_text(f"{SHARED}\nyksi aivan toinen lause\n")
    (folder / "tatoeba" / "tatoeba.fin-eng.eng").write_text("many sentences are here\none quite other sentence\n")
    (tmp_path / "runs").mkdir()
    return folder


def sweep(encoder: Path, *targets: str) -> Sweep:
    return Sweep(
        "s",
        Encoder(str(encoder)),
        measure=(Subset(("indonlu_smsa",)),),
        intermediate=Intermediate(rungs=(64,), batch_size=32, warmup_examples=32, max_length=30, stride=10),
        targets=tuple(Target(name, max_length=30, stride=10) for name in targets or ("tatoeba",)),
    )


def trained_on(sweep: Sweep, data: Path, root: Path | None) -> DataSpec:
    plan = plan_sweep(sweep, data, None if root is None else Storage(root))
    return next(spec for phases in plan.phases.values() for spec in phases if spec.kind == "trunk").data[0]


def test_an_example_with_a_finnish_target_text_is_left_out_and_counted(
    encoder: Path, data: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # read, then remembered
        plan = plan_sweep(sweep(encoder), data, Storage(tmp_path / "runs"))
        assert summary(plan, Store(Storage(tmp_path / "runs")))["overlapping_examples"] == {"indonlu_smsa train/id": 1}
    assert trained_on(sweep(encoder), data, tmp_path / "runs").num_records == 20


def test_leaving_out_can_be_turned_off_and_is_part_of_the_identity(encoder: Path, data: Path, tmp_path: Path) -> None:
    kept = trained_on(dataclasses.replace(sweep(encoder), drop_overlap=False), data, tmp_path / "runs")
    assert kept.num_records == 21
    assert kept.fingerprint != trained_on(sweep(encoder), data, tmp_path / "runs").fingerprint


def test_a_plan_without_a_storage_leaves_out_the_same(encoder: Path, data: Path, tmp_path: Path) -> None:
    assert trained_on(sweep(encoder), data, None) == trained_on(sweep(encoder), data, tmp_path / "runs")


def test_what_is_left_out_depends_on_the_storage_not_on_the_files_of_a_machine(
    encoder: Path, data: Path, tmp_path: Path
) -> None:
    before = trained_on(sweep(encoder), data, tmp_path / "runs")
    (data / "panx").mkdir()
    (data / "panx" / "dev-fi.tsv").write_text("\n".join(f"{w}\tO" for w in ["sky", "number", "3", "is", "up"]) + "\n")
    assert trained_on(sweep(encoder), data, tmp_path / "runs") == before
    other = tmp_path / "other"
    other.mkdir()
    assert trained_on(sweep(encoder), data, other).num_records == 19, "a new storage knows the new file"


def test_the_list_grows_when_a_target_changes_and_forgets_nothing(encoder: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    trained_on(sweep(encoder), data, root)
    first = load_exclusions(Storage(root))
    (data / "tatoeba" / "tatoeba.fin-eng.fin").write_text("aivan muita lauseita on nyt\nsky number 5 is up\n")
    assert trained_on(sweep(encoder), data, root).num_records == 19
    second = load_exclusions(Storage(root))
    assert first is not None and second is not None
    assert set(first.keys.tolist()) < set(second.keys.tolist()) and first.version != second.version
