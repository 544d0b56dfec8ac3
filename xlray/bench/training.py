"""xlray's own step and evaluation beside `transformers.Trainer`: model, examples, optimizer and threads the same."""

from __future__ import annotations

import tempfile
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from xlray.bench.turns import Turn, document, ratios, summarize, take_turns, take_turns_in_pairs
from xlray.bench.workload import (
    LARGE,
    LENGTHS,
    NUM_CLASSES,
    SMALL,
    Clock,
    Setting,
    alone,
    make_examples,
    make_model,
    matrix_rate,
)
from xlray.config.execution import Execution
from xlray.data.examples import Examples
from xlray.errors import InputError, require
from xlray.phases.spec import DataSpec
from xlray.training import batches, engine, evaluate
from xlray.training.batches import Layout
from xlray.training.prefetch import made_ahead, pack_step, pinned

PACKAGES = ("xlray", "torch", "transformers", "accelerate", "deepspeed")


# Dropout inside attention: "" as xlray, which has none; "default" as XLM-R's published configuration and so its users.
TRAINERS = {"": 0.0, "_default": 0.1}
STRATEGIES = {"": ("random", "group_by_length", "batch_rebalance"), "_default": ("random", "group_by_length")}


def bench_training(
    on_gpu: bool = False, num_examples: int = 4_096, stride: int = 9, repetitions: int = 5, num_threads: int = 2
) -> dict[str, Any]:
    """Useful tokens per second of a training step, beside `Trainer` with each of its sampling strategies.

    `trainer_<strategy>` drops as xlray does; `trainer_default_<strategy>` also drops attention weights, as XLM-R's
    published configuration says, so that users have it unless they change it.

    Raises:
        InputError: numbers that leave nothing to measure, no CUDA device, or a package that `Trainer` needs is missing.
    """
    from xlray.bench import trainer

    setting = make_setting(on_gpu, num_examples, stride, repetitions, num_threads)
    law = f"examples >= {setting.batch_size} x stride"
    require(num_examples // setting.batch_size >= stride, law, num_examples, "bench train")
    sides = {
        f"trainer{kind}_{name}": partial(trainer.train, name, dropout)
        for kind, dropout in TRAINERS.items()
        for name in STRATEGIES[kind]
    }
    together = take_turns_in_pairs if on_gpu else take_turns
    return _document("train", setting, together({"xlray": train, **sides}, setting, repetitions), 3)


def bench_evaluation(
    on_gpu: bool = False, num_examples: int = 1_024, repetitions: int = 5, num_threads: int = 2
) -> dict[str, Any]:
    """Useful tokens per second of predicting a split, beside `Trainer.predict` in the order given and grouped by length.

    Raises:
        InputError: as `bench_training`.
    """
    from xlray.bench import trainer

    setting = make_setting(on_gpu, num_examples, 1, repetitions, num_threads)
    sides = {
        "trainer_predict": partial(trainer.predict, "random"),
        "trainer_predict_group_by_length": partial(trainer.predict, "group_by_length"),
    }
    return _document("eval", setting, take_turns({"xlray": predict, **sides}, setting, repetitions), 1)


def make_setting(on_gpu: bool, num_examples: int, stride: int, repetitions: int, num_threads: int) -> Setting:
    """The setting of a bench on this machine, after its checks."""
    for name in ("accelerate", "deepspeed"):
        if find_spec(name) is None:
            raise InputError(f"bench: the package {name} must be installed beside transformers, but it is not.")
    numbers = {"examples": num_examples, "stride": stride, "repetitions": repetitions, "threads": num_threads}
    for name, value in numbers.items():
        require(value > 0, f"{name} > 0", value, "bench")
    if on_gpu and not torch.cuda.is_available():
        raise InputError("bench: `--gpu` needs a CUDA device, but torch finds none.")
    kind = (LARGE, "cuda", "bf16") if on_gpu else (SMALL, "cpu", "fp32")
    # With 32 examples the optimizer's pass over XLM-R Large would take a GPU as long as their arithmetic.
    return Setting(*kind, num_threads, num_examples, stride, repetitions + 1, batch_size=128 if on_gpu else 32)


def _document(bench: str, setting: Setting, turns: dict[str, list[Turn]], passes: int) -> dict[str, Any]:
    """The document; `passes` is 1 for a forward pass and 3 with a backward pass, which costs twice as much."""
    ceiling = max(turn.ceiling_flops for turn in turns["xlray"])
    rows = [
        summarize(name, done, lambda turn: passes * forward_flops(setting, turn), ceiling)
        for name, done in turns.items()
    ]
    architecture = vars(setting.architecture)
    about = {key: value for key, value in vars(setting).items() if key not in ("architecture", "turns")}
    return document(
        bench,
        PACKAGES,
        rows,
        ratios(rows),
        ceiling_flops=ceiling,
        setting={**about, **architecture},
    )


def forward_flops(setting: Setting, turn: Turn) -> float:
    """Floating-point operations of one forward pass over the examples: layers and attention, no embedding, no padding."""
    sizes = setting.architecture
    per_layer = 4 * sizes.hidden_size**2 + 2 * sizes.hidden_size * sizes.intermediate_size
    attention = 4 * sizes.num_layers * sizes.hidden_size * turn.num_squares
    return 2.0 * sizes.num_layers * per_layer * turn.num_tokens + attention


def train(setting: Setting, link: Connection) -> None:
    """xlray's side of `bench_training`: packing, `engine.train_step`, DeepSpeed."""
    with tempfile.TemporaryDirectory() as folder:
        device = alone(setting, folder)
        examples = make_examples(setting)
        model, plan = make_model(setting, examples)
        stage = 1 if setting.precision == "bf16" else 0  # one process has nothing to partition
        execution = Execution(zero_stage=stage, micro_batch_tokens=setting.micro_batch_tokens)
        running = engine.start_engine(model, execution, engine.Optimization(0.0, 1.0, setting.precision), device)
        running.train()
        order = np.random.default_rng(1).permutation(setting.num_examples)
        link.send("ready")
        for numbers in setting.steps():
            link.recv()
            ceiling = matrix_rate(setting)
            clock = Clock(setting)
            rows = [order[n * setting.batch_size : (n + 1) * setting.batch_size] for n in numbers]
            steps = (_pack(setting, examples, plan, n, chosen) for n, chosen in zip(numbers, rows, strict=True))
            num_slots = 0
            for step in made_ahead(map(pinned, steps)) if device.type == "cuda" else steps:
                engine.train_step(running, step.micro_batches, setting.learning_rate)
                num_slots += step.num_slots
            link.send(clock.turn(len(numbers), examples.row_tokens[np.concatenate(rows)], num_slots, ceiling))
        dist.destroy_process_group()


def _pack(setting: Setting, examples: Examples, plan: Layout, number: int, chosen: np.ndarray[Any, Any]) -> Any:
    tasks, first = np.zeros(len(chosen), dtype=np.int64), number * setting.batch_size
    rows = batches.step_rows([examples], tasks, chosen, first, 0, plan)
    return pack_step(number, [examples], rows, plan, setting.micro_batch_tokens, 0, 1)


def predict(setting: Setting, link: Connection) -> None:
    """xlray's side of `bench_evaluation`: `evaluate.predict` of the whole split."""
    with tempfile.TemporaryDirectory() as folder:
        device = alone(setting, folder)
        examples = make_examples(setting)
        model, plan = make_model(setting, examples)
        model = model.to(device, torch.bfloat16 if setting.precision == "bf16" else torch.float32)
        evaluator = evaluate.Evaluator(model, device, plan, setting.micro_batch_tokens)
        labels = tuple(str(i) for i in range(NUM_CLASSES))
        spec = DataSpec("bench", "classification", "dev/en", "", len(examples), max(LENGTHS), labels=labels)
        link.send("ready")
        for _ in range(setting.turns):
            link.recv()
            ceiling = matrix_rate(setting)
            clock = Clock(setting)
            found = evaluate.predict(evaluator, examples, spec)
            assert found is not None and len(found) == len(examples)
            link.send(clock.turn(1, examples.row_tokens, int(examples.row_tokens.sum()), ceiling))
        dist.destroy_process_group()
