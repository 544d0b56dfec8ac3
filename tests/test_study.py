"""The scripts of the study's page."""

import ast
import csv
import dataclasses
import importlib.util
import tarfile
from pathlib import Path

import helpers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import XLMRobertaModel

FOLDER = Path(__file__).parents[1] / "docs" / "study"
PHASE = "phases/target-udpos-s0-abc"


def script(name):
    spec = importlib.util.spec_from_file_location(f"study_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_answers_numbers_in_words_are_those_of_the_table():
    rows = csv.DictReader((FOLDER / "tables" / "two_by_two.csv").open(encoding="utf-8"))
    found = [row for row in rows if row["outcome"] == "without_tatoeba"]
    assert len(found) == 3
    docstring = ast.get_docstring(ast.parse((FOLDER.parents[1] / "sweeps/finnish_9_vs_20_small.py").read_text()))
    page = (FOLDER.parent / "study.md").read_text().replace("\u2212", "-").replace("\n", " ")
    readme = (FOLDER.parents[1] / "README.md").read_text().replace("\u2212", "-").replace("\n", " ")
    first = [round(float(found[0][name]), 2) for name in ("difference", "interval_low", "interval_high")]
    assert "{:+.2f} points of Finnish accuracy without Tatoeba, 95 % interval {} to {}".format(*first) in readme
    for place, row in enumerate(found):
        value, low, high = (float(row[name]) for name in ("difference", "interval_low", "interval_high"))
        words = f"{value:+.2f} [{low:.2f}, {high:.2f}]"
        assert page.count(words.replace(" [", " | [")) == 1 and (
            words in page or f"{words.replace(' [', ' points [')}" in page
        )
        assert place == 2 or any(w in docstring for w in (words, words.replace(" [", " points [")))


def test_a_shortened_encoder_gives_the_states_of_the_layer_it_ends_with(tmp_path):
    architecture = dataclasses.replace(helpers.TINY, num_layers=3)
    whole, *_ = helpers.encoder_folder(tmp_path / "whole", ["dog", "ran"], architecture)
    (whole / "tokenizer_config.json").write_text("{}")
    script("shorten").main(whole, tmp_path / "lower", 2)
    models = [XLMRobertaModel.from_pretrained(f, add_pooling_layer=False).eval() for f in (whole, tmp_path / "lower")]
    ids = torch.tensor([[0, 5, 6, 2]])
    with torch.no_grad():
        states = models[0](input_ids=ids, output_hidden_states=True).hidden_states
        found = models[1](input_ids=ids).last_hidden_state
    assert torch.equal(found, states[2]) and not torch.equal(found, states[3])
    assert {path.name for path in (tmp_path / "lower").iterdir()} == {path.name for path in whole.iterdir()}


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """The script beside an archive that holds one phase with two scores."""
    module = script("compare")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "compare.py"))
    write_scores(tmp_path / "first", 79.5, 61.25)
    with tarfile.open(tmp_path / "storage.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "first" / PHASE / "scores.parquet", f"{PHASE}/scores.parquet")
    return module


def write_scores(storage, *values, metric="accuracy"):
    rows = [
        {"task": "udpos", "language": language, "split": "dev", "metric": metric, "value": value}
        for language, value in zip(("fi", "et"), values, strict=False)
    ]
    (storage / PHASE).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), storage / PHASE / "scores.parquet")


def test_a_second_run_is_compared_score_by_score(compare, tmp_path, capsys):
    write_scores(tmp_path / "second", 79.5, 61.0)
    compare.main(tmp_path / "second")
    assert capsys.readouterr().out == f"  0.2500  {PHASE}/scores.parquet\n"


def test_a_storage_with_other_scores_or_none_is_refused(compare, tmp_path):
    write_scores(tmp_path / "fewer", 79.5)
    write_scores(tmp_path / "other", 79.5, 61.0, metric="f1")
    for name in ("fewer", "other"):
        with pytest.raises(SystemExit, match="must hold the same scores, but got"):
            compare.main(tmp_path / name)
    with pytest.raises(SystemExit, match="has none of its scores"):
        compare.main(tmp_path / "nothing")
