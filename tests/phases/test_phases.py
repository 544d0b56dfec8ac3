import dataclasses
import json
import os
import subprocess
import sys
import threading

import helpers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlray.canonical import canonical_json, fingerprint, to_plain
from xlray.errors import InputError, StoreError
from xlray.phases import spec as phases
from xlray.phases import store as store_module
from xlray.phases.spec import (
    METHOD_VERSIONS,
    DataSpec,
    EncoderSpec,
    EvaluationSpec,
    RetrievalSpec,
    TokenizerSpec,
    TrainSpec,
    differing_fields,
    from_plain,
    label,
    phase_hash,
    phase_name,
)
from xlray.phases.store import Store, check_writable
from xlray.storage.files import fsync, write_atomically
from xlray.storage.storage import Storage

DATA = DataSpec("panx", "tagging", "train/en", "f" * 64, 100, 128, 0, ("O", "B-LOC"))
EVALUATION = EvaluationSpec(dataclasses.replace(DATA, split="dev/fi"), "fi", "dev", False, True)
SPEC = helpers.train_spec("target", "abc", [DATA], evaluations=(EVALUATION,), headline=("f1",))
RECORD = {"num_steps": 4}


@pytest.fixture
def store(tmp_path):
    return Store(Storage(tmp_path))


def finish(store, text="weights", spec=SPEC):
    with store.staging(spec) as staged:
        (staged / "weights").mkdir()
        (staged / "weights" / "model.safetensors").write_text(text)
        (staged / "scores.parquet").write_text("scores")
        store.commit(spec, staged, RECORD)


# --- the store -----------------------------------------------------------------------------------------------------


def test_a_committed_phase_is_there_with_its_files_spec_and_record(store):
    assert not store.has(SPEC)
    finish(store)
    assert store.has(SPEC)
    assert store.open(SPEC, "weights/model.safetensors").read_text() == "weights"
    assert store.done(SPEC)["record"] == RECORD
    assert from_plain(json.loads(store.open(SPEC, "spec.json").read_text())) == SPEC
    assert sorted(p.name for p in store.folder(SPEC).iterdir()) == ["DONE", "scores.parquet", "spec.json", "weights"]


class CrashError(Exception):
    pass


@pytest.mark.parametrize("place", ["before commit", "first file", "second file", "DONE"])
def test_a_crash_between_write_and_commit_leaves_no_phase_and_a_later_run_finishes(store, monkeypatch, place):
    def crash(*_):
        raise CrashError

    with monkeypatch.context() as context, pytest.raises(CrashError), store.staging(SPEC) as staged:
        store.begin(SPEC)
        (staged / "a").write_text("half of the truth")
        (staged / "b").write_text("the other half")
        if place == "before commit":
            crash()
        elif place == "DONE":
            context.setattr(store_module, "write_atomically", crash)
        else:
            count = iter([None] * (place == "second file"))
            context.setattr(store_module, "fsync", lambda path: fsync(path) if next(count, crash) is None else crash())
        store.commit(SPEC, staged, RECORD)
    assert not store.has(SPEC)
    with pytest.raises(StoreError, match="is not finished"):
        store.open(SPEC, "a")
    finish(store, "whole")
    assert store.open(SPEC, "weights/model.safetensors").read_text() == "whole"
    assert not list(store.folder(SPEC).glob("staging-*"))


def test_what_a_killed_process_left_behind_is_removed_by_the_commit(store):
    attempt = store.begin(SPEC)
    (attempt / "state-4.safetensors").write_text("state")
    (attempt.parent / "staging-dead").mkdir()
    (attempt.parent / "staging-dead" / "weights").write_text("half")
    finish(store)
    assert not attempt.exists()
    assert not (store.folder(SPEC) / "staging-dead").exists()


def test_the_second_committer_keeps_the_first(store):
    with store.staging(SPEC) as late:
        (late / "weights").mkdir()
        (late / "weights" / "model.safetensors").write_text("late")
        finish(store, "early")
        before = store.done(SPEC)
        store.commit(SPEC, late, {"num_steps": 5})
    assert store.open(SPEC, "weights/model.safetensors").read_text() == "early"
    assert store.done(SPEC) == before


@pytest.mark.parametrize("damage", ["changed", "truncated", "removed"])
def test_a_damaged_file_is_named_and_the_phase_quarantined(store, damage):
    finish(store)
    path = store.folder(SPEC) / "weights" / "model.safetensors"
    if damage == "removed":
        path.unlink()
    else:
        path.write_text("weightz" if damage == "changed" else "wei")
    with pytest.raises(StoreError, match=r"weights/model\.safetensors is damaged.*quarantine") as caught:
        store.open(SPEC, "weights/model.safetensors")
    assert phase_name(SPEC) in str(caught.value)
    assert not store.has(SPEC)
    assert [p.name.startswith(phase_name(SPEC)) for p in (store.storage / "quarantine").iterdir()] == [True]
    finish(store, "again")
    assert store.open(SPEC, "weights/model.safetensors").read_text() == "again"


def test_a_file_that_the_phase_never_had_is_refused_without_quarantine(store):
    finish(store)
    (store.folder(SPEC) / "smuggled").write_text("x")
    with pytest.raises(StoreError, match="holds no file 'smuggled'"):
        store.open(SPEC, "smuggled")
    assert store.has(SPEC)


def test_another_spec_under_the_same_hash_is_an_error_that_names_the_fields(store, monkeypatch):
    monkeypatch.setattr(phases, "phase_hash", lambda _: "0" * 20)
    finish(store)
    other = dataclasses.replace(
        SPEC, learning_rate=0.5, data=(dataclasses.replace(DATA, fingerprint="e" * 64),), warmup_examples=3
    )
    with pytest.raises(StoreError) as caught:
        store.has(other)
    for line in ("learning_rate: 0.001 != 0.5", "data[0].fingerprint: 'ffff", "warmup_examples: 0 != 3"):
        assert line in str(caught.value)
    assert "batch_size" not in str(caught.value)


def test_a_spec_stored_by_another_version_with_other_fields_is_an_error(store):
    finish(store)
    path = store.folder(SPEC) / "spec.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "surplus": 1}))
    with pytest.raises(StoreError, match="surplus: 1 != None"):
        store.has(SPEC)


def test_readers_never_see_half_a_small_file(tmp_path):
    path = tmp_path / "journal.json"
    texts = [json.dumps([i] * 20_000) for i in range(2)]
    write_atomically(path, texts[0])
    seen = set()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(30):
        write_atomically(path, texts[i % 2])
    stop.set()
    reader.join()
    assert seen <= set(texts)
    assert [p.name for p in tmp_path.iterdir()] == ["journal.json"]


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "x"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_storage_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"storage .*file/storage' must be a folder that can be written"):
        check_writable(Storage(tmp_path / "file" / "storage"))
    check_writable(Storage(tmp_path / "new" / "storage"))
    assert list((tmp_path / "new" / "storage").iterdir()) == []


# --- hashes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_the_hash_is_the_same_in_every_process(seed):
    code = "import json, sys; from xlray.phases.spec import from_plain, phase_hash; print(phase_hash(from_plain(json.load(sys.stdin))))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        input=json.dumps(to_plain(SPEC)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == phase_hash(SPEC)


def test_the_hash_is_that_of_the_plain_form_with_the_type():
    assert phase_hash(EncoderSpec("e")) == fingerprint({"type": "EncoderSpec", "source": "e", "kind": "encoder"})[:20]
    assert phase_hash(EncoderSpec("e")) == "dbf31f0b0763778b7124"


def test_every_field_of_a_training_spec_changes_its_hash():
    changes = {
        "kind": "trunk",
        "parent": "abd",
        "data": (),
        "num_examples": 128,
        "batch_size": 8,
        "learning_rate": 1.1e-3,
        "schedule": "decay",
        "seed": 1,
        "dropout": 0.2,
        "clip_norm": 2.0,
        "precision": "bf16",
        "method_version": 2,
        "first_example": 16,
        "continues": True,
        "warmup_examples": 16,
        "weight_decay": 0.1,
        "mixing": "uniform",
        "cap": 9,
        "temperature": 2.0,
        "scaled_losses": False,
        "architecture": {"hidden_size": 8},
        "evaluations": (),
        "headline": (),
    }
    assert changes.keys() == {field.name for field in dataclasses.fields(TrainSpec)}
    hashes = {phase_hash(dataclasses.replace(SPEC, **{name: value})) for name, value in changes.items()}
    assert len(hashes | {phase_hash(SPEC)}) == len(changes) + 1


def test_nothing_of_the_execution_is_in_a_spec():
    names = {f.name for c in (TrainSpec, RetrievalSpec, TokenizerSpec, DataSpec) for f in dataclasses.fields(c)}
    execution = {
        "num_workers",
        "zero_stage",
        "micro_batch_tokens",
        "offload",
        "cpus_per_worker",
        "gpus_per_worker",
        "trials_per_gpu",
        "checkpoint_every_s",
        "checkpoint_every_steps",
    }
    assert not names & execution


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, b"x", object(), {1: "a"}, (1, {"a": {2}}), 1 + 2j]
)
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(InputError, match="canonical form"):
        canonical_json(value)


def test_the_canonical_form_has_sorted_keys_shortest_numbers_and_no_spaces():
    assert canonical_json({"b": 1e-5, "a": (1, 0.1, None, True, "ä")}) == '{"a":[1,0.1,null,true,"ä"],"b":1e-05}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    assert canonical_json(1) != canonical_json(1.0) != canonical_json("1.0")


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        RetrievalSpec("abc", (EVALUATION,), None, "fp32", 1, ("accuracy",)),
        TokenizerSpec((DATA,), 4000, 1),
        EncoderSpec("e"),
    ],
)
def test_specs_survive_json(spec):
    found = from_plain(json.loads(json.dumps(to_plain(spec))))
    assert found == spec
    assert phase_hash(found) == phase_hash(spec)


def test_an_unknown_type_of_spec_is_refused():
    with pytest.raises(InputError, match="unknown type of spec 'Sepc'"):
        from_plain({"type": "Sepc"})


def test_names_say_kind_task_and_seed():
    assert phase_name(SPEC) == f"target-panx-s0-{phase_hash(SPEC)}"
    assert label(dataclasses.replace(SPEC, kind="trunk", first_example=64)) == "1tasks-128-s0"
    assert label(RetrievalSpec("abc", (EVALUATION,), None, "fp32", 1)) == "panx"
    assert label(TokenizerSpec((DATA,), 4000, 1)) == "4000"


def test_differing_fields_reach_into_lists_and_name_each_once():
    stored = {"a": [1, {"b": 2}], "c": 3, "e": [1]}
    assert differing_fields(stored, {"a": [1, {"b": 5}], "c": 3, "e": [1, 2]}) == ["a[1].b: 2 != 5", "e: [1] != [1, 2]"]
    assert differing_fields(stored, json.loads(json.dumps(stored))) == []


def test_every_kind_of_phase_has_a_method_version():
    assert METHOD_VERSIONS.keys() == {"tokenizer", "pretrain", "trunk", "cooldown", "target", "retrieval"}


# --- learning rates ------------------------------------------------------------------------------------------------


def rates(**changes):
    spec = helpers.train_spec(
        "trunk", "abc", [DATA], **{"learning_rate": 1.0, "batch_size": 10, "num_examples": 100, **changes}
    )
    return [spec.learning_rate_at(step) for step in range(spec.first_step, spec.first_step + spec.num_steps)]


def test_warmup_linear_rises_to_the_peak_and_falls_to_zero():
    found = rates(schedule="warmup_linear", warmup_examples=40)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 60 / 60, 50 / 60, 40 / 60, 30 / 60, 20 / 60, 10 / 60])


def test_warmup_that_ends_within_a_batch_stops_at_the_peak():
    assert rates(schedule="warmup_linear", warmup_examples=15)[:3] == pytest.approx([10 / 15, 1.0, 80 / 85])


def test_warmup_constant_stays_at_the_peak():
    assert rates(schedule="warmup_constant", warmup_examples=30) == pytest.approx([1 / 3, 2 / 3, *[1.0] * 8])
    assert rates(schedule="warmup_constant") == [1.0] * 10


def test_a_later_segment_of_the_trunk_continues_where_the_first_stopped():
    whole = rates(schedule="warmup_constant", warmup_examples=70)
    parts = rates(schedule="warmup_constant", warmup_examples=70, num_examples=50)
    parts += rates(schedule="warmup_constant", warmup_examples=70, num_examples=50, first_example=50)
    assert parts == whole


def test_decay_falls_linearly_from_the_peak_towards_zero():
    found = rates(schedule="decay", first_example=200, num_examples=40)
    assert found == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_only_a_constant_trunk_does_not_end_at_zero():
    ends = {
        s: helpers.train_spec("trunk", "a", [DATA], schedule=s).ends_at_zero
        for s in ("warmup_linear", "decay", "warmup_constant")
    }
    assert ends == {"warmup_linear": True, "decay": True, "warmup_constant": False}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(PLAIN, st.text(), st.tuples(st.text(), st.text()))
def test_the_canonical_text_is_that_of_the_plain_value(value, name, labels):
    data = dataclasses.replace(DATA, task=name, labels=labels)
    for given_value in (value, data, dataclasses.replace(SPEC, data=(data,)), (data, value), [EVALUATION]):
        plain = json.dumps(to_plain(given_value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert canonical_json(given_value) == plain


def test_equal_values_of_other_types_keep_their_own_text():
    whole, real = (dataclasses.replace(DATA, scale=scale) for scale in ((0, 1), (0.0, 1.0)))
    assert whole == real and phase_hash(helpers.train_spec("target", "p", [whole])) != phase_hash(
        helpers.train_spec("target", "p", [real])
    )
