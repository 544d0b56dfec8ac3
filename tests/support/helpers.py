"""Small builders for the tests: examples of every kind, tiny encoders and tokenizers, jobs that need no sweep."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from xlray.canonical import fingerprint
from xlray.config.execution import Execution
from xlray.config.recipes import Architecture
from xlray.data.examples import Examples
from xlray.data.tokenization import load_vocabulary, prepare
from xlray.data.tokenizer import SPECIAL
from xlray.phases.spec import DataSpec, EncoderSpec, Phases, TrainSpec, data_key, data_of, phase_hash
from xlray.plan.jobs import Job
from xlray.training.model import Model, random_encoder
from xlray.training.weights import save_weights

torch.set_num_threads(1)  # the machine is shared, and the models are tiny

TINY = Architecture(hidden_size=64, num_layers=2, num_heads=4, intermediate_size=128, vocab_size=200, max_positions=66)
MASK_ID = 4


def parameters(model):
    """fp32 copies of a model's parameters by name."""
    return {name: value.detach().float().clone() for name, value in model.named_parameters()}


def make_examples(name, kind, num_outputs, rows):
    """Examples from rows (tokens, sequence lengths, reads, labels, units), without a file."""

    def flat(column, dtype) -> tuple[np.ndarray, np.ndarray]:
        values = [np.asarray(row[column], dtype=dtype) for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])]).astype(np.int32)
        return np.concatenate([*values, np.zeros(0, dtype=dtype)]), offsets

    tokens, lengths, reads = (flat(column, np.int32) for column in range(3))
    labels = flat(3, np.float32 if kind == "regression" else np.int32)
    spans = (np.zeros(0, dtype=np.int32), np.zeros(len(rows) + 1, dtype=np.int32))
    units = np.array([row[4] for row in rows], dtype=np.int32)
    return Examples(
        name, kind, num_outputs, np.arange(len(rows)), *tokens, *lengths, *reads, *labels, *spans, units, Path()
    )


KINDS = {"classification": 3, "tagging": 5, "multiple_choice": 1, "span_qa": 2, "regression": 1, "mlm": 0}


def random_examples(kind, seed, num_rows=64, vocab_size=200, longest=30):
    """Random rows of one kind, of 4 to `longest` tokens per sequence."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        lengths = random.integers(4, longest, size=int(random.integers(2, 4)) if kind == "multiple_choice" else 1)
        tokens = random.integers(5, vocab_size, size=lengths.sum())
        inside = range(1, int(lengths[0]) - 1)
        units = 1
        reads: Any
        labels: Any
        if kind == "tagging":
            reads = list(inside)[::2]
            labels = random.integers(0, KINDS[kind], len(reads))
            units = len(reads)
        elif kind == "multiple_choice":
            reads = np.concatenate([[0], np.cumsum(lengths)[:-1]])
            labels = [random.integers(len(lengths))]
        elif kind == "span_qa":
            reads = [0, *list(inside)[1:]]
            labels = np.sort(random.integers(0, len(reads), 2))
        elif kind == "mlm":
            reads, labels, units = list(inside), [], max(1, round(0.15 * len(inside)))
        else:
            reads = [0]
            labels = [random.random() if kind == "regression" else random.integers(KINDS[kind])]
        rows.append((tokens, lengths, reads, labels, units))
    return make_examples(kind, kind, KINDS[kind], rows)


def all_kinds():
    """One set of random examples per kind that is trained: a mixture of everything."""
    return [random_examples(kind, seed) for seed, kind in enumerate(KINDS)]


def word_tokenizer(path, words, vocab_size=200):
    """Write a tokenizer.json that knows whole words; `vocab_size` is only checked. Returns the vocabulary."""
    known = {token: i for i, token in enumerate([*SPECIAL, *dict.fromkeys(words)])}
    assert len(known) <= vocab_size
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))
    return load_vocabulary(path, vocab_size)


def encoder_folder(folder, words, architecture=TINY, seed=0):
    """A random encoder in XLM-R's layout with a tokenizer of whole words. Returns (folder, its spec, vocabulary)."""
    model = Model(random_encoder(architecture, seed), no_heads(architecture), 0.0)
    save_weights(folder, parameters(model), model.encoder.config, None)
    vocabulary = word_tokenizer(folder / "tokenizer.json", words, architecture.vocab_size)
    return folder, EncoderSpec(f"test-encoder-{seed}-{json.dumps(vars(architecture))}"), vocabulary


def no_heads(architecture=TINY):
    from xlray.training.batches import Layout

    return Layout((0,), (0,), ("retrieval",), architecture.vocab_size, MASK_ID, False)


def data_spec(task, kind, split, records, max_length=32, stride=0, labels=(), scale=(0.0, 1.0)):
    return DataSpec(task, kind, split, fingerprint(records), len(records), max_length, stride, tuple(labels), scale)


def train_spec(kind, parent, data, **changes):
    """A training phase with plain settings; `parent` is a hash or a spec."""
    start = parent if isinstance(parent, str) else phase_hash(parent)
    values = {
        "num_examples": 64,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "schedule": "warmup_linear",
        "seed": 0,
        "dropout": 0.1,
        "clip_norm": 1.0,
        "precision": "fp32",
        "method_version": 1,
    }
    return TrainSpec(kind=kind, parent=start, data=tuple(data), **{**values, **changes})


def make_job(storage, specs, records, vocabulary, parents, execution=None, **changes):
    """A job over the given phases.

    Args:
        records: of each data spec that the phases read.
        parents: folders by spec of root or phase; a phase's own folder in the store is added.
    """
    from xlray.phases.store import Store

    wanted = {data for spec in specs for data in data_of(spec)}
    folders = {data_key(data): str(prepare(storage, data, records[data], vocabulary)) for data in wanted}
    known = {phase_hash(spec): str(folder) for spec, folder in parents.items()}
    known |= {phase_hash(spec): str(Store(storage).folder(spec)) for spec in specs}
    job = Job(
        "test",
        "test",
        storage,
        execution or Execution(),
        Phases(shared=tuple(specs)),
        folders,
        known,
        vocabulary.size,
        vocabulary.mask,
        storage / "progress.json",
    )
    return dataclasses.replace(job, **changes)
