"""`transformers.Trainer` at its best, as the other side of `bench_training`.

Fused AdamW, dynamic padding, nothing logged, evaluated or saved, SDPA; on a GPU bf16 through its own DeepSpeed integration,
padding to multiples of 8 and loader processes. Model, weights and loss are xlray's.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments, XLMRobertaModel

from xlray.bench.workload import Clock, Setting, alone, make_examples, make_model
from xlray.data.examples import Examples
from xlray.training import engine
from xlray.training.framework_internals import evaluation_order, set_attention, training_order

PAD = 1
# `batch_rebalance` divides the examples of a step into micro-batches of like length and cost; it needs several of them.
ACCUMULATION = {"random": 1, "group_by_length": 1, "batch_rebalance": 4}


class PaddedClassifier(nn.Module):
    """transformers' XLM-R with its own attention over padded batches, and one linear head on the first token."""

    def __init__(self, setting: Setting, examples: Examples, attention_dropout: float) -> None:
        super().__init__()
        model, _ = make_model(setting, examples)
        config = type(model.encoder.config).from_dict(model.encoder.config.to_dict())
        set_attention(config, "sdpa")
        config.hidden_dropout_prob = setting.dropout
        config.attention_probs_dropout_prob = attention_dropout
        self.encoder = XLMRobertaModel(config, add_pooling_layer=False)
        self.encoder.load_state_dict(model.encoder.state_dict())
        self.dropout = nn.Dropout(setting.dropout)
        assert model.heads is not None
        self.heads = model.heads

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        logits = self.heads(self.dropout(states)).float()
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class _GivenBatches(Trainer):  # type: ignore[misc]
    """A Trainer that walks through the batches it is given instead of a whole epoch."""

    batches: Sequence[list[int]]

    def get_train_dataloader(self) -> DataLoader[Any]:
        workers, pin = self.args.dataloader_num_workers, self.args.dataloader_pin_memory
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=workers,
            pin_memory=pin,
        )


class _Turns(TrainerCallback):  # type: ignore[misc]
    """Waits before the first step of a turn and sends what was done after its last."""

    def __init__(
        self, setting: Setting, link: Connection, steps: Sequence[tuple[int, np.ndarray[Any, Any], int]]
    ) -> None:
        self.setting, self.link = setting, link
        self.ends = list(itertools.accumulate(num for num, _, _ in steps))
        self.steps = list(steps)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in (0, *self.ends):
            if state.global_step == 0:
                self.link.send("ready")
            self.link.recv()
            self.clock = Clock(self.setting)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in self.ends:
            self.link.send(self.clock.turn(*self.steps[self.ends.index(state.global_step)]))


def train(strategy: str, attention_dropout: float, setting: Setting, link: Connection) -> None:
    """Trainer's side of `bench_training` with one sampling strategy.

    One call of `train` does all turns: every turn has every `stride`-th step of an epoch that the strategy's own sampler
    laid out, so that a sample of steps stands for the epoch.
    """
    examples = make_examples(setting)
    dataset = _dataset(examples)
    lengths = examples.row_tokens
    with tempfile.TemporaryDirectory() as folder:
        if setting.precision == "bf16":
            engine.import_deepspeed(alone(setting, folder))  # which otherwise asks MPI who takes part
        steps = _steps_of_epoch(strategy, setting, folder, dataset)
        turns = [[steps[n] for n in numbers] for numbers in setting.steps()]
        flat = [micro for turn in turns for step in turn for micro in step]
        model = PaddedClassifier(setting, examples, attention_dropout)
        trainer = _trainer(_GivenBatches, model, strategy, setting, folder, dataset, sum(len(turn) for turn in turns))
        trainer.batches = flat
        done = []
        for turn in turns:
            rows = np.concatenate([np.array(micro) for step in turn for micro in step])
            slots = sum(_padded(setting, int(lengths[micro].max())) * len(micro) for step in turn for micro in step)
            done.append((len(turn), lengths[rows], slots))
        trainer.add_callback(_Turns(setting, link, done))
        trainer.train()


def predict(strategy: str, setting: Setting, link: Connection) -> None:
    """Trainer's side of `bench_evaluation`; "random" gives the examples in their own, random order."""
    examples = make_examples(setting)
    dataset = _dataset(examples)
    lengths = examples.row_tokens
    with tempfile.TemporaryDirectory() as folder:
        model = PaddedClassifier(setting, examples, 0.0)
        trainer = _trainer(Trainer, model, strategy, setting, folder, dataset, 0)
        order = evaluation_order(trainer, dataset)
        chunks = [order[i : i + setting.batch_size] for i in range(0, len(order), setting.batch_size)]
        slots = sum(_padded(setting, int(lengths[chunk].max())) * len(chunk) for chunk in chunks)
        link.send("ready")
        for _ in range(setting.turns):
            link.recv()
            clock = Clock(setting)
            found = trainer.predict(dataset)
            assert len(found.predictions) == len(examples)
            link.send(clock.turn(1, lengths, slots))


def _dataset(examples: Examples) -> list[dict[str, Any]]:
    return [
        {"input_ids": examples.tokens_of(row).tolist(), "labels": int(examples.labels_of(row)[0])}
        for row in range(len(examples))
    ]


def _steps_of_epoch(
    strategy: str, setting: Setting, folder: str, dataset: list[dict[str, Any]]
) -> list[list[list[int]]]:
    """Steps of an epoch as micro-batches of rows, laid out by Trainer's sampler for the strategy."""
    trainer = Trainer(nn.Linear(1, 1), _arguments(strategy, setting, folder, 1), train_dataset=dataset)
    given = training_order(trainer, dataset)
    if strategy == "batch_rebalance":
        num = ACCUMULATION[strategy]
        return [given[i : i + num] for i in range(0, len(given) - num + 1, num)]
    size = setting.batch_size
    return [[given[i : i + size]] for i in range(0, len(given) - size + 1, size)]


def _trainer(
    kind: type[Any], model: nn.Module, strategy: str, setting: Setting, folder: str, dataset: Any, num_steps: int
) -> Any:
    torch.set_num_threads(setting.num_threads)
    torch.manual_seed(0)
    arguments = _arguments(strategy, setting, folder, num_steps)
    return kind(model, arguments, data_collator=_Collator(setting), train_dataset=dataset)


def _arguments(strategy: str, setting: Setting, folder: str, num_steps: int) -> TrainingArguments:
    """Arguments for so many steps; without any, for predicting alone, which DeepSpeed does under ZeRO 3 only."""
    on_gpu, accumulation = setting.device == "cuda", ACCUMULATION[strategy]
    return TrainingArguments(
        folder,
        max_steps=num_steps,
        train_sampling_strategy=strategy,
        per_device_train_batch_size=setting.batch_size // accumulation,
        per_device_eval_batch_size=setting.batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=setting.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        use_cpu=not on_gpu,
        bf16=setting.precision == "bf16",
        bf16_full_eval=setting.precision == "bf16",
        deepspeed=_deepspeed() if num_steps and setting.precision == "bf16" else None,
        dataloader_num_workers=2 if on_gpu else 0,  # on CPU they would take cores from the computation
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
    )


def _deepspeed() -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_optimization": {"stage": 1},
        "zero_allow_untested_optimizer": True,
    }


def _padded(setting: Setting, longest: int) -> int:
    return -(-longest // 8) * 8 if setting.device == "cuda" else longest


class _Collator:
    """Pads a batch to its longest example; of a class, so that loader processes can take it along."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        longest = _padded(self.setting, max(len(row["input_ids"]) for row in rows))
        ids = torch.full((len(rows), longest), PAD)
        for i, row in enumerate(rows):
            ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": labels}
