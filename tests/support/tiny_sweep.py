"""Fixtures of a tiny sweep: its encoder, its data and its file."""

import dataclasses
import json

import helpers
import pytest

SWEEP = """
from xlray import Encoder, Execution, Intermediate, Sweep, Target, subsets
sweep = Sweep(
    "tiny", Encoder({encoder!r}), measure=(*subsets.empty(), *subsets.explicit(("copa_en",))), seeds=(0, 1),
    intermediate=Intermediate(rungs=(32, 64), batch_size=16, warmup_examples=16, max_length=64, stride=32),
    targets=(Target("udpos", num_examples=32, batch_size=16, max_length=64, stride=32),),
    execution=Execution(micro_batch_tokens=2048), question="Does COPA help?",
)
"""
TOKENS = [("The", "DET"), ("dog", "NOUN"), ("ran", "VERB")]


@pytest.fixture
def encoder(tmp_path):
    architecture = dataclasses.replace(helpers.TINY, vocab_size=100, max_positions=130)
    return helpers.encoder_folder(tmp_path / "encoder", ["dog", "ran"], architecture)[0]


@pytest.fixture
def data_dir(tmp_path):
    folder = tmp_path / "data"
    (folder / "udpos").mkdir(parents=True)
    (folder / "copa_en").mkdir()
    sentence = "".join(f"{token}\t{tag}\n" for token, tag in TOKENS) + "\n"
    for name in ("train-en", "dev-en"):
        (folder / "udpos" / f"{name}.tsv").write_text(sentence * 3)
    (folder / "udpos" / "dev-fi.tsv").write_text(sentence.replace(TOKENS[0][0], "toinen") * 3)
    record = {
        "premise": "It rained.",
        "choice1": "It is wet.",
        "choice2": "It is dry.",
        "question": "effect",
        "label": 0,
    }
    lines = "".join(json.dumps({**record, "idx": i, "changed": False}) + "\n" for i in range(4))
    for name in ("train-en.jsonl", "dev-en.jsonl"):
        (folder / "copa_en" / name).write_text(lines)
    return folder


@pytest.fixture
def sweep_file(tmp_path, encoder):
    path = tmp_path / "tiny.py"
    path.write_text(SWEEP.format(encoder=str(encoder)))
    return path
