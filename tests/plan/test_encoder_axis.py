"""Encoders as an axis: what each of them trains, reads, costs and is named by, and what they share."""

import dataclasses
import shutil
from collections import Counter

import pytest

from xlray import mini
from xlray.cli import tables
from xlray.config.execution import Execution
from xlray.config.recipes import (
    XLM_R_BASE,
    XLM_R_LARGE,
    Architecture,
    Encoder,
    Intermediate,
    Pretraining,
    Subset,
    Target,
)
from xlray.config.sweep import Sweep
from xlray.data.encoders import EMBEDDED, KNOWN_ARCHITECTURES
from xlray.errors import InputError
from xlray.phases.spec import TokenizerSpec, data_of
from xlray.phases.store import Store
from xlray.plan.costs import phase_cost
from xlray.plan.forecast import Terms, forecast, summary
from xlray.plan.jobs import Prepared, is_shared, make_job, read_job, shared_jobs, write_job
from xlray.plan.memory import ModelShape, predict
from xlray.plan.trials import plan_sweep
from xlray.storage.files import read_json
from xlray.storage.storage import Storage

NARROW = Pretraining(
    ("mini_text",), Architecture(32, 1, 2, 64, 400, 66), num_examples=64, batch_size=32, max_length=64, name="narrow"
)
WIDE = dataclasses.replace(NARROW, architecture=Architecture(64, 2, 4, 128, 500, 66), name="wide")
ENCODERS = (NARROW, mini.PRETRAINED, WIDE)
NAMES = ("narrow", "embedded-mini", "wide")
RATE = "targets.mini_udpos.learning_rate"
SWEEP = Sweep(
    "s",
    NARROW,
    measure=(Subset(()), Subset(("mini_sentiment_en", "mini_topic_en"))),
    intermediate=Intermediate(rungs=(64, 128), batch_size=32, warmup_examples=32, max_length=64, stride=32),
    targets=(Target("mini_udpos", 128, 64, max_length=64, stride=32), Target("mini_tatoeba", max_length=64, stride=32)),
    execution=Execution(micro_batch_tokens=1_024),
    vary={"encoder": ENCODERS, RATE: (1e-5, 2e-5)},
)


@pytest.fixture(scope="module")
def plan():
    return plan_sweep(SWEEP, None)


def test_the_phases_of_an_encoder_are_those_of_a_sweep_of_this_encoder(plan):
    found = {}
    for encoder in ENCODERS:
        alone = plan_sweep(dataclasses.replace(SWEEP, encoder=encoder, vary={RATE: (1e-5, 2e-5)}), None)
        assert plan.starts[encoder] == alone.starts[encoder]
        assert plan.specs_by_encoder()[encoder] == alone.all_specs()
        found |= alone.phases
    assert plan.phases == found and plan.all_specs().keys() == {s.key for p in found.values() for s in p} | {
        s.key for s in plan.shared
    }


def test_phases_are_shared_within_an_encoder_and_never_between_two(plan):
    specs = plan.specs_by_encoder()
    assert Counter(key for inside in specs.values() for key in inside).most_common(1)[0][1] == 1
    for inside in specs.values():
        kinds = Counter(spec.kind for spec in inside.values() if spec.kind in ("trunk", "cooldown"))
        assert kinds == {"trunk": 2, "cooldown": 2}  # of two trials, that differ in a target alone
    assert len(plan.trials) == 3 * 2 * 2


def test_two_sizes_of_one_text_are_two_tokenizers_before_all_trials(plan):
    assert [spec.kind for spec in plan.shared] == ["tokenizer", "pretrain", "tokenizer", "pretrain"]
    assert shared_jobs(plan) == {"shared-narrow": NARROW, "shared-wide": WIDE}
    assert all(map(is_shared, shared_jobs(plan))) and not any(map(is_shared, plan.phases))
    alone = plan_sweep(dataclasses.replace(SWEEP, vary={}), None)
    assert shared_jobs(alone) == {"shared": NARROW}


def test_one_tokenizer_for_two_encoders_is_trained_once():
    seeds = tuple(dataclasses.replace(NARROW, seed=seed, name=f"seed{seed}") for seed in (0, 1))
    plan = plan_sweep(dataclasses.replace(SWEEP, vary={"encoder": seeds}), None)
    assert [spec.kind for spec in plan.shared] == ["tokenizer", "pretrain", "pretrain"]


def test_a_job_reads_what_its_encoder_reads_and_starts_from_it(plan, tmp_path):
    storage = Storage(tmp_path)
    for number, (encoder, specs) in enumerate(plan.specs_by_encoder().items(), start=1):
        folders = {data: tmp_path / f"data/{number}" for spec in specs.values() for data in data_of(spec)}
        prepared = Prepared(100 * number, number, folders, tmp_path / f"encoders/{number}")
        trial = next(t for t in plan.trials if t.config.encoder == encoder)
        job = make_job(trial.trial_id, plan.phases[trial.trial_id], plan, Store(storage), prepared)
        write_job(tmp_path / "job.json", job)
        found = read_job(tmp_path / "job.json")
        assert (found.vocab_size, found.mask_id) == (100 * number, number)
        assert set(found.folders.values()) == {str(tmp_path / f"data/{number}")}
        start = plan.starts[encoder]
        wanted = str(Store(storage).folder(start.shared[-1])) if start.shared else str(tmp_path / f"encoders/{number}")
        assert found.parents[start.parent] == wanted
        assert read_json(tmp_path / "job.json")["parents"].keys() <= specs.keys() | {start.parent}


def test_each_phase_costs_what_its_encoder_costs_and_memory_is_of_the_largest(plan, tmp_path):
    found, document = forecast(plan, Store(Storage(tmp_path)), Terms()), summary(plan, Store(Storage(tmp_path)))
    sizes = {encoder: ModelShape(plan.starts[encoder].architecture) for encoder in ENCODERS}
    for encoder, specs in plan.specs_by_encoder().items():
        assert all(found.costs[key] == phase_cost(spec, sizes[encoder]) for key, spec in specs.items())
    assert document["encoders"] == dict(zip(NAMES, (sizes[e].num_parameters for e in ENCODERS), strict=True))
    largest = max(ENCODERS, key=lambda encoder: sizes[encoder].num_parameters)
    assert plan.widest == largest == mini.PRETRAINED and document["memory_encoder"] == "embedded-mini"
    row = document["memory"][0]
    execution = dataclasses.replace(SWEEP.execution, zero_stage=0, offload=False, activation_checkpointing=False)
    assert row["device_bytes"] == predict(sizes[largest], "fp32", execution, 1_024).device
    assert document["axes"][0] == {"fields": ["encoder"], "values": [[name] for name in NAMES]}
    lines = tables.plan_lines(document)
    assert f"axis    encoder: {'; '.join(NAMES)}" in lines
    assert any("narrow 0.0, embedded-mini 0.4, wide 0.1 M parameters" in line for line in lines)
    assert "embedded-mini, the largest encoder," in str(
        tables.memory_table(document["memory"], 1, "embedded-mini").title
    )


def test_a_sweep_of_one_encoder_says_nothing_of_several(tmp_path):
    document = summary(plan_sweep(dataclasses.replace(SWEEP, vary={}), None), Store(Storage(tmp_path)))
    assert not {"encoders", "memory_encoder"} & document.keys()


def test_what_was_measured_of_another_encoder_is_no_memory_of_the_largest(plan, tmp_path):
    store = Store(Storage(tmp_path))
    peaks = {NARROW: 5, mini.PRETRAINED: 7, WIDE: 9}
    ran = {"num_workers": 1, "gpus_per_worker": 0, "zero_stage": 0, "offload": False, "activation_checkpointing": False}
    for encoder, peak in peaks.items():
        spec = next(s for s in plan.specs_by_encoder()[encoder].values() if s.kind == "trunk")
        with store.staging(spec) as staged:
            store.commit(spec, staged, {"peak_memory_bytes": peak, "micro_batch_tokens": 1_024, "execution": ran})
    assert {row["measured_bytes"] for row in summary(plan, store)["memory"]} == {None, 7}


def test_the_real_encoders_plan_with_assumed_sizes(tmp_path):
    sweep = dataclasses.replace(SWEEP, encoder=XLM_R_BASE, vary={"encoder": (XLM_R_BASE, XLM_R_LARGE)})
    plan = plan_sweep(sweep, None, assume_sizes=True)
    assert {e: s.architecture for e, s in plan.starts.items()} == {
        e: KNOWN_ARCHITECTURES[e.path] for e in (XLM_R_BASE, XLM_R_LARGE)
    }
    hours = {}
    for encoder in plan.starts:
        alone = plan_sweep(dataclasses.replace(sweep, encoder=encoder, vary={}), None, assume_sizes=True)
        hours[encoder] = summary(alone, Store(Storage(tmp_path)))["device_hours_at_most"]
    both = summary(plan, Store(Storage(tmp_path)))
    assert both["device_hours_at_most"] == pytest.approx(sum(hours.values()))
    assert hours[XLM_R_LARGE] > 2 * hours[XLM_R_BASE] and both["memory_encoder"] == "xlm-roberta-large"


@pytest.mark.parametrize(
    ("encoders", "changes", "message"),
    [
        ((NARROW, Encoder("no-such/folder/here")), {}, "vary: encoder=here: encoder 'no-such/folder/here' must be a folder or"),
        ((NARROW, Encoder("some/hub-id")), {}, "vary: encoder=hub-id: encoder 'some/hub-id': a Hub id must be given with a pinned"),
        (
            (WIDE, NARROW),
            {"targets": (Target("mini_tatoeba", max_length=64, stride=32, retrieval_layer=2),)},
            "vary: encoder=narrow: target 'mini_tatoeba': `retrieval_layer <= 1 (the encoder's layers)` must hold",
        ),
        (
            (NARROW, dataclasses.replace(NARROW, architecture=Architecture(32, 1, 2, 64, 400, 40), name="short")),
            {},
            "vary: encoder=short: intermediate: `max_length <= 38 (the encoder's positions)` must hold",
        ),
        ((NARROW, dataclasses.replace(NARROW, tasks=("mini_topic_en",), name="odd")), {}, "pre-training reads text of kind 'mlm'"),
    ],
)  # fmt: skip
def test_what_one_of_the_encoders_lacks_is_refused_and_names_it(encoders, changes, message):
    with pytest.raises(InputError) as caught:
        plan_sweep(dataclasses.replace(SWEEP, vary={"encoder": encoders}, **changes), None)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_layer_that_only_one_encoder_has_varies_together_with_it():
    layer = "targets.mini_tatoeba.retrieval_layer"
    vary = {("encoder", layer): ((NARROW, 1), (WIDE, 2))}
    plan = plan_sweep(dataclasses.replace(SWEEP, vary=vary), None)
    layers = {
        (trial.config.encoder, spec.layer)
        for trial in plan.trials
        for spec in plan.phases[trial.trial_id]
        if spec.kind == "retrieval"
    }
    assert layers == {(NARROW, 1), (WIDE, 2)}


def test_the_same_files_under_two_names_are_refused(tmp_path):
    folders = [Encoder(str(shutil.copytree(EMBEDDED[mini.PRETRAINED.path], tmp_path / name))) for name in ("a", "b")]
    with pytest.raises(
        InputError, match="vary: encoder must change what is computed, but the cells '0 encoder=a' and '0 en"
    ):
        plan_sweep(dataclasses.replace(SWEEP, vary={"encoder": tuple(folders)}), None)


def test_tokenizers_have_a_phase_for_pretraining_alone(plan):
    kinds = {
        encoder: [isinstance(spec, TokenizerSpec) for spec in start.shared] for encoder, start in plan.starts.items()
    }
    assert kinds == {NARROW: [True, False], mini.PRETRAINED: [], WIDE: [True, False]}
    assert plan.starts[mini.PRETRAINED].root is not None and plan.starts[NARROW].root is None
