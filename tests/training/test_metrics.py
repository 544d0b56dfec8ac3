import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from seqeval.metrics import f1_score

from xlray.errors import InputError
from xlray.training import metrics

UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()  # noqa: SIM905
IOB2 = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
WORDS = ["the", "Helsinki,", "on", "Suomen", "pääkaupunki", "1952", "a", "...", ""]

NUMBERS = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=30)


def tagged(tags, num=200, seed=0, max_length=30) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of random tags and predictions that are right six times in seven."""
    draw = random.Random(seed)
    gold = [[draw.choice(tags) for _ in range(draw.randint(1, max_length))] for _ in range(num)]
    return gold, [[tag if draw.random() < 6 / 7 else draw.choice(tags) for tag in sentence] for sentence in gold]


def answered(num=200, seed=0):
    draw = random.Random(seed)
    text = lambda: " ".join(draw.choices(WORDS, k=draw.randint(0, 5)))  # noqa: E731
    return [[text() for _ in range(draw.randint(0, 3))] for _ in range(num)], [text() for _ in range(num)]


def test_accuracy_and_macro_f1_of_a_worked_example():
    gold, found = ["yes", "yes", "yes", "no"], ["yes", "yes", "no", "no"]
    scores = metrics.score("classification", gold, found, ("no", "yes", "maybe"))
    assert scores == pytest.approx({"accuracy": 75.0, "macro_f1": 100 * (4 / 5 + 2 / 3) / 2})


def test_macro_f1_counts_a_label_that_is_only_predicted():
    assert metrics.score("classification", ["a", "a"], ["a", "b"])["macro_f1"] == pytest.approx(100 * (2 / 3 + 0) / 2)


@pytest.mark.parametrize("kind", ["multiple_choice", "retrieval"])
def test_accuracy_of_indices(kind):
    assert metrics.score(kind, [0, 3, 2, 1], [0, 3, 1, 2]) == {"accuracy": 50.0}
    assert metrics.score(kind, np.array([0, 3]), np.array([0, 3])) == {"accuracy": 100.0}


@given(NUMBERS)
def test_correlations_are_those_of_scipy(pairs):
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    found = metrics.score("regression", a.tolist(), b.tolist())
    assert all(-100 <= value <= 100 for value in found.values())
    if np.ptp(a) > 1e-6 and np.ptp(b) > 1e-6:  # below, scipy warns that it may be inaccurate
        assert found["pearson"] == pytest.approx(100 * stats.pearsonr(a, b).statistic, abs=1e-4)
        assert found["spearman"] == pytest.approx(100 * stats.spearmanr(a, b).statistic, abs=1e-6)


@pytest.mark.parametrize("constant", [[2.0, 2.0, 2.0], [1.0, float("nan"), 2.0], [1.0, float("inf"), 2.0]])
def test_a_constant_or_broken_prediction_correlates_with_nothing(constant):
    assert metrics.score("regression", [1.0, 2.0, 3.0], constant) == {"pearson": 0.0, "spearman": 0.0}


def test_span_f1_of_a_worked_example():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    found = [["B-PER", "O", "O", "B-LOC"], ["B-ORG", "B-ORG"]]
    statistics = metrics.items("tagging", gold, found, IOB2)
    assert {name: values.tolist() for name, values in statistics.items()} == {
        "correct": [3, 1],
        "total": [4, 2],
        "tp": [1, 1],
        "fp": [1, 1],
        "fn": [1, 0],
    }
    assert metrics.score("tagging", gold, found, IOB2) == pytest.approx({"accuracy": 100 * 4 / 6, "f1": 100 * 4 / 7})


@pytest.mark.parametrize("seed", range(3))
def test_span_f1_is_that_of_seqeval(seed):
    gold, found = tagged(IOB2, seed=seed)
    assert metrics.score("tagging", gold, found, IOB2)["f1"] == pytest.approx(100 * f1_score(gold, found))
    assert metrics.score("tagging", gold, found) == metrics.score("tagging", gold, found, IOB2)


@pytest.mark.filterwarnings("ignore:.*seems not to be NE tag")
def test_part_of_speech_f1_is_that_of_seqeval_0_0_12():
    # Made by seqeval 0.0.12, the release of the time of XTREME, on the same tags; 1.2.2 gives other values.
    expected = [84.5224613062, 85.1373476442, 83.1534309946]
    found = [metrics.score("tagging", *tagged(UPOS[-6:], seed=seed), UPOS)["f1"] for seed in range(3)]
    assert found == pytest.approx(expected, abs=1e-9)
    assert [100 * f1_score(*tagged(UPOS[-6:], seed=seed)) for seed in range(3)] != pytest.approx(expected, abs=0.1)


def test_equal_neighbours_are_one_span_and_sconj_is_not_cconj():
    def spans(gold, found):
        return [int(metrics.items("tagging", [gold], [found], UPOS)[name][0]) for name in ("tp", "fp", "fn")]

    assert spans(["NOUN", "NOUN", "VERB"], ["NOUN", "NOUN", "VERB"]) == [2, 0, 0]
    assert spans(["NOUN", "NOUN", "VERB"], ["NOUN", "VERB", "VERB"]) == [0, 2, 2]
    assert spans(["SCONJ", "SCONJ"], ["SCONJ", "CCONJ"]) == [1, 1, 1]
    assert spans(["CCONJ", "CCONJ"], ["CCONJ", "SCONJ"]) == [0, 2, 1]


def test_tags_with_hyphens_but_no_prefixes_are_types_of_their_own():
    gold, found = [["-LRB-", "N/N", "N"]], [["-RRB-", "N/N", "N"]]
    assert metrics.score("tagging", gold, found, ("-LRB-", "-RRB-", "N/N", "N"))["f1"] == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(
    ("gold", "predicted", "f1", "em"),
    [
        (["the Helsinki."], "helsinki", 1, 1),
        (["Suomen pääkaupunki"], "Suomen pääkaupunki Helsinki", 0.8, 0),
        (["1952", "vuonna 1952"], "vuonna 1952", 1, 1),
        (["kissa kissa"], "kissa", 2 / 3, 0),  # words count as often as they occur
        (["kissa"], "koira", 0, 0),
        (["kissa"], "", 0, 0),
        ([], "", 1, 1),
        ([], "the", 1, 1),
        ([], "kissa", 0, 0),
        (["the", "kissa"], "a", 0, 0),  # an answer of which nothing is left is none
        (["C++"], "c", 1, 1),
        (["Åbo"], "ÅBO", 1, 1),
    ],
)
def test_answers_are_compared_as_squad_does(gold, predicted, f1, em):
    statistics = metrics.items("span_qa", [gold], [predicted])
    assert statistics["f1"][0] == pytest.approx(f1)
    assert statistics["em"].tolist() == [em]
    assert metrics.score("span_qa", [gold], [predicted]) == pytest.approx({"f1": 100 * f1, "exact_match": 100 * em})


def test_scores_are_recomputed_from_items():
    gold, found = tagged(UPOS)
    part = metrics.items("tagging", gold, found, UPOS)
    scores = metrics.score("tagging", gold, found, UPOS)
    assert scores["accuracy"] == pytest.approx(100 * part["correct"].sum() / part["total"].sum())
    precision = part["tp"].sum() / (part["tp"] + part["fp"]).sum()
    recall = part["tp"].sum() / (part["tp"] + part["fn"]).sum()
    assert scores["f1"] == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    assert {len(values) for values in part.values()} == {len(gold)}

    gold, found = answered()
    part = metrics.items("span_qa", gold, found)
    means = {"f1": 100 * part["f1"].mean(), "exact_match": 100 * part["em"].mean()}
    assert metrics.score("span_qa", gold, found) == pytest.approx(means)

    for kind in ("classification", "multiple_choice", "retrieval"):
        part = metrics.items(kind, [1, 2, 3, 1], [1, 2, 2, 2])
        accuracy = 100 * part["correct"].sum() / part["total"].sum()
        assert metrics.score(kind, [1, 2, 3, 1], [1, 2, 2, 2])["accuracy"] == accuracy == 50

    part = metrics.items("regression", [1, 2, 4], [1, 3, 3])
    pearson = 100 * np.corrcoef(part["reference"], part["prediction"])[0, 1]
    assert metrics.score("regression", [1, 2, 4], [1, 3, 3])["pearson"] == pytest.approx(pearson)


@given(st.integers(0, 100))
def test_a_perfect_prediction_scores_100(seed):
    gold, _ = tagged(IOB2, 20, seed)
    assert metrics.score("tagging", [*gold, ["B-LOC"]], [*gold, ["B-LOC"]], IOB2) == {"accuracy": 100.0, "f1": 100.0}


def test_the_headline_is_the_mean_of_the_named_metrics():
    scores = {"f1": 80.0, "exact_match": 60.0, "accuracy": 1.0}
    assert metrics.headline(scores, ("f1", "exact_match")) == 70.0
    assert metrics.headline(scores, ("accuracy",)) == 1.0
    with pytest.raises(InputError, match="Did you mean 'accuracy'"):
        metrics.headline(scores, ("acuracy",))
    with pytest.raises(InputError, match="at least one"):
        metrics.headline(scores, ())


def test_majority_answers_what_training_had_most():
    labels = ("no", "yes")
    assert metrics.majority("classification", ["yes", "yes", "no"], ["no", "no", "no", "yes"], labels) == pytest.approx(
        {"accuracy": 25.0, "macro_f1": 100 * (2 / 5 + 0) / 2}
    )
    assert metrics.majority("classification", ["yes", "no"], ["no"], labels)["accuracy"] == 100
    assert metrics.majority("classification", ["yes", "no"], ["no"], labels[::-1])["accuracy"] == 0
    assert metrics.majority("multiple_choice", [2, 2, 1], [2, 0]) == {"accuracy": 50.0}
    assert metrics.majority("multiple_choice", [3, 1], [1])["accuracy"] == 100
    assert metrics.majority("regression", [1.0, 2.0], [1.0, 5.0]) == {"pearson": 0.0, "spearman": 0.0}
    tags = metrics.majority("tagging", [["B-PER", "O", "O"]], [["O", "B-PER", "I-PER", "O"]], IOB2)
    assert tags == {"accuracy": 50.0, "f1": 0.0}
    assert metrics.majority("tagging", [["NOUN", "NOUN", "VERB"]], [["VERB", "NOUN"]], UPOS)["accuracy"] == 50


def test_majority_of_questions_is_no_answer_and_of_retrieval_chance():
    assert metrics.majority("span_qa", [], [["kissa"], ["koira"]]) == {"f1": 0.0, "exact_match": 0.0}
    assert metrics.majority("span_qa", [], [["kissa"], []]) == {"f1": 50.0, "exact_match": 50.0}
    assert metrics.majority("retrieval", [], [0, 1, 2, 3]) == {"accuracy": 25.0}
    assert metrics.majority("retrieval", [], [0, 9]) == {"accuracy": 10.0}
    assert metrics.majority("retrieval", [], [0, 9], labels=["c"] * 1_000) == {"accuracy": 0.1}


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_retrieval_finds_the_candidate_of_highest_cosine(block):
    draw = np.random.default_rng(0)
    queries, index = draw.normal(size=(40, 16)), draw.normal(size=(25, 16)) * draw.uniform(0.01, 100, size=(25, 1))
    cosine = queries @ index.T / np.linalg.norm(index, axis=1)
    found = metrics.cosine_retrieval(queries, index, block)
    assert found.dtype == np.int64 and found.tolist() == cosine.argmax(axis=1).tolist()


def test_retrieval_takes_the_first_of_equals_and_finds_nothing_for_a_broken_query():
    index = np.array([[0, 1], [3, 0], [1, 0], [0, 0]], dtype=np.float16)
    queries = np.array([[2, 0], [0, 5], [np.nan, 1], [np.inf, 1]])
    for block in (1, 3, 8):
        assert metrics.cosine_retrieval(queries, index, block).tolist() == [1, 0, -1, -1]
    with pytest.raises(InputError, match="the index has a row"):
        metrics.cosine_retrieval(queries, index[:0])
    with pytest.raises(InputError, match=r"queries \[N, D\]"):
        metrics.cosine_retrieval(queries, index[:, :1])


@pytest.mark.parametrize(
    ("kind", "gold", "found", "labels", "message"),
    [
        ("tagging", [["O"], ["O"]], [["O"]], (), "one prediction per reference.*1 for 2"),
        ("tagging", [["O", "O"]], [["O"]], (), "one tag per token"),
        ("tagging", [["O"]], [["B-PRE"]], IOB2, "Did you mean 'B-PER'"),
        ("tagging", [["O"]], [None], (), "none for item 0"),
        ("span_qa", [["a"], ["b"]], ["a", None], (), "every item has a prediction.*none for item 1"),
        ("classification", [None], ["a"], (), "every item has a reference"),
        ("classification", ["a"], ["b"], ("a",), "must be one of the 1 labels, but got 'b'"),
        ("classification", [], [], (), "at least one item"),
        ("retrieval", [1, 2], [1], (), "one prediction per reference"),
        ("taging", [1], [1], (), "Did you mean 'tagging'"),
    ],
)
def test_missing_or_unknown_answers_are_refused(kind, gold, found, labels, message):
    for function in (metrics.score, metrics.items):
        with pytest.raises(InputError, match=message):
            function(kind, gold, found, labels)


@pytest.mark.parametrize("tags", [UPOS, IOB2])
def test_ten_thousand_sentences_are_scored_quickly(tags):
    gold, found = tagged(tags, 10_000, max_length=40)
    start = time.process_time()
    metrics.score("tagging", gold, found, tags)
    assert time.process_time() - start < 2


def test_ten_thousand_answers_are_scored_quickly():
    gold, found = answered(10_000)
    start = time.process_time()
    metrics.score("span_qa", gold, found)
    assert time.process_time() - start < 2
