"""Encoder and tokenised data in the storage: once, in parallel, from files that are read only when they have changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import helpers
import pytest
from played import SWEEP, World, plan_of, play

from xlray.config.execution import Execution
from xlray.config.recipes import Encoder, Intermediate, Subset, Target
from xlray.config.sweep import Sweep
from xlray.data import encoders, records
from xlray.errors import InputError
from xlray.phases.spec import EncoderSpec, data_key, data_of
from xlray.phases.store import Store
from xlray.plan.forecast import summary
from xlray.plan.jobs import read_job
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage
from xlray.sweep import preparation
from xlray.sweep.ray_session import ray_session
from xlray.sweep.run import prepare, run
from xlray.tasks import load_records

WORDS = ["sky", "blue", "red", "sea", *(f"w{n}" for n in range(20))]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return helpers.encoder_folder(tmp_path_factory.mktemp("encoder") / "encoder", WORDS)[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two intermediate sets and one target in the publishers' formats."""
    folder = tmp_path / "data"
    (tmp_path / "runs").mkdir()
    for name, rows in (("indonlu_smsa", 30), ("korsts_ko", 20)):
        (folder / name).mkdir(parents=True)
        if name == "indonlu_smsa":
            text = "".join(f"sky w{n % 20} blue\t{('positive', 'negative')[n % 2]}\n" for n in range(rows))
            (folder / name / "train_preprocess.tsv").write_text(text)
        else:
            head = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"
            text = "".join(f"g\tf\t2012\t{n}\t{n % 5}.0\tsky w{n}\tred w{n}\n" for n in range(rows))
            (folder / name / "sts-train.tsv").write_text(head + text)
    (folder / "tatoeba").mkdir()
    (folder / "tatoeba" / "tatoeba.fin-eng.eng").write_text("".join(f"sea w{n}\n" for n in range(10)))
    (folder / "tatoeba" / "tatoeba.fin-eng.fin").write_text("".join(f"blue w{n}\n" for n in range(10)))
    return folder


def sweep(encoder: Path) -> Sweep:
    return Sweep(
        "prepared",
        Encoder(str(encoder)),
        measure=(Subset(("indonlu_smsa", "korsts_ko")),),
        intermediate=Intermediate(rungs=(64,), batch_size=32, warmup_examples=32, max_length=30, stride=10),
        targets=(Target("tatoeba", max_length=30, stride=10),),
        execution=Execution(micro_batch_tokens=64),
    )


def modified(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_everything_that_a_sweep_reads_comes_into_the_storage_once(encoder: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    rows = prepare(plan_sweep(sweep(encoder), data, Storage(root)), Storage(root))
    assert {(r["task"], r["split"], r["records"]) for r in rows} == {
        ("indonlu_smsa", "train/id", 30),
        ("korsts_ko", "train/ko", 20),
        ("tatoeba", "all/fi", 10),
    }
    (stored,) = (root / "encoders").iterdir()
    assert {p.name for p in stored.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    before = modified(root)
    assert prepare(plan_sweep(sweep(encoder), data, Storage(root)), Storage(root)) == rows
    assert modified(root) == before


def test_files_that_have_not_changed_are_not_read_again(
    encoder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    first = plan_sweep(sweep(encoder), data, Storage(root))
    read: list[str] = []

    def counted(task: Any, split: str, *rest: Any) -> list[Any]:
        read.append(task.name)
        return load_records(task, split, *rest)

    monkeypatch.setattr(records, "load_records", counted)
    again = plan_sweep(sweep(encoder), data, Storage(root))
    assert read == [] and again.all_specs() == first.all_specs()
    path = data / "korsts_ko" / "sts-train.tsv"
    path.write_text(path.read_text().replace("sky w3\t", "sky w4\t"))
    changed = plan_sweep(sweep(encoder), data, Storage(root))
    assert read == ["korsts_ko"] and changed.all_specs().keys() != first.all_specs().keys()
    prepare(again, Storage(root))
    assert sorted(set(read)) == ["indonlu_smsa", "korsts_ko", "tatoeba"], "preparing needs the records themselves"


def test_a_file_that_breaks_after_it_was_remembered_is_still_refused(encoder: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    plan_sweep(sweep(encoder), data, Storage(root))
    (data / "indonlu_smsa" / "train_preprocess.tsv").write_text("no label here\n")
    with pytest.raises(InputError, match=r"train_preprocess.tsv, line 1"):
        plan_sweep(sweep(encoder), data, Storage(root))


def test_a_stored_encoder_of_the_hub_is_used_without_the_hub(encoder: Path, tmp_path: Path) -> None:
    hub = Encoder("somebody/xlm-r", "1" * 40)
    spec = EncoderSpec(f"{hub.path}@{hub.revision}")
    stored = encoders.bring_encoder(Storage(tmp_path), spec, encoder)
    assert encoders.encoder_folder(hub, Storage(tmp_path)) == stored
    assert encoders.encoder_spec(hub, stored) == spec


def test_an_interrupted_copy_of_an_encoder_is_no_encoder(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EncoderSpec("somebody/xlm-r@1")

    def fail(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise FileNotFoundError(source)

    monkeypatch.setattr("xlray.data.encoders.shutil.copyfile", fail)
    with pytest.raises(FileNotFoundError):
        encoders.bring_encoder(Storage(tmp_path), spec, encoder)
    assert not encoders.stored_encoder(Storage(tmp_path), spec).exists()
    assert list((tmp_path / "encoders").iterdir()) == []


def test_bad_examples_are_refused_or_left_out_and_counted(encoder: Path, data: Path, tmp_path: Path) -> None:
    path = data / "indonlu_smsa" / "train_preprocess.tsv"
    path.write_text(path.read_text() + "sky w1\tglad\nno label\n")
    with pytest.raises(InputError, match=r"must be one of|columns"):
        plan_sweep(sweep(encoder), data, Storage(tmp_path))
    for _ in range(2):  # the second time what is remembered says so
        plan = plan_sweep(sweep(encoder), data, Storage(tmp_path), skip_bad_examples=True)
        found = summary(plan, Store(Storage(tmp_path)))["skipped_examples"]
        assert (
            found["indonlu_smsa train/id"]["number"] == 2 and "'glad'" in found["indonlu_smsa train/id"]["reasons"][0]
        )
        kept = [d for spec in plan.all_specs().values() for d in data_of(spec) if d.task == "indonlu_smsa"]
        assert {d.num_records for d in kept} == {30}


@pytest.mark.ray
def test_large_splits_are_tokenised_in_parallel_to_the_same_files(
    encoder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PARALLEL_FROM", 1)
    parallel, serial = tmp_path / "parallel", tmp_path / "serial"
    plan = plan_sweep(sweep(encoder), data, Storage(parallel))
    with ray_session(Execution(), None):
        specs = {d for spec in plan.all_specs().values() for d in data_of(spec)}
        vocabulary = encoders.encoder_vocabulary(encoder)
        seen: list[str] = []
        folders = preparation.prepare_splits(
            plan.sources, Storage(parallel), specs, vocabulary, lambda s: seen.append(s.task)
        )
    assert sorted(seen) == ["indonlu_smsa", "korsts_ko", "tatoeba"]
    monkeypatch.setattr(preparation, "PARALLEL_FROM", 10**9)
    other = plan_sweep(dataclasses.replace(sweep(encoder), name="serial"), data, Storage(serial))
    prepare(other, Storage(serial))
    for spec, folder in folders.items():
        twin = serial / "data" / folder.name
        for name in ("examples.arrow", "references.json"):
            assert (folder / name).read_bytes() == (twin / name).read_bytes(), spec.task


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intermediate_size": 24}, r"weights must fit config\.json.*of another shape"),
        ({"vocab_size": 3}, r"weights must fit config\.json.*word_embeddings"),
    ],
)
def test_a_folder_whose_files_do_not_fit_one_another_is_refused_when_the_sweep_is_planned(
    change: dict[str, int], message: str, encoder: Path, data: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(encoder, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=message):
        plan_sweep(sweep(broken), data, Storage(tmp_path / "runs"))


def test_a_tokenizer_with_more_pieces_than_embeddings_is_refused_when_the_sweep_is_planned(
    encoder: Path, data: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(encoder, broken)
    helpers.word_tokenizer(broken / "tokenizer.json", [*WORDS, *(f"more{n}" for n in range(600))], 700)
    with pytest.raises(InputError, match=r"tokenizer pieces <= embedding rows"):
        plan_sweep(sweep(broken), data, Storage(tmp_path / "runs"))


def test_a_run_that_finds_everything_stored_writes_the_jobs_of_its_trials(encoder: Path, tmp_path: Path) -> None:
    storage, again = tmp_path / "runs", dataclasses.replace(SWEEP, name="again")
    play(storage, plan_of(SWEEP, World()))
    plan = plan_of(again, World())
    starts = {name: dataclasses.replace(start, folder=encoder) for name, start in plan.starts.items()}
    results = run(again, Storage(storage), plan=dataclasses.replace(plan, starts=starts))
    assert set(results.phases["status"].to_pylist()) == {"stored"}
    for trial_id, status in zip(*(results.trials[name].to_pylist() for name in ("trial_id", "status")), strict=True):
        job = read_job(storage / "sweeps" / "again" / "jobs" / f"{trial_id}.json")
        assert status in ("finished", "stopped") and job.vocab_size == encoders.encoder_vocabulary(encoder).size
        read = {data_key(data) for spec in job.phases for data in data_of(spec)}
        assert read == job.folders.keys()
        assert any((Path(folder) / "tokenizer.json").is_file() for folder in job.parents.values())  # the encoder's
