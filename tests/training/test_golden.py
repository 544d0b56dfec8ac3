"""Golden numbers: a change of the code that changes the numbers of a kind of phase must bump its method version.

Every kind of phase runs on fixed records on CPU in fp32. Its numbers, and the version they belong to, are stored here. To
store new ones, run `python tests/training/test_golden.py`, which prints the table.
"""

import hashlib

import helpers
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from xlray.config.execution import Execution
from xlray.data.tokenizer import train_tokenizer
from xlray.phases.spec import METHOD_VERSIONS, EvaluationSpec, RetrievalSpec, TokenizerSpec, phase_hash
from xlray.phases.store import Store
from xlray.storage.storage import Storage

WORDS = [f"w{i}" for i in range(60)]
TOLERANCE = 1e-4

# kind of phase: (method version, numbers)
GOLDEN = {
    "cooldown": (2, [0.94103062, 0.91948736, 20.599799]),
    "pretrain": (2, [5.3448977, 5.0724773, 20.48599]),
    "retrieval": (2, [25.806452, 51.612903, 25.806452, 1.5625]),
    "target": (3, [1.1381577, 0.60221612, 99.429387, 98.81495, 99.122168, 18.045649]),
    "tokenizer": (1, [32.0, 163.0, 58.0, 181.0, 178.0]),
    "trunk": (2, [1.0027496, 0.88218921, 20.578571]),
}


def texts(seed, num):
    random = np.random.default_rng(seed)
    return [[WORDS[i] for i in random.integers(0, 60, random.integers(3, 20))] for _ in range(num)]


def labelled(seed, num=96):
    """Classification by the parity of the first word, with a second sentence now and then."""
    return [
        {
            "id": str(i),
            "text": " ".join(words),
            "text_pair": " ".join(words[:3]) if i % 4 == 0 else None,
            "label": "eo"[int(words[0][1:]) % 2],
        }
        for i, words in enumerate(texts(seed, num))
    ]


def tagged(seed, num=96):
    return [
        {"id": str(i), "tokens": words, "tags": ["ABC"[int(w[1:]) % 3] for w in words]}
        for i, words in enumerate(texts(seed, num))
    ]


def plain(seed, num=96):
    return [
        {"id": str(i), "text": " ".join(w), "text_pair": " ".join(w[: 1 + len(w) // 3])}
        for i, w in enumerate(texts(seed, num))
    ]


def run_all(storage):
    """Numbers of every kind of phase: losses over the steps, norms of the weights, scores."""
    from unittest import mock

    from xlray.training import engine
    from xlray.training.train import run_phase

    storage.mkdir(exist_ok=True)
    vocabulary = helpers.word_tokenizer(storage / "tokenizer.json", WORDS)
    records = {}

    def data(task, kind, split, found, labels=()):
        spec = helpers.data_spec(task, kind, split, found, 32, labels=labels)
        records[spec] = found
        return spec

    text = data("text", "mlm", "train/mul", plain(1))
    first = data("parity", "classification", "train/en", labelled(2), ("e", "o"))
    tags = data("tags", "tagging", "train/en", tagged(3), ("A", "B", "C"))
    dev = data("tags", "tagging", "dev/fi", tagged(4, 64), ("A", "B", "C"))
    pairs = data("pairs", "retrieval", "all/fi", plain(5, 64))
    tokenizer = TokenizerSpec((text,), 200, 1)
    pretrain = helpers.train_spec(
        "pretrain",
        tokenizer,
        [text],
        architecture=vars(helpers.TINY),
        dropout=0.0,
        num_examples=192,
        warmup_examples=32,
        scaled_losses=False,
        weight_decay=0.01,
    )
    common = {"seed": 7, "warmup_examples": 32, "weight_decay": 0.01}
    trunk = helpers.train_spec(
        "trunk", pretrain, [first, tags, text], schedule="warmup_constant", num_examples=192, **common
    )
    cooldown = helpers.train_spec(
        "cooldown", trunk, trunk.data, schedule="decay", first_example=192, num_examples=64, continues=True, **common
    )
    evaluation = EvaluationSpec(dev, "fi", "dev", False, True)
    target = helpers.train_spec(
        "target",
        cooldown,
        [tags],
        num_examples=128,
        warmup_examples=32,
        learning_rate=3e-3,
        seed=7,
        evaluations=(evaluation,),
        headline=("accuracy", "f1"),
        scaled_losses=False,
    )
    halves = tuple(EvaluationSpec(pairs, "fi", split, split == "test", split == "dev") for split in ("dev", "test"))
    retrieval = RetrievalSpec(phase_hash(cooldown), halves, None, "fp32", 1, ("accuracy",))
    specs = (pretrain, trunk, cooldown, target, retrieval)
    store = Store(Storage(storage))
    job = helpers.make_job(store.storage, specs, records, vocabulary, {tokenizer: storage}, Execution(zero_stage=1))
    losses, found = [], {}
    step = engine.train_step

    def recorded(running, micro_batches, learning_rate):
        loss = step(running, micro_batches, learning_rate)
        if learning_rate > 0:
            losses.append(float(loss.sum()))
        return loss

    with mock.patch.object(engine, "train_step", recorded):
        for spec in specs:
            losses.clear()
            run_phase(spec, job)
            numbers = [losses[0], losses[-1]] if losses else []
            for name in ("weights/model.safetensors", "state/state.safetensors"):
                if name in store.done(spec)["files"]:
                    values = load_file(store.open(spec, name))
                    numbers += [
                        sum(float((v.double() ** 2).sum()) for k, v in values.items() if "step" not in k) ** 0.5
                    ]
            if spec.evaluations:
                rows = pq.read_table(store.open(spec, "scores.parquet")).to_pylist()
                numbers += [row["value"] for row in sorted(rows, key=lambda row: row["metric"])]
            found[spec.kind] = numbers
    return found


def tokenizer_numbers():
    """Size and content of a vocabulary; scores are left out, since the trainer's sums are not reproducible."""
    syllables = ("ka", "lo", "mi", "ter", "una", "sol", "vi", "den", "gor", "pa")
    spell = str.maketrans({"w": "", **{str(i): syllable for i, syllable in enumerate(syllables)}})
    records = [{"text": r["text"].translate(spell)} for r in plain(6, 200)]
    tokenizer = train_tokenizer(records, 60)
    pieces = sorted(tokenizer.get_vocab())
    return [len(pieces), *hashlib.sha256("\n".join(pieces).encode()).digest()[:4]]


@pytest.fixture(scope="module")
def numbers(process_group, tmp_path_factory):
    return {**run_all(tmp_path_factory.mktemp("golden")), "tokenizer": tokenizer_numbers()}


def test_there_are_golden_numbers_for_every_kind_of_phase():
    assert GOLDEN.keys() == METHOD_VERSIONS.keys()


@pytest.mark.parametrize("kind", sorted(METHOD_VERSIONS))
def test_numbers_are_those_of_the_method_version(numbers, kind):
    version, expected = GOLDEN[kind]
    where = f"store the new numbers with it in tests/training/test_golden.py, from `python {__file__}`"
    assert version == METHOD_VERSIONS[kind], f"METHOD_VERSIONS[{kind!r}] was bumped: {where}"
    same = numbers[kind] == pytest.approx(expected, rel=TOLERANCE)
    assert same, f"the numbers changed from {expected} to {numbers[kind]}: bump METHOD_VERSIONS[{kind!r}] and {where}"


if __name__ == "__main__":
    import os
    import tempfile
    from pathlib import Path

    import torch.distributed as dist

    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=0, world_size=1)
        measured = {**run_all(Path(folder) / "store"), "tokenizer": tokenizer_numbers()}
        for name, values in sorted(measured.items()):
            print(f"    {name!r}: ({METHOD_VERSIONS[name]}, {[float(f'{v:.8g}') for v in values]}),")
        dist.destroy_process_group()
