"""The catalogue: tasks by licence, examples as the model sees them, what is counted."""

import itertools
import json
from pathlib import Path

import helpers
import hub_sets
import pytest
from command_line import xlray
from hub_sets import hub_task
from rich.console import Console

from xlray.cli import main
from xlray.cli.task_catalogue import listed, shown
from xlray.cli.task_previews import MAX_MEASURED, Bin, distribution_of, lengths_of, views
from xlray.cli.task_tables import bar, print_tasks, sequence_text
from xlray.config.recipes import XLM_R_BASE
from xlray.data import registry
from xlray.errors import InputError
from xlray.tasks import Generated, Task

one_set = hub_sets.one_set  # a fixture
WORDS = [*"abcdefghij", *(f"w{i}" for i in range(60))]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return helpers.word_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer.json", WORDS)


def task(kind, **more):
    return Task("made", kind, ("en",), Generated((), lambda split: []), **more)


def text(number, label, words="a b", pair=None):
    return {"id": str(number), "text": words, "text_pair": pair, "label": label}


def one_view(a_task, record, vocabulary):
    (view,) = views(a_task, [record], vocabulary)
    return view


# --- lists ---------------------------------------------------------------------------------------------------------


def test_licences_are_filtered_by_part_of_their_text_in_any_case():
    found = listed(None, None, None, "apache")
    assert found and all("apache" in t["licence"].lower() for t in found)
    assert listed(None, None, None, "APACHE") == found
    assert len(found) < len(listed(None, None, None)) and listed(None, None, None, "no such licence") == []
    both = listed("tagging", None, None, "apache")
    assert 0 < len(both) < len(found) and all(t["kind"] == "tagging" for t in both)


def test_the_command_filters_by_licence(capfd):
    assert main.main(["tasks", "list", "--licence", "apache", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == listed(None, None, None, "apache")


def test_names_are_never_broken_on_a_narrow_terminal(capsys):
    print_tasks(Console(width=100), listed(None, None, None))
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in registry.ALL_TASKS) and max(map(len, out.splitlines())) <= 100


# --- examples as the model sees them -------------------------------------------------------------------------------


def test_the_head_of_a_class_reads_the_first_token(vocabulary):
    yes_no = task("classification", labels=("no", "yes"))
    view = one_view(yes_no, text(7, "yes", "a b", "c"), vocabulary)
    assert view.sequences == (("<s>", "a", "b", "</s>", "</s>", "c", "</s>"),)
    assert (view.record, view.reads, view.label, view.window, view.num_windows) == ("7", ((0,),), "yes", 1, 1)
    assert one_view(yes_no, text(7, None), vocabulary).label == "none"


def test_a_value_is_shown_as_it_is_and_as_the_model_gets_it(vocabulary):
    view = one_view(task("regression", scale=(0.0, 5.0)), text(0, 3.5), vocabulary)
    assert view.label == "3.5, to the model 0.700"


def test_each_choice_is_a_sequence_of_its_own(vocabulary):
    record = {"id": "x", "context": "a b", "question": "c", "choices": ["d", "e f"], "label": 1}
    view = one_view(task("multiple_choice"), record, vocabulary)
    assert view.sequences == (
        ("<s>", "a", "b", "</s>", "</s>", "c", "d", "</s>"),
        ("<s>", "a", "b", "</s>", "</s>", "c", "e", "f", "</s>"),
    )
    assert view.reads == ((0,), (0,)) and view.label == "choice 2"


def test_a_tag_stands_beside_the_first_piece_of_its_word(vocabulary):
    tags = task("tagging", labels=("O", "B-X"))
    record = {"id": "x", "tokens": ["a", "b-c", "d"], "tags": ["O", "B-X", "O"]}  # b-c is three pieces
    view = one_view(tags, record, vocabulary)
    assert view.reads == ((1, 2, 5),) and view.tags == ("O", "B-X", "O")
    shown_text = sequence_text(view.sequences[0], view.reads[0], view.tags, view.answer).plain
    assert shown_text == "<s> ‹a›/O ‹b›/B-X <unk> c ‹d›/O </s>"
    assert one_view(tags, {**record, "tags": None}, vocabulary).tags == ()


def test_a_long_sentence_is_shown_by_its_first_window(vocabulary):
    record = {"id": "x", "tokens": ["a"] * 300, "tags": ["O"] * 300}
    view = one_view(task("tagging", labels=("O", "B-X")), record, vocabulary)
    assert (view.window, view.num_windows, len(view.sequences[0]), len(view.tags)) == (1, 2, 256, 254)


def test_of_a_passage_the_window_with_the_answer_is_shown(vocabulary):
    context = " ".join([*(["a"] * 500), "b", "c", *(["a"] * 100)])
    record = {"id": "x", "question": "d", "context": context, "answers": [{"text": "b c", "start": 1000}]}
    view = one_view(task("span_qa"), record, vocabulary)
    first, last = view.answer
    assert (view.window, view.num_windows) == (2, 3) and view.label == "'b c'"
    assert view.sequences[0][first : last + 1] == ("b", "c") and view.sequences[0][:4] == ("<s>", "d", "</s>", "</s>")
    assert view.reads[0][:2] == (0, 4) and len(view.sequences[0]) <= 384
    none = one_view(task("span_qa"), {**record, "answers": []}, vocabulary)
    assert (none.window, none.answer, none.label) == (1, None, "no answer")


def test_what_is_read_and_what_is_the_answer_are_marked_in_plain_text():
    pieces = ["<s>", "q", "</s>", "</s>", "a", "b", "c", "</s>"]
    assert sequence_text(pieces, (0, 4, 5, 6), (), (5, 5)).plain == "‹<s>› q </s> </s> ‹a [b] c› </s>"
    assert sequence_text(pieces, (), (), None).plain == " ".join(pieces)


def test_long_sequences_are_printed_with_gaps_around_the_answer_and_the_border():
    pieces = ["<s>", *(f"q{i}" for i in range(60)), "</s>", "</s>", *(f"c{i}" for i in range(300)), "</s>"]
    answer = (263, 264)
    printed = sequence_text(pieces, (0, *range(63, 363)), (), answer).plain
    assert "[c200 c201]" in printed and "</s> </s>" in printed and printed.endswith("</s>")
    assert "c100 " not in printed and len(printed.split()) < 110
    gaps = [
        int(word)
        for before, word in zip(printed.split(), printed.split()[1:], strict=False)
        if before == "…" and word.isdigit()
    ]
    printed_pieces = sum(word.strip("‹›[]") in pieces for word in printed.split())
    assert len(gaps) == 3 and printed_pieces + sum(gaps) == len(pieces)


# --- counts --------------------------------------------------------------------------------------------------------


def test_lengths_are_tokens_with_special_ones_or_words(vocabulary):
    records = [text(i, "no", " ".join(["a"] * (i + 1)), "b b") for i in range(100)]
    tokens = lengths_of(task("classification", labels=("no", "yes")), records, vocabulary)
    words = lengths_of(task("classification", labels=("no", "yes")), records, None)
    assert (words.unit, words.median, words.p95, words.maximum) == ("words", 52, 97, 102)
    assert (tokens.unit, tokens.median, tokens.p95, tokens.maximum) == ("tokens", 56, 101, 106)
    assert words.over == {128: 0, 256: 0, 384: 0} and sum(b.count for b in words.histogram) == 100


def test_nothing_is_cut_before_it_is_measured(vocabulary):
    long = text(0, "no", " ".join(["a"] * 1000))
    found = lengths_of(task("classification", labels=("no", "yes")), [long, text(1, "no")], vocabulary)
    assert found.maximum == 1002 and found.over == {128: 1, 256: 1, 384: 1}
    passage = {"id": "x", "question": "a", "context": long["text"], "answers": []}
    assert lengths_of(task("span_qa"), [passage], vocabulary).maximum == 1005
    choices = {"id": "x", "context": "a", "question": "b", "choices": ["c", "d e f"], "label": 0}
    assert lengths_of(task("multiple_choice"), [choices], vocabulary).maximum == 9
    assert lengths_of(task("multiple_choice"), [choices], None).maximum == 5


def test_at_most_two_thousand_records_are_measured_from_all_over_the_split(vocabulary):
    records = [text(i, "no", "a" if i < 9_000 else "a b c") for i in range(10_000)]
    found = lengths_of(task("classification", labels=("no", "yes")), records, vocabulary)
    assert (found.counted, found.total) == (MAX_MEASURED, 10_000) and found.maximum == 5
    assert found.histogram[-1].count == MAX_MEASURED // 10


def test_the_last_bin_of_lengths_takes_the_long_tail():
    records = [text(i, "no", " ".join(["a"] * (10 + i % 20))) for i in range(200)] + [text("far", "no", "a " * 5000)]
    histogram = lengths_of(task("classification", labels=("no", "yes")), records, None).histogram
    assert len(histogram) <= 13 and histogram[-1].high == 5000 and sum(b.count for b in histogram) == 201
    assert all(a.high + 1 == b.low for a, b in itertools.pairwise(histogram))


def test_labels_are_counted_most_frequent_first():
    records = [text(i, f"l{min(i, 29)}") for i in range(40)] + [text("u", None)]
    found = distribution_of(task("classification", labels=tuple(f"l{i}" for i in range(30))), records, None)
    assert (found.what, found.total, found.unlabelled, found.num_distinct) == ("labels", 40, 1, 30)
    assert found.most_common[0] == ("l29", 11) and len(found.most_common) == 20


def test_tags_are_counted_by_token_and_values_by_bin():
    tags = [{"id": "x", "tokens": ["a", "b", "c"], "tags": ["O", "O", "B-X"]}]
    found = distribution_of(task("tagging", labels=("O", "B-X")), tags, None)
    assert (found.what, found.total, found.most_common) == ("tags", 3, (("O", 2), ("B-X", 1)))
    values = distribution_of(task("regression", scale=(0.0, 5.0)), [text(0, 0.0), text(1, 5.0), text(2, 4.6)], None)
    assert values.histogram[0] == Bin(0.0, 0.5, 1) and values.histogram[-1] == Bin(4.5, 5.0, 2)


def test_of_questions_the_answers_are_measured_and_of_text_nothing(vocabulary):
    answers = [[{"text": "b c", "start": 2}], []]
    records = [{"id": str(i), "question": "a", "context": "a b c", "answers": a} for i, a in enumerate(answers)]
    found = distribution_of(task("span_qa"), records, vocabulary)
    assert (found.total, found.unlabelled, found.lengths.maximum, found.lengths.unit) == (1, 1, 2, "tokens")
    assert distribution_of(task("span_qa"), records[1:], vocabulary).lengths is None
    assert distribution_of(task("mlm"), [{"id": "x", "text": "a", "text_pair": None}], vocabulary) is None


def test_bars_are_as_long_as_their_counts_and_never_vanish():
    assert (bar(10, 10, 8), bar(5, 10, 8), bar(0, 10, 8)) == ("█" * 8, "█" * 4, "")
    assert bar(1, 10_000, 8) == "▏"


# --- tasks show ----------------------------------------------------------------------------------------------------


def test_every_embedded_task_is_shown_with_and_without_an_encoder(capfd, tmp_path):
    helpers.word_tokenizer(tmp_path / "tokenizer.json", WORDS)
    for name in ("mini_udpos", "mini_tydiqa", "mini_tatoeba", "mini_reading_es"):
        code, out, _ = xlray(capfd, "tasks", "show", name)
        assert code == 0 and "words (split at spaces)" in out and "--encoder" in out
        code, out, _ = xlray(capfd, "tasks", "show", name, "--encoder", tmp_path)
        assert code == 0 and "as the model sees them" in out and "tokens, before anything is cut" in out
        assert "longer than 128" in out and ("‹" in out) == (name != "mini_tatoeba")


def test_the_document_of_a_task_holds_views_labels_and_lengths(capfd, tmp_path):
    helpers.word_tokenizer(tmp_path / "tokenizer.json", WORDS)
    document = json.loads(xlray(capfd, "tasks", "show", "mini_udpos", "--encoder", tmp_path, "--json")[1])
    assert document["split"] == "train/en" and document["files"] == {} and document["unread"] == {}
    assert len(document["views"]) == len(document["examples"]) == 3
    view, record = document["views"][0], document["examples"][0]
    assert view["record"] == record["id"] and view["tags"] == record["tags"]
    assert document["distribution"]["what"] == "tags" and document["lengths"]["unit"] == "tokens"
    assert document["sizes"]["train/en"] == document["lengths"]["total"]


def test_sources_name_files_and_places_on_the_hub():
    document = shown("udpos", None)
    assert document["files"]["dev/fi"] == ["dev-fi.tsv"] and document["source"] == "udpos"
    assert document["hub_splits"]["dev/fi"] == {"config": "udpos.Finnish", "split": "validation"}


def test_a_set_that_is_not_in_the_cache_is_shown_without_examples(capfd):
    code, out, err = xlray(capfd, "tasks", "show", "squad")
    assert code == 0 and "not here" in out and "rajpurkar/squad" in out and "Traceback" not in err


def test_a_set_on_the_hub_that_is_here_is_shown_like_files(one_set, monkeypatch):
    splits = {"dev/en": "validation", "train/en": "train"}
    monkeypatch.setitem(registry.ALL_TASKS, "yes_no", hub_task(one_set.folder, splits=splits))
    document = shown("yes_no", None)
    assert document["sizes"] == {"dev/en": 1, "train/en": 3} and document["unread"] == {}
    assert (document["split"], document["distribution"]["most_common"]) == ("train/en", (("yes", 2), ("no", 1)))


def test_a_damaged_file_is_still_an_error(tmp_path):
    (tmp_path / "udpos").mkdir()
    (tmp_path / "udpos" / "train-en.tsv").write_text("The\tARTICLE\n")
    with pytest.raises(InputError, match="ARTICLE"):
        shown("udpos", tmp_path)


def test_an_encoder_without_a_tokenizer_or_a_revision_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold tokenizer\.json"):
        shown("mini_udpos", None, str(tmp_path))
    with pytest.raises(InputError, match="pinned revision"):
        shown("mini_udpos", None, "some/encoder")
    for name in ("xlm-roberta-base", "FacebookAI/xlm-roberta-base"):
        with pytest.raises(InputError, match=rf"Did you mean FacebookAI/xlm-roberta-base@{XLM_R_BASE.revision}\?"):
            shown("mini_udpos", None, name)


@pytest.mark.parametrize("name", ["copa_en", "tydiqa", "panx", "glue_stsb", "tatoeba", "trec_qc"])
def test_published_data_are_shown_in_tokens(capfd, name):
    root = Path(__file__).parents[3] / "shared"
    encoder = root / "encoders/xlmr-mini"
    if not (root / "data" / name).is_dir() or not encoder.is_dir():
        pytest.skip("the published files are not here")
    arguments = ("tasks", "show", name, "--data-dir", root / "data", "--encoder", encoder)
    document = json.loads(xlray(capfd, *arguments, "--json")[1])
    assert len(document["views"]) == 3 and document["lengths"]["counted"] <= 2_000
    code, out, _ = xlray(capfd, *arguments)
    assert code == 0 and "as the model sees them" in out
