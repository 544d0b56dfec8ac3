import itertools
import threading
import unicodedata

import helpers
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlray.data.tokenization import (
    MAX_QUESTION_TOKENS,
    load_vocabulary,
    open_examples,
    prepare,
    query_half,
    read_counts,
)
from xlray.data.tokenizer import SPECIAL, tokenizer_phase, train_tokenizer
from xlray.errors import InputError
from xlray.phases.spec import DataSpec, TokenizerSpec
from xlray.phases.store import Store
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage

WORDS = [f"word{i}" for i in range(100)]
CLS, SEP, UNKNOWN = 0, 2, 3


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return helpers.word_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer.json", WORDS)


def rows(tmp_path, vocabulary, kind, records, split="train/en", **changes):
    spec = helpers.data_spec("t", kind, split, records, **changes)
    return open_examples(prepare(Storage(tmp_path), spec, records, vocabulary), spec)


def ids(vocabulary, text):
    return [vocabulary.tokenizer.token_to_id(word) for word in text.split()]


def tokens(examples, row):
    return examples.tokens_of(row).tolist()


# --- rows by kind --------------------------------------------------------------------------------------------------


def test_pairs_are_joined_as_xlm_roberta_joins_them(tmp_path, vocabulary):
    records = [
        {"id": "0", "text": "word0 word1", "text_pair": "word2", "label": "no"},
        {"id": "1", "text": "word3", "text_pair": None, "label": "yes"},
        {"id": "2", "text": "word3", "text_pair": None, "label": None},
    ]
    found = rows(tmp_path, vocabulary, "classification", records, "dev/en", labels=("yes", "no"))
    a, b, c, d = ids(vocabulary, "word0 word1 word2 word3")
    assert tokens(found, 0) == [CLS, a, b, SEP, SEP, c, SEP]
    assert tokens(found, 1) == [CLS, d, SEP]
    assert [found.labels_of(i).tolist() for i in range(3)] == [[1], [0], [-1]]
    assert [found.reads_of(i).tolist() for i in range(3)] == [[0]] * 3
    assert found.num_outputs == 2


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(30, 5, (11, 5)), (5, 30, (5, 11)), (30, 30, (8, 8)), (3, 3, (3, 3))]
)
def test_of_a_pair_the_longer_part_is_cut_first(tmp_path, vocabulary, first, second, kept):
    records = [
        {"id": "0", "text": " ".join(WORDS[:first]), "text_pair": " ".join(WORDS[50 : 50 + second]), "label": "a"}
    ]
    found = tokens(rows(tmp_path, vocabulary, "classification", records, labels=("a",), max_length=20), 0)
    assert found == [
        CLS,
        *ids(vocabulary, records[0]["text"])[: kept[0]],
        SEP,
        SEP,
        *ids(vocabulary, records[0]["text_pair"])[: kept[1]],
        SEP,
    ]


@given(first=st.integers(0, 40), second=st.integers(0, 40), longest=st.integers(6, 40))
@settings(max_examples=60, deadline=None)
def test_no_joined_pair_is_longer_than_allowed_or_shorter_than_need_be(vocabulary, first, second, longest):
    from xlray.data.tokenization import _join

    found = _join(vocabulary, list(range(5, 5 + first)), list(range(60, 60 + second)), longest)
    assert len(found) == min(first + second + 4, longest)
    assert found[0] == CLS and found[-1] == SEP and found.count(SEP) == 3


def test_regression_labels_are_scaled_to_zero_and_one(tmp_path, vocabulary):
    records = [
        {"id": str(i), "text": "word0", "text_pair": None, "label": v} for i, v in enumerate((1.0, 5.0, 2.0, None))
    ]
    found = rows(tmp_path, vocabulary, "regression", records, "dev/en", scale=(1.0, 5.0))
    np.testing.assert_allclose(found.labels, [0.0, 1.0, 0.25, np.nan])
    assert found.labels.dtype == np.float32


def test_every_choice_is_a_sequence_of_its_row_and_read_at_its_start(tmp_path, vocabulary):
    records = [
        {
            "id": "0",
            "context": "word0 word1",
            "question": "word2",
            "choices": ["word3", "word4 word5", "word6"],
            "label": 1,
        },
        {"id": "1", "context": "", "question": "word7", "choices": ["word8", "word9"], "label": None},
    ]
    found = rows(tmp_path, vocabulary, "multiple_choice", records, "dev/en")
    a, b, q, *rest = ids(vocabulary, "word0 word1 word2 word3 word4 word5 word6")
    answers = [rest[:1], rest[1:3], rest[3:]]
    assert tokens(found, 0) == list(itertools.chain(*([CLS, a, b, SEP, SEP, q, *x, SEP] for x in answers)))
    assert found.sequence_lengths(0) == [8, 9, 8]
    assert found.reads_of(0).tolist() == [0, 8, 17]
    assert [found.labels_of(i).tolist() for i in range(2)] == [[1], [-1]]
    q, x, y = ids(vocabulary, "word7 word8 word9")
    assert tokens(found, 1) == [CLS, q, SEP, SEP, x, SEP, CLS, q, SEP, SEP, y, SEP]


def test_retrieval_rows_hold_both_sentences(tmp_path, vocabulary):
    records = [{"id": "0", "text": "word0 word1", "text_pair": "word2"}]
    found = rows(tmp_path, vocabulary, "retrieval", records, "dev/fi")
    a, b, c = ids(vocabulary, "word0 word1 word2")
    assert tokens(found, 0) == [CLS, a, b, SEP, CLS, c, SEP]
    assert found.sequence_lengths(0) == [4, 3]
    assert found.references["halves"] == [query_half("word0 word1")]


def test_queries_are_halved_by_their_text():
    halves = [query_half(f"query {i}") for i in range(2000)]
    assert halves == [query_half(f"query {i}") for i in range(2000)]
    assert abs(sum(halves) - 1000) < 120


def test_text_reads_every_token_but_the_special_ones(tmp_path, vocabulary):
    records = [
        {"id": "0", "text": " ".join(WORDS[:20]), "text_pair": "word1 word2"},
        {"id": "1", "text": "word0", "text_pair": None},
    ]
    found = rows(tmp_path, vocabulary, "mlm", records)
    assert [tokens(found, 0)[p] for p in found.reads_of(0)] == ids(vocabulary, records[0]["text"]) + ids(
        vocabulary, "word1 word2"
    )
    assert found.units.tolist() == [3, 1]  # round(0.15 x 22), and at least one
    assert found.num_outputs == 0


# --- long contexts and sentences -----------------------------------------------------------------------------------


def question_record(context, first, last, i=0):
    """The answer is the words `first` to `last` of the context."""
    start = len(" ".join(context[:first])) + (first > 0)
    text = " ".join(context[first : last + 1])
    return {
        "id": str(i),
        "question": "word0 word1",
        "context": " ".join(context),
        "answers": [{"text": text, "start": start}],
    }


@given(length=st.integers(1, 60), data=st.data(), max_length=st.integers(14, 40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_short_answer_lies_in_a_window_and_labels_point_at_its_characters(
    tmp_path_factory, vocabulary, length, data, max_length
):
    room = max_length - 6  # <s> two question tokens </s></s> ... </s>
    stride = room // 2
    first = data.draw(st.integers(0, length - 1))
    last = min(length - 1, first + data.draw(st.integers(0, room - stride - 1)))
    context = [WORDS[i % 100] for i in range(length)]
    record = question_record(context, first, last)
    found = rows(tmp_path_factory.mktemp("qa"), vocabulary, "span_qa", [record], max_length=max_length, stride=stride)
    answered = 0
    covered = set()
    for row in range(len(found)):
        assert len(found.tokens_of(row)) <= max_length
        assert found.reads_of(row)[0] == 0
        spans = found.spans_of(row)
        assert len(spans) == found.num_reads(row) - 1
        covered |= {tuple(span) for span in spans.tolist()}
        for token, (a, b) in zip(found.tokens_of(row)[found.reads_of(row)[1:]], spans, strict=True):
            assert vocabulary.tokenizer.id_to_token(int(token)) == record["context"][a:b]
        start, end = found.labels_of(row)
        if start:
            answered += 1
            assert record["context"][spans[start - 1][0] : spans[end - 1][1]] == record["answers"][0]["text"]
        else:
            assert end == 0
    assert answered >= 1
    assert len(covered) == length  # no token of the context is in no window


def test_what_is_cut_and_what_answer_is_lost_is_counted(tmp_path, vocabulary):
    long = question_record(WORDS[:30], 2, 20, i=1)  # 19 words in windows of 10
    none = {"id": "2", "question": "word0", "context": "word1 word2", "answers": []}
    outside = {**question_record(WORDS[:5], 1, 2, i=3), "answers": [{"text": "word9", "start": 400}]}
    records = [question_record(WORDS[:5], 1, 2), long, none, outside, {**question_record(WORDS[:5], 1, 2, i=4)}]
    records[4]["question"] = " ".join(WORDS * 2)
    spec = DataSpec("t", "span_qa", "train/en", "f", 5, 80, 40)
    short = DataSpec("t", "span_qa", "train/en", "f", 3, 16, 5)
    counts = read_counts(prepare(Storage(tmp_path), spec, records, vocabulary))
    assert {k: counts[k] for k in ("num_truncated", "num_unanswerable", "num_lost_answers")} == {
        **{"num_truncated": 1, "num_unanswerable": 1, "num_lost_answers": 1}
    }
    assert counts["num_cut_tokens"] == 2 * len(WORDS) - MAX_QUESTION_TOKENS
    assert read_counts(prepare(Storage(tmp_path), short, records[:3], vocabulary))["num_lost_answers"] == 1
    texts = [{"id": str(i), "text": " ".join(WORDS[:n]), "text_pair": None, "label": "a"} for i, n in enumerate((3, 9))]
    pairs = DataSpec("t", "classification", "train/en", "f", 2, 6, labels=("a", "b"))
    found = read_counts(prepare(Storage(tmp_path), pairs, texts, vocabulary))
    assert found == {"num_rows": 2, "num_tokens": 11, "num_truncated": 1, "num_cut_tokens": 5}


def test_a_question_without_answer_points_to_the_first_token(tmp_path, vocabulary):
    record = {"id": "0", "question": "word0", "context": "word1 word2", "answers": []}
    found = rows(tmp_path, vocabulary, "span_qa", [record], stride=8)
    assert found.labels_of(0).tolist() == [0, 0]


def test_a_long_question_is_cut_and_one_that_leaves_no_room_is_refused(tmp_path, vocabulary):
    record = {**question_record(WORDS[:5], 1, 2), "question": " ".join(WORDS * 2)}
    found = rows(tmp_path, vocabulary, "span_qa", [record], max_length=80, stride=8)
    assert tokens(found, 0).index(SEP) == 1 + MAX_QUESTION_TOKENS
    with pytest.raises(InputError, match="`max_length` must leave room for the context, but got 67"):
        rows(tmp_path, vocabulary, "span_qa", [record], max_length=67, stride=8)


def test_characters_outside_the_basic_plane_do_not_shift_answers(tmp_path, vocabulary):
    context = "🦌 word1 ﬁ ½ word2 é word3"
    record = {
        "id": "0",
        "question": "word0",
        "context": context,
        "answers": [{"text": "word2", "start": context.index("word2")}],
    }
    found = rows(tmp_path, vocabulary, "span_qa", [record], stride=8)
    start, end = found.labels_of(0)
    spans = found.spans_of(0)
    assert context[spans[start - 1][0] : spans[end - 1][1]] == "word2"


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_windows_of_tags_lose_no_word(tmp_path_factory, vocabulary, lengths):
    tags = ("A", "B", "C")
    records = [
        {"id": str(i), "tokens": [WORDS[j] for j in range(n)], "tags": [tags[j % 3] for j in range(n)]}
        for i, n in enumerate(lengths)
    ]
    found = rows(tmp_path_factory.mktemp("tags"), vocabulary, "tagging", records, max_length=12, labels=tags)
    words = [[] for _ in lengths]
    labels = [[] for _ in lengths]
    for row in range(len(found)):
        assert len(found.tokens_of(row)) <= 12
        assert found.units[row] == found.num_reads(row)
        words[found.record[row]] += found.tokens_of(row)[found.reads_of(row)].tolist()
        labels[found.record[row]] += found.labels_of(row).tolist()
    assert words == [ids(vocabulary, " ".join(r["tokens"])) for r in records]
    assert labels == [[tags.index(tag) for tag in r["tags"]] for r in records]


def test_words_that_the_normaliser_removes_still_get_a_prediction(tmp_path, trained):
    strange = ["a", " ", "\u00a0", "b", "\ufe0f"]
    records = [{"id": "0", "tokens": strange, "tags": ["O"] * 5}]
    found = rows(tmp_path, trained, "tagging", records, "dev/fi", labels=("O",))
    assert found.num_reads(0) == 5
    assert len(set(found.reads_of(0).tolist())) == 5


def test_a_word_is_read_at_its_first_piece_and_cut_if_longer_than_a_window(tmp_path, trained):
    words = ["the", "unbelievablylongwordofmanypieces" * 3, "end"]
    records = [{"id": "0", "tokens": words, "tags": ["X", "Y", "X"]}]
    found = rows(tmp_path, trained, "tagging", records, max_length=10, labels=("X", "Y"))
    pieces = [trained.tokenizer.encode(w, add_special_tokens=False).ids for w in words]
    assert len(pieces[1]) > 10
    reads = [t for row in range(len(found)) for t in found.tokens_of(row)[found.reads_of(row)].tolist()]
    assert reads == [p[0] for p in pieces]
    assert all(len(found.tokens_of(row)) <= 10 for row in range(len(found)))


# --- files ---------------------------------------------------------------------------------------------------------

RECORDS = [{"id": str(i), "text": f"word{i} ☕ ﷽ \u200d 语言 äö", "text_pair": None, "label": "ä"} for i in range(20)]


def test_examples_are_views_of_the_mapped_file(tmp_path, vocabulary):
    found = rows(tmp_path, vocabulary, "classification", RECORDS, labels=("ä",))
    path = str(found.folder / "examples.arrow")
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        ranges = [line.split()[0].split("-") for line in maps if line.rstrip().endswith(path)]
    assert ranges
    for name in ("tokens", "token_offsets", "reads", "labels", "lengths", "spans", "record", "units"):
        array = getattr(found, name)
        address = array.__array_interface__["data"][0]
        assert not array.flags.owndata
        assert len(array) == 0 or any(int(a, 16) <= address <= int(b, 16) for a, b in ranges), name


def test_preparing_twice_gives_the_same_folder_and_does_not_write_again(tmp_path, vocabulary):
    spec = helpers.data_spec("t", "classification", "dev/en", RECORDS, labels=("ä",))
    folder = prepare(Storage(tmp_path), spec, RECORDS, vocabulary)
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert prepare(Storage(tmp_path), spec, [], vocabulary) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert {p.name for p in before} == {"counts.json", "examples.arrow", "references.json"}
    assert open_examples(folder, spec).references["references"] == ["ä"] * 20


@pytest.mark.parametrize("change", [{"max_length": 16}, {"labels": ("ä", "b")}, {"split": "dev/fi"}])
def test_other_lengths_labels_or_splits_lie_in_another_folder(tmp_path, vocabulary, change):
    values = {"split": "dev/en", "labels": ("ä",), **change}
    folder = prepare(
        Storage(tmp_path), helpers.data_spec("t", "classification", records=RECORDS, **values), RECORDS, vocabulary
    )
    assert folder != prepare(
        Storage(tmp_path),
        helpers.data_spec("t", "classification", "dev/en", RECORDS, labels=("ä",)),
        RECORDS,
        vocabulary,
    )


def test_another_tokenizer_lies_in_another_folder(tmp_path, vocabulary):
    other = helpers.word_tokenizer(tmp_path / "tokenizer.json", WORDS[:50])
    spec = helpers.data_spec("t", "classification", "dev/en", RECORDS, labels=("ä",))
    assert prepare(Storage(tmp_path), spec, RECORDS, other) != prepare(Storage(tmp_path), spec, RECORDS, vocabulary)


def test_preparing_at_the_same_time_is_safe(tmp_path, vocabulary):
    spec = helpers.data_spec("t", "classification", "dev/en", RECORDS, labels=("ä",))
    barrier = threading.Barrier(6)
    folders, errors = [], []

    def work():
        barrier.wait()
        try:
            folders.append(prepare(Storage(tmp_path), spec, RECORDS, vocabulary))
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(folders)) == 1
    assert len(open_examples(folders[0], spec)) == 20
    assert [p.name for p in (tmp_path / "data").iterdir()] == [folders[0].name], "staging folders are left behind"


def test_a_crash_while_preparing_leaves_no_folder(tmp_path, vocabulary):
    spec = helpers.data_spec("t", "classification", "dev/en", RECORDS, labels=("ä",))
    with pytest.raises(KeyError):
        prepare(Storage(tmp_path), spec, [{**RECORDS[0], "label": "unknown"}], vocabulary)
    assert list((tmp_path / "data").iterdir()) == []
    assert len(open_examples(prepare(Storage(tmp_path), spec, RECORDS, vocabulary), spec)) == 20


# --- tokenizers ----------------------------------------------------------------------------------------------------

TEXT = [
    {
        "id": str(i),
        "text": f"the old {a} sees the {b} near the river, ääkköset № {i}",
        "text_pair": f"vanha {b} näkee {a} joella",
    }
    for i, (a, b) in enumerate(itertools.product(("bear", "fox", "owl", "karhu", "медведь", "end"), repeat=2))
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "tokenizer.json"
    train_tokenizer(TEXT, 120).save(str(path))
    return load_vocabulary(path, 200)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("answer", ["vanha näkeä", "531 kilometriä", "한국", "क्षि", "👩‍👩‍👧 joella", "ﬁ ½"])
def test_the_right_span_reads_back_the_answer_composed_or_decomposed(tmp_path, trained, answer, form):
    """The tokenizer composes; the span of a letter and its mark must not lose the mark, in any window."""
    before, text = (unicodedata.normalize(form, t) for t in ("karhu näkee ", answer))
    context = f"{before}{text} joella"
    record = {"id": "0", "question": "?", "context": context, "answers": [{"text": text, "start": len(before)}]}
    found = rows(tmp_path, trained, "span_qa", [record], "dev/fi", max_length=64, stride=16)
    (first, last), spans = found.labels_of(0), found.spans_of(0)
    assert first and context[spans[first - 1][0] : spans[last - 1][1]].strip() == text
    composed = {**record, "context": unicodedata.normalize("NFC", context)}
    composed["answers"] = [
        {"text": unicodedata.normalize("NFC", text), "start": len(unicodedata.normalize("NFC", before))}
    ]
    other = rows(tmp_path, trained, "span_qa", [composed], "dev/fi", max_length=64, stride=16)
    assert tokens(found, 0) == tokens(other, 0) and found.labels_of(0).tolist() == other.labels_of(0).tolist()


def test_two_trainings_give_the_same_tokenizer():
    first, second = (train_tokenizer(TEXT, 120).to_str() for _ in range(2))
    assert first == second
    assert train_tokenizer(TEXT[:10], 120).to_str() != first


def test_a_trained_tokenizer_has_xlm_robertas_special_tokens_and_form(trained):
    assert [trained.tokenizer.token_to_id(name) for name in SPECIAL] == list(range(5))
    assert trained.tokenizer.get_vocab_size() <= 120
    assert (trained.cls, trained.sep, trained.mask, trained.size) == (0, 2, 4, 200)
    found = trained.tokenizer.encode("the fox", "karhu")
    assert found.tokens[0] == "<s>" and found.tokens.count("</s>") == 3


@pytest.mark.parametrize(
    "text", ["the old fox", "ﬁne Å", "", "  ", "🦌 and ﷽", "<s> in text", "<mask>", "a\nb\tc", "word\u200dword"]
)
def test_special_characters_are_tokenised_without_an_error(tmp_path, trained, text):
    found = rows(tmp_path, trained, "mlm", [{"id": "0", "text": text, "text_pair": None}])
    assert tokens(found, 0)[0] == CLS and tokens(found, 0)[-1] == SEP
    inside = trained.tokenizer.encode(text, add_special_tokens=False).ids
    assert tokens(found, 0)[1:-1] == inside


def test_the_tokenizer_phase_is_run_once(tmp_path):
    store = Store(Storage(tmp_path))
    spec = TokenizerSpec((helpers.data_spec("text", "mlm", "train/mul", TEXT),), 120, 1)
    leases = Leases(Storage(tmp_path), "test", 60.0)
    path = tokenizer_phase(spec, store, TEXT, "sweep", leases)
    assert tokenizer_phase(spec, store, [], "sweep", leases) == path and not leases.held
    assert load_vocabulary(path).tokenizer.encode("the old fox").tokens[0] == "<s>"


def test_a_vocabulary_without_special_tokens_or_with_too_many_pieces_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold tokenizer\.json"):
        load_vocabulary(tmp_path / "tokenizer.json")
    tokenizer = train_tokenizer(TEXT, 120)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer pieces <= embedding rows.*> 50"):
        load_vocabulary(tmp_path / "tokenizer.json", 50)
    text = (tmp_path / "tokenizer.json").read_text().replace("<mask>", "<musk>")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match="lacks <mask>"):
        load_vocabulary(tmp_path / "tokenizer.json")
