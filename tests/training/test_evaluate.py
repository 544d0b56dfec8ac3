"""Predictions: in the order of the records, joined over windows, and bit-equal whatever the ranks and the budget."""

import dataclasses
import os
import threading
import warnings
from typing import Any

import helpers
import numpy as np
import pytest
import ranks
import torch

from xlray.config.recipes import Architecture
from xlray.data.tokenization import open_examples, prepare
from xlray.phases.spec import EvaluationSpec
from xlray.storage.storage import Storage
from xlray.training import batches, evaluate
from xlray.training.model import Model, initialise_heads, random_encoder

WORDS = [f"w{i}" for i in range(60)]
TAGS = ("A", "B", "C", "D")
SIZES = Architecture(hidden_size=64, num_layers=2, num_heads=4, intermediate_size=128, vocab_size=80, max_positions=66)
BUDGETS = {1: (100, 4096), 2: (110, 1000)}


def sentence(random, fewest=1, most=40):
    return [WORDS[i] for i in random.integers(0, len(WORDS), random.integers(fewest, most))]


def records_of(kind, num=60):
    random = np.random.default_rng(5)
    found = []
    for i in range(num):
        words = sentence(random, fewest=8 if kind == "retrieval" else 1)  # no two alike
        record: dict[str, Any] = {"id": str(i)}
        text = " ".join(words)
        if kind == "tagging":
            record |= {"tokens": words, "tags": [TAGS[j] for j in random.integers(0, 4, len(words))]}
        elif kind == "span_qa":
            record |= {"question": "w1 w2", "context": text, "answers": [{"text": words[0], "start": 0}]}
        elif kind == "multiple_choice":
            choices = [" ".join(sentence(random, most=6)) for _ in range(int(random.integers(2, 5)))]
            record |= {"context": "", "question": "w1", "choices": choices, "label": 0}
        elif kind == "retrieval":
            record |= {"text": text, "text_pair": " ".join(words[::-1])}
        else:
            label = float(random.random()) if kind == "regression" else TAGS[random.integers(4)]
            record |= {"text": text, "text_pair": None, "label": label}
        found.append(record)
    return found


KINDS = ("classification", "regression", "multiple_choice", "tagging", "span_qa", "retrieval")


def dataset(kind, folder, records=None):
    """(data spec, examples); long records make several windows of at most 24 tokens."""
    records = records_of(kind) if records is None else records
    labels = TAGS if kind in ("classification", "tagging") else ()
    longest = 24 if kind in ("tagging", "span_qa") else 48
    spec = helpers.data_spec(
        kind, kind, "all/fi" if kind == "retrieval" else "dev/fi", records, longest, 8, labels, (0.0, 5.0)
    )
    vocabulary = helpers.word_tokenizer(folder / f"tokenizer-{os.getpid()}.json", WORDS, SIZES.vocab_size)
    return spec, open_examples(prepare(Storage(folder), spec, records, vocabulary), spec)


def evaluator(examples, budget):
    plan = batches.layout([examples], SIZES.vocab_size, helpers.MASK_ID, False)
    model = Model(random_encoder(SIZES, 0), plan, 0.1)
    initialise_heads(model, 1)
    if model.heads is not None:
        with torch.no_grad():
            model.heads.weight *= 50  # far from ties
    return evaluate.Evaluator(model, torch.device("cpu"), plan, budget)


def predictions_of(kind, folder, budget):
    spec, examples = dataset(kind, folder)
    if kind == "retrieval":
        return evaluate.retrieve(evaluator(examples, budget), examples, 1)
    return evaluate.predict(evaluator(examples, budget), examples, spec)


def work(rank, world, folder):
    import torch.distributed as dist

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=world)
    found = {(kind, b): predictions_of(kind, folder, b) for kind in KINDS for b in BUDGETS[2]}
    torch.save(found, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def two_ranks(folder):
    ranks.run_group(2, work, folder)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_do_not_depend_on_ranks_and_budget(folder, two_ranks, kind):
    small, large = (predictions_of(kind, folder, budget) for budget in BUDGETS[1])
    if kind == "regression":  # a product of matrices of another height may round otherwise
        for found in (large, *(two_ranks[0][kind, b] for b in BUDGETS[2])):
            np.testing.assert_allclose(found, small, rtol=1e-5, atol=1e-5)
    else:
        assert small == large == two_ranks[0][kind, 110] == two_ranks[0][kind, 1000]
    assert [two_ranks[1][kind, b] for b in BUDGETS[2]] == [None, None]


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_predictions_are_in_the_order_of_the_records_and_of_their_form(folder, kind):
    records = records_of(kind)
    found = predictions_of(kind, folder, 500)
    assert len(found) == len(records)
    single = []
    for record in records[:12]:
        spec, examples = dataset(kind, folder, [record])
        single += evaluate.predict(evaluator(examples, 500), examples, spec)
    if kind == "regression":
        np.testing.assert_allclose(found[:12], single, rtol=1e-4, atol=1e-4)
    else:
        assert found[:12] == single
    if kind == "tagging":
        assert [len(tags) for tags in found] == [len(r["tokens"]) for r in records]
    if kind == "span_qa":
        assert all(answer in r["context"] for answer, r in zip(found, records, strict=True))
    if kind == "multiple_choice":
        assert all(choice < len(r["choices"]) for choice, r in zip(found, records, strict=True))


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("kind", KINDS)
def test_the_device_is_read_once_for_a_whole_split(folder, kind, monkeypatch):
    reads, read = [], torch.Tensor.cpu

    def cpu(tensor):
        reads.append(tensor)
        return read(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    predictions_of(kind, folder, 100)  # many packs
    assert len([tensor for tensor in reads if tensor.is_floating_point()]) == 1  # the others carry what ranks exchange


@pytest.mark.usefixtures("process_group")
def test_for_a_gpu_batches_are_made_ahead_in_page_locked_memory(folder, monkeypatch):
    wanted, pinned = predictions_of("tagging", folder, 100), []

    def pin(batch):
        pinned.append(threading.get_ident())
        return batch

    monkeypatch.setattr(batches.Batch, "pinned", pin)
    monkeypatch.setattr(batches.Batch, "to", lambda batch, device: batch)
    spec, examples = dataset("tagging", folder)
    asked = dataclasses.replace(evaluator(examples, 100), device=torch.device("cuda"))
    assert evaluate.predict(asked, examples, spec) == wanted
    assert len(pinned) > 2 and threading.get_ident() not in pinned


@pytest.mark.usefixtures("process_group")
def test_some_records_had_several_windows(folder):
    for kind in ("tagging", "span_qa"):
        spec, examples = dataset(kind, folder)
        assert len(examples) > spec.num_records
        assert np.bincount(examples.record).max() >= 2


# --- answers -------------------------------------------------------------------------------------------------------

CHARACTERS = np.array([[0, 2], [3, 5], [6, 8], [9, 11]])


def scores(start, end):
    return torch.tensor(np.array([start, end]), dtype=torch.float32).T


def test_the_best_span_is_that_of_the_largest_sum_with_end_not_before_start():
    found = evaluate._best_span(scores([9, 0, 5, 1, 0], [9, 4, 0, 3, 1]), CHARACTERS)
    assert found == (8.0, 3, 8)  # start at the second token, end at the third; "no answer" and the reverse are left out


def test_a_span_has_at_most_thirty_tokens():
    characters = np.array([[3 * i, 3 * i + 2] for i in range(40)])
    start, end = np.zeros(41), np.zeros(41)
    start[1], end[31], end[30] = 10, 10, 9
    assert evaluate._best_span(scores(start, end), characters) == (19.0, 0, 3 * 29 + 2)


def test_padding_beyond_the_window_is_never_chosen():
    start = [0.0, 1.0, 0.0, -np.inf, -np.inf]
    assert evaluate._best_span(scores(start, start), CHARACTERS[:2]) == (2.0, 0, 2)


def test_an_empty_window_has_no_answer():
    assert evaluate._best_span(scores([0.0], [0.0]), np.zeros((0, 2), dtype=int)) == (-np.inf, 0, 0)


def test_of_several_windows_the_best_answer_counts(folder):
    record = {"id": "0", "question": "w1 w2", "context": " ".join(WORDS[:40]), "answers": []}
    spec, examples = dataset("span_qa", folder, [record])
    assert len(examples) >= 3
    rows = [(1.0, 0, 2)] * len(examples)
    rows[1] = (5.0, *examples.spans_of(1)[3].tolist())
    first, last = rows[1][1:]
    assert evaluate._by_record(rows, examples, spec) == [record["context"][first:last]]


def test_tags_of_windows_are_joined(folder):
    spec, examples = dataset("tagging", folder)
    rows = [[f"{row}.{i}" for i in range(examples.num_reads(row))] for row in range(len(examples))]
    found = evaluate._by_record(rows, examples, spec)
    assert [tag for tags in found for tag in tags] == [tag for tags in rows for tag in tags]
    assert [len(tags) for tags in found] == [len(r["tokens"]) for r in records_of("tagging")]


# --- scores --------------------------------------------------------------------------------------------------------


def evaluation(spec, split="dev"):
    return EvaluationSpec(spec, "fi", split, split == "test", split == "dev")


def test_an_unlabelled_split_scores_nothing_and_unlabelled_items_are_left_out(folder):
    records = [{**r, "label": None} for r in records_of("classification", 6)]
    spec, examples = dataset("classification", folder, records)
    assert evaluate.score_predictions(evaluation(spec), examples, ["A"] * 6) == ({}, {}, 0)
    records[2]["label"], records[4]["label"] = "A", "B"
    spec, examples = dataset("classification", folder, records)
    found, items, count = evaluate.score_predictions(evaluation(spec), examples, ["A"] * 6)
    assert (found["accuracy"], items["correct"].tolist(), count) == (50.0, [1, 0], 2)


def test_questions_without_answers_are_scored_unless_no_question_has_one(folder):
    asked = [{**record, "answers": record["answers"] if i else []} for i, record in enumerate(records_of("span_qa", 3))]
    for records, expected in ((asked, 3), ([{**record, "answers": []} for record in asked], 0)):
        spec, examples = dataset("span_qa", folder, records)
        scores, _, number = evaluate.score_predictions(evaluation(spec, "test"), examples, ["w1"] * 3)
        assert number == expected and bool(scores) == bool(expected)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_right_predictions_score_a_hundred(folder, kind):
    records = records_of(kind)
    spec, examples = dataset(kind, folder)
    field = {"tagging": "tags", "span_qa": "answers"}.get(kind, "label")
    gold = [r[field][0]["text"] if kind == "span_qa" else r[field] for r in records]
    found, _, count = evaluate.score_predictions(evaluation(spec), examples, gold)
    assert [value for value in found.values() if abs(value - 100) > 1e-4] == []
    assert count == 60


def test_the_majority_is_that_of_the_training_labels(folder):
    train = [{**r, "label": "B" if i % 3 else "C"} for i, r in enumerate(records_of("classification", 30))]
    train_spec, train_examples = dataset("classification", folder, train)
    spec, examples = dataset("classification", folder)
    found = evaluate.majority_scores(evaluation(spec), examples, train_examples, train_spec)
    share = np.mean([r["label"] == "B" for r in records_of("classification")])
    assert found["accuracy"] == pytest.approx(100 * share)


@pytest.mark.parametrize(
    ("kind", "expected"), [("tagging", None), ("regression", 0.0), ("span_qa", 0.0), ("multiple_choice", 100.0)]
)
def test_every_kind_has_a_majority(folder, kind, expected):
    spec, examples = dataset(kind, folder)
    found = evaluate.majority_scores(evaluation(spec), examples, examples, spec)
    name = {"regression": "pearson", "span_qa": "f1"}.get(kind, "accuracy")
    tags = [tag for r in records_of("tagging") for tag in r["tags"]]
    assert found[name] == pytest.approx(100 * max(map(tags.count, TAGS)) / len(tags) if expected is None else expected)


def test_retrieval_divides_the_queries_of_a_whole_file_and_keeps_all_candidates(folder):
    spec, examples = dataset("retrieval", folder)
    right = list(range(60))
    wrong = [(i + 1) % 60 for i in range(60)]
    counts = []
    for split in ("dev", "test"):
        found, _, count = evaluate.retrieval_scores(evaluation(spec, split), examples, (right, wrong))
        assert (found["accuracy"], found["accuracy_reverse"]) == (100.0, 0.0)
        counts.append(count)
    assert sum(counts) == 60 and min(counts) > 15
