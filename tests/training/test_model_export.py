"""Exported models give xlray's predictions from raw text, through transformers' own tokenizer and model."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import trained_world
from trained_world import World
from transformers import (
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from xlray.canonical import to_plain
from xlray.cli import main
from xlray.config.recipes import Encoder
from xlray.errors import InputError
from xlray.phases.spec import EvaluationSpec, Phases, RetrievalSpec, Rung, phase_hash, phase_name
from xlray.plan.jobs import write_job
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep
from xlray.training.export_model import choose, export_model
from xlray.training.rerun import compare, find_job, rerun
from xlray.training.train import run_phase

pytestmark = pytest.mark.usefixtures("process_group")
encoder, world = trained_world.encoder, trained_world.world
TRIAL = "0123456789"


def sweep_of(world, *targets, trunk=()):
    """A sweep's folder with one trial that has run these phases; targets of the same rung."""
    directory = world.storage / "sweeps" / "demo"
    job = world.job(*trunk, *targets)
    phases = Phases((Rung(64, tuple(trunk), targets),))
    job = dataclasses.replace(job, name=TRIAL, sweep="demo", phases=phases)
    write_job(directory / "jobs" / f"{TRIAL}.json", job)
    definition = {"encoder": to_plain(Encoder("some/encoder")), "question": "Why?", "targets": [{"language": "fi"}]}
    (directory / "sweep.json").write_text(json.dumps(definition))
    open_sweep(directory).journal.append({"event": "created", "trial_id": TRIAL, "tasks": [], "seed": 0})
    for spec in (*trunk, *targets):
        run_phase(spec, job)
    return directory


def small_target(world, kind, **changes):
    metric = {"regression": ("pearson",), "span_qa": ("f1", "exact_match")}.get(kind, ("accuracy",))
    recipe = {"num_examples": 256, "learning_rate": 3e-3, "warmup_examples": 64}
    return world.target(kind, metric, **{**recipe, **changes})


def stored_predictions(world, spec):
    e = spec.evaluations[0]
    path = world.store.open(spec, f"predictions/{e.data.task}-{e.split}-{e.language}.parquet")
    return pq.read_table(path)["prediction"].to_pylist()


def tags(tokenizer, model, record):
    read = tokenizer(record["tokens"], is_split_into_words=True, return_tensors="pt")
    best = model(**read).logits[0].argmax(-1).tolist()
    words = read.word_ids()
    firsts = [words.index(w) for w in range(len(record["tokens"]))]
    return [model.config.id2label[best[i]] for i in firsts]


def label(tokenizer, model, record):
    logits = model(**tokenizer(record["text"], return_tensors="pt")).logits[0]
    return model.config.id2label[int(logits.argmax())] if model.config.num_labels > 1 else float(logits[0])


def choice(tokenizer, model, record):
    number = len(record["choices"])
    read = tokenizer([record["question"]] * number, record["choices"], padding=True, return_tensors="pt")
    return int(model(**{key: value[None] for key, value in read.items()}).logits[0].argmax())


def answer(tokenizer, model, record):
    read = tokenizer(record["question"], record["context"], return_offsets_mapping=True, return_tensors="pt")
    places = read.pop("offset_mapping")[0].tolist()
    inside = [i for i, part in enumerate(read.sequence_ids()) if part == 1]
    out = model(**read)
    start, end = out.start_logits[0], out.end_logits[0]
    pairs = [(float(start[a] + end[b]), a, b) for a in inside for b in inside if a <= b < a + 30]
    _, a, b = max(pairs, key=lambda pair: pair[0])
    return record["context"][places[a][0] : places[b][1]].strip()


MODELS = {
    "tagging": (AutoModelForTokenClassification, tags),
    "classification": (AutoModelForSequenceClassification, label),
    "regression": (AutoModelForSequenceClassification, label),
    "multiple_choice": (AutoModelForMultipleChoice, choice),
    "span_qa": (AutoModelForQuestionAnswering, answer),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_exported_folder_gives_xlrays_predictions(tmp_path, encoder, kind):
    world = World(Storage(tmp_path / "runs"), encoder)
    spec = small_target(world, kind)
    directory = sweep_of(world, spec)
    document = export_model(open_sweep(directory), TRIAL, f"toy_{kind}", None, tmp_path / "model")
    assert all(one["stored"] == one["rerun"] for one in document["comparisons"]) and document["comparisons"]
    auto, predict = MODELS[kind]
    model, info = auto.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(info.values()), info
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        found = [predict(tokenizer, model.eval(), record) for record in world.records[spec.evaluations[0].data]]
    expected = stored_predictions(world, spec)
    assert len({str(e) for e in expected}) > 1  # a constant would be no test
    if kind == "regression":
        np.testing.assert_allclose(found, expected, atol=2e-4)
    else:
        assert found == expected


def test_without_a_target_the_encoder_of_the_rung_is_exported(tmp_path, encoder):
    world = World(Storage(tmp_path / "runs"), encoder)
    trunk = world.trunk(num_examples=64, schedule="warmup_linear", warmup_examples=16)
    spec = small_target(world, "tagging", parent=phase_hash(trunk))
    directory = sweep_of(world, spec, trunk=(trunk,))
    document = export_model(open_sweep(directory), TRIAL, None, None, None)
    model, info = AutoModel.from_pretrained(document["out"], add_pooling_layer=False, output_loading_info=True)
    assert not any(info.values()), info
    weights = trained_world.weights_of(world, trunk)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[f"roberta.{name}"], rtol=0, atol=0)
    card = (directory / "models" / f"{TRIAL}-encoder-64" / "README.md").read_text()
    assert "| trunk | 2 | 64 | 16 |" in card and "after 2 intermediate tasks" in card and "## Scores" not in card


def test_the_card_says_scores_recipes_and_data(tmp_path, encoder):
    world = World(Storage(tmp_path / "runs"), encoder)
    spec = small_target(world, "classification", num_examples=64)
    sealed = dataclasses.replace(spec.evaluations[0], split="test", sealed=True, selection=False)
    spec = dataclasses.replace(spec, evaluations=(*spec.evaluations, sealed))
    directory = sweep_of(world, spec)
    out = export_model(open_sweep(directory), TRIAL, "toy_classification", None, None)["out"]
    card = (directory / "models" / f"{TRIAL}-toy_classification-64" / "README.md").read_text()
    assert out.endswith("toy_classification-64")
    scores = world.scores(spec)
    assert f"| fi dev | accuracy | {scores['accuracy']:.2f} | 100 |" in card and "| fi test" not in card
    assert "score exactly the same" in card and "pipeline_tag: text-classification" in card
    assert "| toy_classification | en | 400 | the sweep's own task |" in card and phase_name(spec) in card


def test_retrieval_exports_the_encoder(tmp_path, encoder):
    world = World(Storage(tmp_path / "runs"), encoder)
    records = [{"id": str(i), "text": f"red filler{i}", "text_pair": f"filler{i}"} for i in range(12)]
    data = world.data("retrieval", "all/fi", records=records)
    spec = RetrievalSpec(
        phase_hash(world.root), (EvaluationSpec(data, "fi", "dev", False, True),), 1, "fp32", 1, ("accuracy",)
    )
    directory = sweep_of(world, spec)
    out = export_model(open_sweep(directory), TRIAL, "toy_retrieval", None, tmp_path / "model")
    assert out["architecture"] == "XLMRobertaModel" and "layer 1" in (tmp_path / "model" / "README.md").read_text()
    AutoModel.from_pretrained(tmp_path / "model", add_pooling_layer=False)


def test_what_cannot_be_exported_is_reported(tmp_path, encoder):
    world = World(Storage(tmp_path / "runs"), encoder)
    spec = small_target(world, "tagging", num_examples=32)
    directory = sweep_of(world, spec)
    for arguments, message in (
        ((TRIAL, "toy_taging", None), "must be a target of the sweep.*Did you mean 'toy_tagging'"),
        ((TRIAL, "toy_tagging", 7), "rung 7 of trial 0123456789 must be finished, but the finished ones are 64"),
        (("9999", "toy_tagging", None), "has not been started"),
    ):
        with pytest.raises(InputError, match=message):
            choose(open_sweep(directory), *arguments)
    with pytest.raises(InputError, match="must be a folder that is not there yet"):
        export_model(open_sweep(directory), TRIAL, "toy_tagging", None, tmp_path)


# --- rerun ---------------------------------------------------------------------------------------------------------


def test_a_rerun_gives_the_stored_numbers_and_changes_nothing(tmp_path, encoder):
    world = World(Storage(tmp_path / "runs"), encoder)
    trunk = world.trunk(num_examples=64)
    target = small_target(world, "tagging", num_examples=64)
    sweep_of(world, target, trunk=(trunk,))
    before = {p: p.stat().st_mtime_ns for p in world.storage.root.rglob("*")}
    for spec in (trunk, target):
        found, job = find_job(world.storage, phase_name(spec))
        with rerun(found, job) as folder:
            rows = compare(world.storage, found, folder)
        assert rows and all(row.difference == 0 for row in rows)
        assert not folder.exists()
    assert {p: p.stat().st_mtime_ns for p in world.storage.root.rglob("*")} == before


def test_a_rerun_finds_another_number(tmp_path, encoder):
    """A planted fault: the stored scores are of other code."""
    world = World(Storage(tmp_path / "runs"), encoder)
    target = small_target(world, "tagging", num_examples=64)
    sweep_of(world, target)
    other = dataclasses.replace(target, learning_rate=1e-4)
    found, job = find_job(world.storage, phase_name(target))
    with rerun(other, job) as folder:
        rows = compare(world.storage, found, folder)
    assert any(row.difference > 0 for row in rows)


def test_the_rerun_command_compares_and_a_deleted_parent_is_reported(tmp_path, encoder, capfd):
    world = World(Storage(tmp_path / "runs"), encoder)
    trunk = world.trunk(num_examples=64, schedule="warmup_linear", warmup_examples=16)
    target = small_target(world, "tagging", num_examples=32, parent=phase_hash(trunk))
    sweep_of(world, target, trunk=(trunk,))
    options = ("--storage", str(world.storage.root))
    assert main.main(["rerun", phase_hash(target)[:12], *options, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["same"] and {n["name"] for n in document["numbers"]} >= {"dev/toy_tagging/fi/accuracy"}
    assert main.main(["export-model", "demo", TRIAL[:4], "--target", "toy_tagging", *options]) == 0
    assert "scores  exactly the stored ones" in capfd.readouterr().out
    world.store.quarantine(trunk)
    assert main.main(["rerun", phase_name(target), *options]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "was deleted; run the sweep 'demo' again" in error
    assert main.main(["export-model", "demo", "999", *options]) == 2
    assert "must be a trial of demo" in capfd.readouterr().err
