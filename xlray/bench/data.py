"""Preparation of data beside `datasets.map`."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xlray.bench.turns import document, ratios
from xlray.data.registry import find_task
from xlray.data.tokenization import load_vocabulary, open_examples, prepare
from xlray.data.tokenizer import train_tokenizer
from xlray.errors import require
from xlray.phases.spec import DataSpec
from xlray.storage.storage import Storage
from xlray.tasks.load import load_records
from xlray.tasks.task import Record

NUM_PROCESSES = 2  # of `datasets.map`
MAX_LENGTH = 128
VOCAB_SIZE = 4_000
TOKENIZER_RECORDS = 4_000
LABELS = ("same", "other")


def bench_data(num_records: int = 20_000, repetitions: int = 5) -> dict[str, Any]:
    """Tokens per second from records in memory to an Arrow file: `xlray.data.tokenization.prepare` beside `datasets.map`.

    Both have the same records (pairs of several sentences of the embedded world), the same Unigram tokenizer and the
    same limit of length, and take turns after one round that is not counted. Both have two cores: xlray one process
    whose tokenizer has two threads, `datasets.map` two processes with one each, as forking leaves them. Making the
    `Dataset` out of the records is not counted.

    Returns:
        `{bench, machine, versions, rows, ratios}`; a row has the median of its `times` in seconds. The ratio is that of
        tokens per second; above 1 is better for xlray.

    Raises:
        InputError: no records or repetitions.
    """
    require(num_records > 0, "records > 0", num_records, "bench data")
    require(repetitions > 0, "repetitions > 0", repetitions, "bench data")
    # Read when the tokenizer first needs threads; a process that has used it already keeps its own.
    os.environ.setdefault("RAYON_NUM_THREADS", str(NUM_PROCESSES))
    with tempfile.TemporaryDirectory(prefix="xlray-bench-") as name:
        folder = Path(name)
        records = make_records(num_records)
        train_tokenizer(records[:TOKENIZER_RECORDS], VOCAB_SIZE).save(str(folder / "tokenizer.json"))
        rounds = {"xlray": _xlray(folder, records), "datasets_map": _datasets_map(folder, records)}
        times: dict[str, list[float]] = {key: [] for key in rounds}
        tokens: dict[str, int] = {}
        for number in range(repetitions + 1):
            for key, run in rounds.items():
                seconds, tokens[key] = run(number)
                if number:
                    times[key].append(seconds)
    rows = [{"name": key, **_summary(found, tokens[key]), "records": num_records} for key, found in times.items()]
    return document("data", ("xlray", "datasets", "tokenizers", "pyarrow"), rows, ratios(rows))


def make_records(number: int) -> list[Record]:
    """Pairs of texts of four to ten and one to five sentences, some longer than the limit; the same ones every time."""
    sentences = [record["text"] for record in load_records(find_task("mini_text"), "train/mul")]
    rng = random.Random("bench data")

    def text(fewest: int, most: int) -> str:
        return " ".join(rng.choices(sentences, k=rng.randint(fewest, most)))

    return [
        {"id": str(i), "text": text(4, 10), "text_pair": text(1, 5), "label": rng.choice(LABELS)} for i in range(number)
    ]


Round = Callable[[int], tuple[float, int]]  # number of the round to (seconds, tokens)


def _xlray(folder: Path, records: list[Record]) -> Round:
    vocabulary = load_vocabulary(folder / "tokenizer.json")
    spec = DataSpec("bench", "classification", "train/en", "bench", len(records), MAX_LENGTH, labels=LABELS)

    def run(number: int) -> tuple[float, int]:
        started = time.perf_counter()
        prepared = prepare(Storage(folder / f"xlray-{number}"), spec, records, vocabulary)
        return time.perf_counter() - started, len(open_examples(prepared, spec).tokens)

    return run


def _datasets_map(folder: Path, records: list[Record]) -> Round:
    import datasets

    datasets.disable_progress_bars()
    tokenizer = load_vocabulary(folder / "tokenizer.json").tokenizer
    tokenizer.enable_truncation(MAX_LENGTH)
    given = datasets.Dataset.from_list(records)

    def encode(batch: Mapping[str, list[str]]) -> dict[str, list[Any]]:
        pairs = list(zip(batch["text"], batch["text_pair"], strict=True))
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(pairs)]
        return {"tokens": tokens, "label": [LABELS.index(label) for label in batch["label"]]}

    def run(number: int) -> tuple[float, int]:
        file = str(folder / f"datasets-{number}.arrow")
        with _environment("TOKENIZERS_PARALLELISM", "false"):  # what a fork does, without the warning
            started = time.perf_counter()
            made = given.map(
                encode,
                batched=True,
                num_proc=NUM_PROCESSES,
                remove_columns=given.column_names,
                cache_file_name=file,
                load_from_cache_file=False,
            )
            seconds = time.perf_counter() - started
        return seconds, sum(len(column) for column in made.with_format("numpy")["tokens"])

    return run


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _summary(times: list[float], tokens: int) -> dict[str, Any]:
    median = statistics.median(times)
    return {"seconds": median, "times": times, "tokens": tokens, "tokens_per_second": tokens / median}
