"""A tiny encoder and data on which whole phases are trained in this process."""

from __future__ import annotations

import itertools

import helpers
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from xlray.config.execution import Execution
from xlray.phases.spec import EvaluationSpec
from xlray.phases.store import Store
from xlray.storage.storage import Storage
from xlray.training import engine
from xlray.training.train import run_phase

FILLER = [f"filler{i}" for i in range(20)]


COLOURS = ["red", "green", "blue"]


NUMBERS = ["zero", "one", "two", "three", "four"]


PRIZES = [f"prize{i}" for i in range(12)]


TAGS = {"B": COLOURS, "N": NUMBERS, "O": FILLER}


WORDS = [*FILLER, *COLOURS, *NUMBERS, *PRIZES, "right", "what", "?"]


def sentence(random, *marked, fewest=2, most=6):
    """Filler with the marked words at random places."""
    words = [str(w) for w in random.choice(FILLER, random.integers(fewest, most))]
    for word in marked:
        words.insert(int(random.integers(len(words) + 1)), word)
    return words


def classification(random, i):
    label = COLOURS[random.integers(3)]
    return {"id": str(i), "text": " ".join(sentence(random, label)), "text_pair": None, "label": label}


def regression(random, i):
    value = int(random.integers(5))
    return {"id": str(i), "text": " ".join(sentence(random, NUMBERS[value])), "text_pair": None, "label": float(value)}


def multiple_choice(random, i):
    count = int(random.integers(2, 5))
    right = int(random.integers(count))
    choices = [" ".join(sentence(random, *["right"] * (c == right))) for c in range(count)]
    return {"id": str(i), "context": "", "question": "what ?", "choices": choices, "label": right}


def span_qa(random, i):
    prize = PRIZES[random.integers(len(PRIZES))]
    context = " ".join(sentence(random, prize, fewest=4, most=12))
    return {
        "id": str(i),
        "question": "what ?",
        "context": context,
        "answers": [{"text": prize, "start": context.index(prize)}],
    }


def tagging(random, i):
    words = sentence(random, COLOURS[random.integers(3)], NUMBERS[random.integers(5)])
    tags = [next(tag for tag, known in TAGS.items() if word in known) for word in words]
    return {"id": str(i), "tokens": words, "tags": tags}


def mlm(random, i):
    word = FILLER[random.integers(len(FILLER))]
    return {"id": str(i), "text": " ".join([word] * int(random.integers(6, 14))), "text_pair": None}


TOYS = {f.__name__: f for f in (classification, regression, multiple_choice, span_qa, tagging, mlm)}


LABELS = {"classification": tuple(COLOURS), "tagging": tuple(TAGS)}


def records_of(kind, seed, num):
    random = np.random.default_rng(seed)
    return [TOYS[kind](random, i) for i in range(num)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return helpers.encoder_folder(tmp_path_factory.mktemp("encoder") / "encoder", WORDS)


class World:
    """A store, the toy records, and jobs over phases that start from the encoder."""

    def __init__(self, storage, encoder):
        self.storage, self.store = storage, Store(storage)
        self.folder, self.root, self.vocabulary = encoder
        self.records = {}

    def data(self, kind, split="train/en", num=400, records=None):
        found = records_of(kind, len(split), num) if records is None else records
        scale = (0.0, 4.0) if kind == "regression" else (0.0, 1.0)
        spec = helpers.data_spec(
            f"toy_{kind}", kind, split, found, 40, 20 if kind == "span_qa" else 0, LABELS.get(kind, ()), scale
        )
        self.records[spec] = found
        return spec

    def job(self, *specs, **changes):
        changes.setdefault("execution", Execution(micro_batch_tokens=512, checkpoint_every_steps=4))
        return helpers.make_job(self.storage, specs, self.records, self.vocabulary, {self.root: self.folder}, **changes)

    def run(self, *specs, **changes):
        job = self.job(*specs, **changes)
        return [run_phase(spec, job) for spec in specs]

    def scores(self, spec):
        return {r["metric"]: r["value"] for r in pq.read_table(self.store.open(spec, "scores.parquet")).to_pylist()}

    def trunk(self, kind="trunk", parent=None, **changes):
        data = [self.data("classification"), self.data("tagging")]
        values = {"schedule": "warmup_constant", "warmup_examples": 64, "num_examples": 192, "weight_decay": 0.01}
        return helpers.train_spec(kind, parent or self.root, data, **{**values, **changes})

    def target(self, kind, metric, parent=None, **changes):
        data = self.data(kind)
        dev = EvaluationSpec(self.data(kind, "dev/fi", 100), "fi", "dev", False, True)
        return helpers.train_spec(
            "target", parent or self.root, [data], evaluations=(dev,), headline=metric, scaled_losses=False, **changes
        )


@pytest.fixture
def world(tmp_path, encoder):
    return World(Storage(tmp_path), encoder)


def weights_of(world, spec):
    return load_file(world.store.open(spec, "weights/model.safetensors"))


def state_of(world, spec):
    """The entries of a phase's state, by name."""
    return load_file(world.store.open(spec, "state/state.safetensors"))


class KilledError(Exception):
    """Raised in place of a training step."""


def interrupt(monkeypatch, after):
    """The n-th training step from now on raises; steps that only create optimizer state have rate 0 and do not count."""
    counter = itertools.count(1)
    step = engine.train_step

    def interrupted(running, micro_batches, learning_rate):
        if learning_rate > 0 and next(counter) > after:
            raise KilledError
        return step(running, micro_batches, learning_rate)

    monkeypatch.setattr(engine, "train_step", interrupted)
