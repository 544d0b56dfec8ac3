"""What was left out of a sweep's data, and what is doubtful: in its plan, its results and its report."""

from __future__ import annotations

import json
from pathlib import Path

import helpers
import pytest

from xlray.cli.tables import plan_lines
from xlray.cli.task_tables import remark_lines
from xlray.config.recipes import Encoder, Intermediate, Subset, Target
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.phases.store import Store
from xlray.plan.forecast import summary
from xlray.plan.trials import SweepPlan, plan_sweep
from xlray.report.evidence import collect_evidence
from xlray.report.warnings import find_warnings
from xlray.storage.storage import Storage
from xlray.sweep.result_tables import write_results

WORDS = ["sky", *(f"w{n}" for n in range(30))]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = helpers.encoder_folder(tmp_path_factory.mktemp("encoder") / "encoder", WORDS)[0]
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two bad training examples, a test set without labels, and English sentences that were sorted by themselves."""
    folder = tmp_path / "data"
    (tmp_path / "runs").mkdir()
    texts = {
        "indonlu_smsa/train_preprocess.tsv": "".join(f"sky w{n}\tpositive\n" for n in range(20)) + "sky\tglad\nsky\n",
        "udpos/train-en.tsv": "sky\tNOUN\n\nw1\tVERB\nw2\tNOUN\n",
        "udpos/dev-en.tsv": "sky\tNOUN\n",
        "udpos/dev-fi.tsv": "w3\tNOUN\n\n_\tX\n_\tX\n",
        "udpos/test-fi.tsv": "w3\n\nw4\n",
        "tatoeba/tatoeba.fin-eng.eng": "".join(f"w{n}\n" for n in sorted(range(30), key=str)),
        "tatoeba/tatoeba.fin-eng.fin": "".join(f"sky w{(7 * n) % 30}\n" for n in range(30)),
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def planned(encoder: Path, data: Path, root: Path) -> SweepPlan:
    sweep = Sweep(
        "lacking",
        Encoder(str(encoder)),
        measure=(Subset(("indonlu_smsa",)),),
        intermediate=Intermediate(rungs=(64,), batch_size=32, warmup_examples=32, max_length=30, stride=10),
        targets=(Target("udpos", 32, max_length=30, stride=10), Target("tatoeba", max_length=30, stride=10)),
        drop_overlap=False,
    )
    return plan_sweep(sweep, data, Storage(root), skip_bad_examples=True)


def test_what_the_data_lack_stands_in_the_plan_and_in_the_report(encoder: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    store = Store(Storage(root))
    for _ in range(2):  # the second time the files are not read again
        plan = planned(encoder, data, root)
        document = summary(plan, store)
        assert document["unlabelled_test_sets"] == ["udpos test/fi"] and document["missing_test_sets"] == []
        skipped = document["skipped_examples"]["indonlu_smsa train/id"]
        assert skipped["number"] == 2 and "'glad'" in skipped["reasons"][0] and "line 22" in skipped["reasons"][1]
        assert document["left_out_examples"] == {"udpos dev/fi": {"sentences without text (every form is '_')": 1}}
        (doubt,) = document["doubts"]["tatoeba all/fi"]
        assert doubt.startswith("the English sentences stand in alphabetical order")
    lines = [line.removeprefix("data    ") for line in plan_lines(document) if line.startswith("data ")]
    assert len(lines) == 4
    write_results(plan, store)
    folder = root / "sweeps" / "lacking"
    assert (
        json.loads((folder / "results" / "data.json").read_text())["skipped_examples"] == document["skipped_examples"]
    )
    warnings = find_warnings(collect_evidence(folder))
    assert [warning for warning in warnings if warning in lines] == lines


@pytest.mark.parametrize("name", ["dev-fi.tsv", "test-fi.tsv", "dev-en.tsv"])
def test_bad_examples_of_evaluation_sets_are_not_left_out(encoder: Path, data: Path, tmp_path: Path, name: str) -> None:
    (data / "udpos" / name).write_text("w3\tNOUN\n\nw4\tNOM\n")
    message = rf"{name}, line 3: .*but got 'NOM'\. Bad examples of evaluation sets are not left out: mend the file\."
    with pytest.raises(InputError, match=message):
        planned(encoder, data, tmp_path / "runs")


def test_the_check_of_files_says_what_it_left_out_and_doubts() -> None:
    row = {"task": "t", "split": "test/fi", "unlabelled": True, "left_out": {"rows": 3}, "doubts": ["odd"]}
    said = ["a test set without labels: there are no scores for it", "3 rows were left out", "odd"]
    assert remark_lines(row) == [f"t test/fi: {text}" for text in said]
    assert remark_lines(row | {"unlabelled": False, "left_out": {}, "doubts": []}) == []
