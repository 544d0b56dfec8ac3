"""`xlray bench train` and `eval`: the sides do the same work, and neither needs Ray, datasets or pyarrow."""

import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import torch
from torch import nn

from xlray.bench import training, turns
from xlray.bench.trainer import PaddedClassifier, _Collator, _dataset, _steps_of_epoch
from xlray.bench.training import forward_flops, make_setting
from xlray.bench.turns import Turn, summarize
from xlray.bench.workload import LENGTHS, SMALL, Clock, make_examples, make_model
from xlray.cli import main
from xlray.errors import InputError

ABSENT = {"ray", "datasets", "pyarrow"}
HIDE = f"""
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
hidden = staticmethod(lambda name, *more: None if name.split(".")[0] in {ABSENT} else find_spec(name, *more))
PathFinder.find_spec = hidden
"""
SIDES = [
    "trainer_random",
    "trainer_group_by_length",
    "trainer_batch_rebalance",
    "trainer_default_random",
    "trainer_default_group_by_length",
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Run Python in an environment in which the packages that a GPU machine may lack are not found."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDE)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(root)])}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def trained(bare):
    sizes = ("--examples", "64", "--stride", "2", "--repetitions", "1", "--threads", "1")
    return json.loads(bare("-m", "xlray", "bench", "train", "--json", *sizes))


@pytest.fixture(scope="module")
def setting():
    return make_setting(False, 256, 2, 1, 1)


def test_the_environment_of_these_tests_hides_the_packages(bare):
    names = "import importlib.util as u; print([n for n in %r if u.find_spec(n)])"
    assert bare("-c", names % sorted(ABSENT)) == "[]\n"
    assert bare("-c", names % ["torch", "deepspeed"]) == "['torch', 'deepspeed']\n"


@pytest.mark.slow
def test_training_is_measured_without_ray_datasets_and_pyarrow(trained):
    assert [row["name"] for row in trained["rows"]] == ["xlray", *SIDES]
    assert trained["ratios"].keys() == {f"xlray/{side}" for side in SIDES}
    assert trained.keys() >= {"bench", "machine", "versions", "rows", "ratios", "setting"}
    for row in trained["rows"]:
        assert row["tokens_per_second"] == pytest.approx(row["tokens"][0] / row["times"][0])
        assert row["step_seconds"] > 0 and row["peak_memory_bytes"] > 50e6 and row["ceiling_ratio"] > 0


@pytest.mark.slow
def test_only_padded_sides_pad(trained):
    padding = {row["name"]: row["padding_ratio"] for row in trained["rows"]}
    assert padding.pop("xlray") == 0
    assert all(0 < share < 1 for share in padding.values())


def test_evaluation_is_measured(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):  # of the process group of tests that ran before
        monkeypatch.delenv(name, raising=False)
    small = replace(SMALL, num_layers=1, hidden_size=32, intermediate_size=64)
    monkeypatch.setattr(training, "SMALL", small)
    get_context = multiprocessing.get_context  # what is spawned would import torch, each side by itself
    monkeypatch.setattr(
        multiprocessing, "get_context", lambda how: ranks.context() if how == "spawn" else get_context(how)
    )
    document = training.bench_evaluation(False, 40, 2, 1)
    assert document["bench"] == "eval" and document["setting"]["num_layers"] == 1
    assert document["ratios"].keys() == {"xlray/trainer_predict", "xlray/trainer_predict_group_by_length"}
    tokens = int(make_examples(make_setting(False, 40, 1, 2, 1)).row_tokens.sum())
    assert [row["tokens"] for row in document["rows"]] == [[tokens] * 2] * 3


def test_both_sides_have_the_same_logits(setting):
    """The padded model of Trainer's side and xlray's packed one, on the same examples with the same weights."""
    examples = make_examples(setting)
    model, plan = make_model(setting, examples)
    batch = training._pack(setting, examples, plan, 0, np.array([3, 50, 7, 120])).micro_batches[0]
    padded = _Collator(setting)([_dataset(examples)[row] for row in batch.groups[0].rows])
    with torch.no_grad():
        wanted = PaddedClassifier(setting, examples, 0.1).eval()(**padded)
        output = model.eval()(batch)
    torch.testing.assert_close(output.logits[0], wanted["logits"], rtol=1e-4, atol=1e-5)
    assert float(output.losses.sum()) == pytest.approx(float(wanted["loss"]), rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_trainer_has_the_dropout_it_is_given(setting, dropout):
    model = PaddedClassifier(setting, make_examples(setting), dropout)
    found = {n.endswith("self.dropout"): m.p for n, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert found == {True: dropout, False: setting.dropout}


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "batch_rebalance"])
def test_an_epoch_of_trainer_has_every_example_once_in_steps_of_the_batch_size(setting, strategy, tmp_path):
    examples = make_examples(setting)
    steps = _steps_of_epoch(strategy, setting, str(tmp_path), _dataset(examples))
    assert [sum(len(micro) for micro in step) for step in steps] == [setting.batch_size] * 8
    assert sorted(row for step in steps for micro in step for row in micro) == list(range(256))


def test_lengths_are_those_of_the_mixture(setting):
    lengths = make_examples(setting).row_tokens
    assert sorted(lengths.tolist()) == sorted(2 * LENGTHS)
    assert 45 < np.mean(LENGTHS) < 52 and max(LENGTHS) == 256 and list(LENGTHS) == sorted(LENGTHS)


def test_operations_are_two_per_weight_and_token_and_those_of_attention(setting):
    examples = make_examples(setting)
    model, _ = make_model(setting, examples)
    weights = sum(m.weight.numel() for m in model.encoder.encoder.modules() if isinstance(m, nn.Linear))
    turn = Turn(1.0, 1, num_tokens=10, num_squares=50, num_slots=10, peak_memory_bytes=0, cpu_seconds=1.0)
    attention = 6 * 2 * 2 * 256 * 50  # layers; scores and sums; a product and an addition; hidden size; pairs of tokens
    assert forward_flops(setting, turn) == 2 * weights * 10 + attention


def test_a_row_has_medians_of_its_turns():
    turns = [
        Turn(seconds, 2, tokens, 0, 2 * tokens, 7, 2 * seconds) for seconds, tokens in ((1.0, 10), (2.0, 10), (4.0, 8))
    ]
    row = summarize("side", turns, lambda turn: 3.0 * turn.num_tokens, 30.0)
    assert (row["tokens_per_second"], row["tokens_per_cpu_second"], row["step_seconds"]) == (5.0, 2.5, 1.0)
    assert (row["padding_ratio"], row["ceiling_ratio"], row["peak_memory_bytes"]) == (0.5, 0.5, 7)


@pytest.mark.parametrize("bench", ["train", "eval"])
@pytest.mark.parametrize("option", ["--examples", "--repetitions", "--threads"])
def test_a_number_that_leaves_nothing_to_measure_is_wrong_use(capfd, bench, option):
    assert main.main(["bench", bench, option, "0"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_fewer_steps_than_the_stride_are_refused():
    with pytest.raises(InputError, match="examples >= 32 x stride"):
        training.bench_training(False, 64, 3, 1, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_where_there_is_none_is_refused(capfd):
    assert main.main(["bench", "train", "--gpu"]) == 2
    assert "CUDA" in capfd.readouterr().err


# The setting of `--gpu` but for the device and the sizes: in bf16, in which Trainer trains through DeepSpeed.
IN_BF16 = """
import os
from dataclasses import replace
from types import SimpleNamespace

from xlray.bench import trainer
from xlray.bench.workload import SMALL, Setting

for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):  # as in a user's shell
    os.environ.pop(name, None)
small = replace(SMALL, num_layers=1, hidden_size=32, intermediate_size=64, vocab_size=100)
setting = Setting(small, "cpu", "bf16", 1, 32, 2, 2, batch_size=16)
sent = []
link = SimpleNamespace(send=sent.append, recv=lambda: None)
trainer.predict("random", setting, link)
trainer.train("random", 0.0, setting, link)
print([found if found == "ready" else found.num_steps for found in sent])
"""


def test_trainer_runs_in_bf16_where_nobody_says_which_rank_it_is(bare):
    assert bare("-W", "ignore", "-c", IN_BF16).splitlines()[-1] == "['ready', 1, 1, 'ready', 1, 1]"


def test_in_pairs_the_first_side_meets_each_of_the_others(monkeypatch):
    def together(sides, setting, repetitions):
        return {name: [f"{name} beside {', '.join(sides)}"] * repetitions for name in sides}

    monkeypatch.setattr(turns, "take_turns", together)
    found: Any = turns.take_turns_in_pairs({"a": print, "b": print, "c": print}, None, 1)
    assert found == {"a": ["a beside a, b", "a beside a, c"], "b": ["b beside a, b"], "c": ["c beside a, c"]}


def test_after_a_turn_on_a_gpu_its_memory_is_left_to_the_other_side(setting, monkeypatch):
    calls = []
    for name in ("empty_cache", "reset_peak_memory_stats", "synchronize", "max_memory_allocated"):

        def noted(name=name):
            calls.append(name)
            return 5

        monkeypatch.setattr(torch.cuda, name, noted)
    turn = Clock(replace(setting, device="cuda")).turn(1, np.array([3]), 3)
    assert turn.peak_memory_bytes == 5 and calls[-2:] == ["max_memory_allocated", "empty_cache"]
