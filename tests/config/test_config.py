import dataclasses

import numpy as np
import pytest

from xlray import subsets
from xlray.canonical import canonical_json, fingerprint, to_plain
from xlray.config.execution import Execution
from xlray.config.overrides import with_fields
from xlray.config.recipes import (
    Architecture,
    Encoder,
    Intermediate,
    Pretraining,
    Subset,
    Target,
    default_retrieval_layer,
)
from xlray.config.search import Search
from xlray.config.sweep import Stopping, Sweep, TrialConfig
from xlray.errors import InputError, nearest, require

ENCODER = Encoder("folder")
SWEEP = Sweep("s", ENCODER, measure=(Subset(("a", "b")),), seeds=(0, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intermediate(rungs=()), "rungs is not empty"),
        (
            lambda: Intermediate(rungs=(4096, 2048)),
            r"0 < rungs\[0\] < rungs\[1\] < \.\.\.` must hold, but got \(4096, 2048\)",
        ),
        (lambda: Intermediate(rungs=(4096, 4096)), r"0 < rungs\[0\]"),
        (lambda: Intermediate(rungs=(4097,)), "rung % batch_size == 0"),
        (lambda: Intermediate(schedule="cosine"), r"schedule in \('constant', 'linear'\)` must hold, but got 'cosine'"),
        (lambda: Intermediate(schedule="linear"), "linear schedule: one rung"),
        (lambda: Intermediate(cooldown_ratio=1.0), "0 < cooldown_ratio < 1"),
        (lambda: Intermediate(cooldown_ratio=0.0), "0 < cooldown_ratio < 1"),
        (lambda: Intermediate(mixing="random"), "mixing in"),
        (lambda: Intermediate(temperature=0.0), "temperature > 0"),
        (lambda: Intermediate(cap=0), "cap > 0"),
        (lambda: Intermediate(warmup_examples=4096), r"0 <= warmup_examples < rungs\[0\]"),
        (lambda: Intermediate(examples_per_task=0), "examples_per_task > 0"),
        (lambda: Intermediate(learning_rate=0.0), "Intermediate: `learning_rate > 0` must hold, but got 0.0"),
        (lambda: Intermediate(stride=256), "0 < stride < max_length"),
        (lambda: Intermediate(weight_decay=-1.0), "weight_decay >= 0"),
        (lambda: Target("t", num_examples=100), r"Target\('t'\): `num_examples is a positive multiple of batch_size`"),
        (lambda: Target("t", probe_examples=0), "probe_examples is a positive multiple"),
        (lambda: Target("t", warmup_ratio=1.5), "`0 <= warmup_ratio < 1` must hold, but got 1.5"),
        (lambda: Target("t", retrieval_layer=-1), "retrieval_layer >= 0` must hold, but got -1"),
        (lambda: Architecture(hidden_size=130), "hidden_size % num_heads == 0"),
        (lambda: Architecture(max_positions=2), "max_positions > 2"),
        (lambda: Pretraining(()), "tasks is not empty"),
        (lambda: Pretraining(("t",), num_examples=100), "num_examples % batch_size == 0"),
        (lambda: Subset(("a", "a")), "tasks are distinct"),
        (lambda: Subset(("a",), examples_per_task=0), "examples_per_task > 0"),
        (lambda: Subset(("a",), caps=(("b", 1),)), "caps are of tasks of the subset"),
        (lambda: Subset(("a",), caps=(("a", 1), ("a", 2))), "caps name a task once"),
        (lambda: Subset(("a",), caps=(("a", 0),)), "caps > 0"),
        (lambda: Execution(num_workers=0), "num_workers >= 1"),
        (lambda: Execution(num_workers=1.0), r"a whole number or \(least, most\)` must hold, but got 1.0"),
        (lambda: Execution(cpus_per_worker=True), "cpus_per_worker >= 1, a whole number` must hold, but got True"),
        *(
            (
                lambda value=value: Execution(gpus_per_worker=value),
                f"gpus_per_worker = 0, 1 or a fraction .*got {value!r}",
            )
            for value in (2, 1.5, -0.5, 1e-5, float("nan"), True, "half")
        ),
        (lambda: Execution(trials_per_gpu=0), 'trials_per_gpu >= 1, a whole number or "auto"` must hold, but got 0'),
        (lambda: Execution(trials_per_gpu=10_001), "trials_per_gpu <= 10,000"),
        (lambda: Execution(gpus_per_worker=0.5, trials_per_gpu=2), "gpus_per_worker = 1, which trials_per_gpu divides"),
        (lambda: Execution(gpus_per_worker=0.5, num_workers=2), "num_workers = 1 where trials share a GPU .*got 2"),
        (
            lambda: Execution(gpus_per_worker=1, trials_per_gpu="auto", num_workers=(1, 2)),
            r"num_workers = 1 .*\(1, 2\)",
        ),
        (lambda: Execution(zero_stage=4), r"zero_stage in \(0, 1, 2, 3, 'auto'\)` must hold, but got 4"),
        (lambda: Execution(zero_stage=True), "zero_stage in .* must hold, but got True"),
        (lambda: Execution(zero_stage=0, offload=True), "offload needs zero_stage >= 1"),
        (lambda: Execution(offload="yes"), r"offload in \(False, True\)"),
        (lambda: Execution(offload="auto"), r"offload in \(False, True\)"),
        (lambda: Execution(activation_checkpointing=1), r"activation_checkpointing in \(False, True, 'auto'\)"),
        (lambda: Execution(micro_batch_tokens=0), "micro_batch_tokens >= 1"),
        (lambda: Execution(micro_batch_tokens="most"), 'micro_batch_tokens >= 1, a whole number or "auto"` must hold'),
        (lambda: Execution(max_failures=-1), "max_failures >= 0, a whole number` must hold, but got -1"),
        (lambda: Execution(max_failures=None), "max_failures >= 0"),
        (lambda: Execution(checkpoint_every_steps=0), "checkpoint_every_steps >= 1, a whole number or None"),
        *(
            (
                lambda value=value: Execution(checkpoint_every_s=value),
                "checkpoint_every_s > 0, a finite number of seconds`",
            )
            for value in (0, -1.0, float("inf"), None, True)
        ),
        (lambda: Execution(max_concurrent_trials=0), "max_concurrent_trials >= 1"),
        (lambda: Execution(num_workers=0), r"num_workers >= 1, a whole number or \(least, most\)"),
        (lambda: Execution(num_workers=(3, 2)), r"num_workers = \(least, most\).*1 <= least <= most.*\(3, 2\)"),
        (lambda: Execution(num_workers=(0, 2)), "1 <= least <= most"),
        (lambda: Execution(num_workers=(1, 2, 3)), "1 <= least <= most"),
        (lambda: Execution(num_workers=(1, True)), "1 <= least <= most"),
        (lambda: Execution(time_budget_s="10m"), "time_budget_s > 0, a finite number of seconds.* but got '10m'"),
        (lambda: Execution(time_budget_s=-1), "time_budget_s > 0, .* but got -1"),
        (lambda: Execution(time_budget_s=True), "time_budget_s > 0, .* but got True"),
        (lambda: Execution(time_budget_s=0), "time_budget_s > 0"),
        (lambda: Execution(time_budget_s=float("inf")), "time_budget_s > 0"),
        (lambda: Execution(time_budget_s=float("nan")), "time_budget_s > 0"),
        (lambda: Execution(micro_batch_tokens=2**63), r"-2\^63 <= micro_batch_tokens < 2\^63"),
        (
            lambda: dataclasses.replace(SWEEP, seeds=(0, 2**63)),
            r"Sweep\('s'\): `-2\^63 <= seeds < 2\^63` must hold, but got 9",
        ),
        (lambda: dataclasses.replace(SWEEP, seeds=(3, -1)), "seed >= 0` must hold, but got -1"),
        (lambda: Pretraining(("t",), seed=-1), "seed >= 0"),
        (lambda: Pretraining(("t",), num_examples=-64), "num_examples >= 0"),
        (lambda: Search(("a",), (1,), 1, seed=-1), "seed >= 0"),
        (lambda: subsets.chains(("a", "b", "c"), (2,), 1, seed=-1), "seed >= 0"),
        (lambda: subsets.random_subsets(("a", "b", "c", "d"), size=2, num=2, seed=1.5), "seed >= 0"),
        (lambda: dataclasses.replace(SWEEP, name="a" * 300), "name has at most 100 bytes` must hold, but got 300"),
        (lambda: dataclasses.replace(SWEEP, name="ä" * 51), "name has at most 100 bytes` must hold, but got 102"),
        (
            lambda: dataclasses.replace(SWEEP, clip_norm=float("inf")),
            "clip_norm is a finite number` must hold, but got inf",
        ),
        (
            lambda: dataclasses.replace(SWEEP, clip_norm=float("nan")),
            "clip_norm is a finite number` must hold, but got nan",
        ),
        (lambda: dataclasses.replace(SWEEP, clip_norm=10**400), r"-2\^63 <= clip_norm < 2\^63"),
        (lambda: Intermediate(temperature=float("inf")), "temperature is a finite number"),
        (lambda: Target("t", weight_decay=float("nan")), r"Target\('t'\): `weight_decay is a finite number"),
        (lambda: Stopping(reduction_factor=float("inf")), "reduction_factor is a finite number"),
        (lambda: Architecture(num_heads=0), "num_heads > 0"),
        (lambda: Architecture(initializer_range=float("nan")), "initializer_range is a finite number"),
        (lambda: Subset(("a",), caps=(("a", 2**64),)), r"-2\^63 <= caps < 2\^63"),
        (lambda: Stopping(reduction_factor=1.0), "reduction_factor > 1"),
        (lambda: Stopping(survival_probability=1.1), "0 <= survival_probability <= 1"),
        (lambda: dataclasses.replace(SWEEP, name="a/b"), "name consists of letters"),
        (lambda: dataclasses.replace(SWEEP, name=""), "name consists of letters"),
        (lambda: dataclasses.replace(SWEEP, name=".hidden"), "name consists of letters"),
        (lambda: dataclasses.replace(SWEEP, measure=()), "measure or explore is not empty"),
        (lambda: dataclasses.replace(SWEEP, seeds=(1, 1)), "seeds are distinct"),
        (lambda: dataclasses.replace(SWEEP, seeds=()), "seeds are distinct"),
        (lambda: dataclasses.replace(SWEEP, targets=()), "targets is not empty"),
        (lambda: dataclasses.replace(SWEEP, targets=(Target("t"), Target("t", 64))), "target tasks are distinct"),
        (lambda: dataclasses.replace(SWEEP, dropout=1.0), "0 <= dropout < 1"),
        (lambda: dataclasses.replace(SWEEP, clip_norm=0.0), "clip_norm > 0"),
        (lambda: dataclasses.replace(SWEEP, precision="fp16"), r"precision in \('fp32', 'bf16'\)"),
        (
            lambda: dataclasses.replace(SWEEP, precision="bf16", execution=Execution(zero_stage=0)),
            "bf16 needs zero_stage >= 1",
        ),
    ],
)
def test_a_value_against_the_law_is_refused_with_the_law(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_retrieval_reads_the_layer_of_xtremes_script():
    hidden_states = range(25)  # as transformers returns them: the embedding, then 24 layers
    assert default_retrieval_layer(24) == hidden_states[-24:][13] == 14
    assert default_retrieval_layer(12) == 7
    assert all(1 <= default_retrieval_layer(depth) <= depth for depth in range(1, 49))


def test_require_states_the_law_then_the_fact():
    require(True, "x > 0", 1, "here")
    with pytest.raises(InputError, match=r"^here: `x > 0` must hold, but got -1\.$"):
        require(False, "x > 0", -1, "here")


def test_the_nearest_name_is_suggested_and_nothing_where_none_is_near():
    assert nearest("udpso", ["udpos", "panx"]) == " Did you mean 'udpos'?"
    assert nearest("zzz", ["udpos", "panx"]) == ""


def test_seeds_are_outermost_so_that_early_trials_cover_all_subsets():
    sweep = dataclasses.replace(SWEEP, measure=(Subset(()), Subset(("a",))), explore=(Subset(("b",)),))
    trials = sweep.trials()
    assert [(t.config.seed, t.config.tasks, t.role) for t in trials] == [
        (seed, tasks, role)
        for seed in (0, 1)
        for tasks, role in (((), "measure"), (("a",), "measure"), (("b",), "explore"))
    ]
    assert len({t.trial_id for t in trials}) == 6


def test_measure_wins_over_explore_and_a_subset_is_run_once():
    sweep = dataclasses.replace(
        SWEEP, measure=(Subset(("b", "a")),), explore=(Subset(("a", "b")), Subset(("c",))), seeds=(0,)
    )
    assert [(t.config.tasks, t.role) for t in sweep.trials()] == [(("a", "b"), "measure"), (("c",), "explore")]


def test_cells_are_the_number_of_tasks_and_the_source():
    sweep = dataclasses.replace(
        SWEEP, measure=(Subset(()), Subset(("a",), "english"), Subset(("b", "c"), "other")), seeds=(0,)
    )
    assert [t.cell for t in sweep.trials()] == ["0", "1-english", "2-other"]


def test_a_size_is_an_axis_of_its_own_and_caps_are_none():
    design = (Subset(("a",), "en", examples_per_task=500), Subset(("a",), "en"), Subset(("a",), "en", caps=(("a", 9),)))
    trials = dataclasses.replace(SWEEP, measure=design, seeds=(0,)).trials()
    assert [t.cell for t in trials] == ["1-en-500", "1-en", "1-en"]
    assert [t.config.intermediate.examples_per_task for t in trials] == [500, None, None]
    assert [t.config.caps for t in trials] == [(), (), (("a", 9),)]
    assert len({t.trial_id for t in trials}) == 3


def test_the_trial_id_depends_on_what_changes_numbers_and_on_nothing_else():
    config = SWEEP.trials()[0].config
    again = dataclasses.replace(SWEEP, execution=Execution(num_workers=4, zero_stage=3), question="?").trials()[0]
    assert again.trial_id == config.trial_id
    changes = {
        "encoder": Encoder("folder", "main"),
        "tasks": ("a",),
        "intermediate": Intermediate(cap=9),
        "seed": 1,
        "dropout": 0.0,
        "clip_norm": 2.0,
        "precision": "bf16",
        "caps": (("a", 5),),
        "varied": (("targets.udpos.learning_rate", 1e-5),),
    }
    assert changes.keys() | {"targets"} == {f.name for f in dataclasses.fields(TrialConfig)}
    ids = {dataclasses.replace(config, **{k: v}).trial_id for k, v in changes.items()}
    assert len(ids | {config.trial_id}) == len(changes) + 1


def test_a_trial_that_is_measured_at_more_rungs_and_targets_is_the_same_trial():
    config = SWEEP.trials()[0].config
    longer = dataclasses.replace(config, intermediate=Intermediate(rungs=(4_096, 8_192)), targets=(Target("t"),))
    assert longer.trial_id == config.trial_id


def test_scores_rank_against_one_another_if_they_are_means_of_the_same():
    sweep = dataclasses.replace(
        SWEEP, targets=(Target("a", 64, 32), Target("b")), intermediate=Intermediate((64, 128), warmup_examples=0)
    )
    alone = dataclasses.replace(sweep, targets=sweep.targets[::-1])
    assert sweep.basis(0) == alone.basis(0) != sweep.basis(1)  # a probe is another measure
    longer = dataclasses.replace(sweep, intermediate=Intermediate((64, 128, 256), warmup_examples=0))
    assert longer.basis(0) == sweep.basis(0) == longer.basis(1) != longer.basis(2) == sweep.basis(1)
    assert dataclasses.replace(sweep, targets=sweep.targets[:1]).basis(0) != sweep.basis(0)
    assert dataclasses.replace(sweep, select_by="english-dev").basis(0) != sweep.basis(0)
    assert dataclasses.replace(sweep, seeds=(5,), execution=Execution(num_workers=2)).basis(0) == sweep.basis(0)


def test_plain_values_name_their_type():
    assert to_plain(Encoder("x")) == {"type": "Encoder", "path": "x", "revision": None}
    assert to_plain({"b": (1, 2.5), "a": None}) == {"a": None, "b": [1, 2.5]}
    assert fingerprint(Encoder("x")) != fingerprint({"path": "x", "revision": None})


# --- --set ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("dropout=0.2", lambda s: s.dropout, 0.2),
        ("clip_norm=2", lambda s: s.clip_norm, 2.0),
        ("intermediate.learning_rate=1e-5", lambda s: s.intermediate.learning_rate, 1e-5),
        ("intermediate.rungs=[2048, 4096]", lambda s: s.intermediate.rungs, (2048, 4096)),
        ("intermediate.warmup_examples=0", lambda s: s.intermediate.warmup_examples, 0),
        ("intermediate.examples_per_task=100", lambda s: s.intermediate.examples_per_task, 100),
        ("intermediate.scaled_losses=false", lambda s: s.intermediate.scaled_losses, False),
        ("execution.zero_stage=3", lambda s: s.execution.zero_stage, 3),
        ("execution.zero_stage=auto", lambda s: s.execution.zero_stage, "auto"),
        ("execution.num_workers=[1,4]", lambda s: s.execution.num_workers, (1, 4)),
        ("execution.micro_batch_tokens=auto", lambda s: s.execution.micro_batch_tokens, "auto"),
        ("execution.activation_checkpointing=auto", lambda s: s.execution.activation_checkpointing, "auto"),
        ("execution.max_concurrent_trials=null", lambda s: s.execution.max_concurrent_trials, None),
        ("execution.max_concurrent_trials=2", lambda s: s.execution.max_concurrent_trials, 2),
        ("tracking=wandb", lambda s: s.tracking, ("wandb",)),
        ("seeds=[3]", lambda s: s.seeds, (3,)),
        ("seeds=3", lambda s: s.seeds, (3,)),
        ("precision=bf16", lambda s: s.precision, "bf16"),
        ("name=another", lambda s: s.name, "another"),
        ("encoder=some/folder", lambda s: s.encoder, Encoder("some/folder")),
        ("encoder=ID/x@abc", lambda s: s.encoder, Encoder("ID/x", "abc")),
    ],
)
def test_set_replaces_one_field(setting, read, value):
    path, _, text = setting.partition("=")
    found = read(with_fields(SWEEP, {path: text}))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("droput", "0.1", "unknown field 'droput' of Sweep. Did you mean 'dropout'?"),
        (
            "intermediate.learning_rat",
            "1",
            "unknown field 'learning_rat' of Intermediate. Did you mean 'learning_rate'?",
        ),
        ("dropout.x", "1", "'dropout' has no fields"),
        ("dropout", "high", "a value of type float must be given, but got 'high'"),
        ("execution.zero_stage", "1.5", "zero_stage in (0, 1, 2, 3, 'auto')` must hold, but got 1.5"),
        ("execution.zero_stage", "true", "zero_stage in (0, 1, 2, 3, 'auto')` must hold, but got True"),
        ("execution.max_concurrent_trials", "many", "max_concurrent_trials >= 1, a whole number"),
        (
            "intermediate.examples_per_task",
            "all",
            "examples_per_task must be a value of type int | None, but got 'all'",
        ),
        ("seeds", "some", "a list of int must be given, but got 'some'"),
        ("execution.num_workers", "auto", "num_workers >= 1, a whole number or (least, most)"),
        ("execution.num_workers", "[2, 1]", "1 <= least <= most"),
        ("dropout", "auto", "a value of type float must be given"),
        ("execution.offload", "auto", "a value of type bool must be given"),
        ("execution.zero_stage", "7", "zero_stage in"),
        ("dropout", "1.5", "0 <= dropout < 1"),
        ("dropout", "NaN", "dropout is a finite number"),
        ("intermediate.rungs", "[]", "rungs is not empty"),
        ("precision", "8", "a value of type str must be given"),
    ],
)
def test_set_refuses_what_does_not_fit(path, text, message):
    with pytest.raises(InputError) as caught:
        with_fields(SWEEP, {path: text})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text"), [("seeds", '["a"]'), ("intermediate.rungs", '["4096"]'), ("seeds", "[1.5]"), ("targets", "[1]")]
)
def test_set_refuses_elements_of_another_type(path, text):
    with pytest.raises(InputError):
        with_fields(SWEEP, {path: text})


def test_settings_are_applied_one_after_the_other():
    found = with_fields(
        SWEEP, {"intermediate.warmup_examples": "0", "intermediate.batch_size": "8", "intermediate.rungs": "[8]"}
    )
    assert (found.intermediate.rungs, found.intermediate.batch_size) == ((8,), 8)
    assert found.measure == SWEEP.measure


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intermediate(batch_size="32"), "Intermediate: batch_size must be a value of type int, but got '32'"),
        (lambda: Intermediate(rungs=4096), r"rungs must be a value of type tuple\[int, ...\], but got 4096"),
        (lambda: Intermediate(rungs=(4096, "8192")), "rungs must be"),
        (lambda: Intermediate(scaled_losses=1), "scaled_losses must be a value of type bool"),
        (lambda: Target("udpos", num_examples=True), "num_examples must be a value of type int"),
        (lambda: Target("udpos", learning_rate="1e-5"), "learning_rate must be a value of type float"),
        (lambda: Sweep("s", "xlm-roberta-base", measure=subsets.empty()), "encoder must be"),
        (lambda: Sweep("s", Encoder("e"), measure=subsets.empty()[0]), "measure must be"),
        (lambda: Sweep("s", Encoder("e"), measure=subsets.empty(), seeds=(0.5,)), "seeds must be"),
    ],
)
def test_a_field_of_another_type_is_named_with_what_was_found(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_whole_numbers_are_numbers():
    assert Target("udpos", learning_rate=1).learning_rate == 1


FLOATS = [
    (kind, field.name)
    for kind in (Architecture, Pretraining, Intermediate, Target, Stopping, Sweep)
    for field in dataclasses.fields(kind)
    if field.type in ("float", "float | None")
]


@pytest.mark.parametrize(("kind", "name"), FLOATS)
def test_a_whole_number_in_a_real_field_is_the_same_identity(kind, name):
    required = {Pretraining: {"tasks": ("x",)}, Target: {"task": "x"}}
    required[Sweep] = {"name": "s", "encoder": Encoder("e", "0"), "measure": (Subset(()),)}
    made = kind(**required.get(kind, {}))
    for whole in (0, 1, 2):
        try:
            same = dataclasses.replace(made, **{name: float(whole)})
        except InputError:  # against a law of its own
            continue
        for number in (whole, np.int64(whole), np.float32(whole), np.float64(whole)):
            found = dataclasses.replace(made, **{name: number})
            assert type(getattr(found, name)) is float
            assert canonical_json(found) == canonical_json(same)
    for wrong in (True, np.True_, "1", None):
        with pytest.raises(InputError, match=f"{name} must be a value of type float"):
            dataclasses.replace(made, **{name: wrong})


def test_numbers_of_numpy_are_pythons_in_tuples_too():
    sweep = Sweep(
        "s", Encoder("e", "0"), measure=(Subset(("a",), caps=(("a", np.int64(5)),)),), seeds=tuple(np.arange(2))
    )
    assert [type(seed) for seed in sweep.seeds] == [int, int] and type(sweep.measure[0].caps[0][1]) is int
    plain = Sweep("s", Encoder("e", "0"), measure=(Subset(("a",), caps=(("a", 5),)),), seeds=(0, 1), clip_norm=1)
    assert [t.trial_id for t in sweep.trials()] == [t.trial_id for t in plain.trials()]
    for seeds in ((True,), (1.0,), (np.float64(1.0),)):
        with pytest.raises(InputError, match="seeds must be"):
            dataclasses.replace(sweep, seeds=seeds)
