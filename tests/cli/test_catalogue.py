"""The catalogue: tasks by licence, examples as the model sees them, what is counted, and the registry against the Hub."""

import itertools
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import helpers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from xlray.cli import main
from xlray.cli.task_catalogue import listed, shown
from xlray.cli.task_previews import MAX_MEASURED, Bin, distribution_of, lengths_of, views
from xlray.cli.task_tables import bar, print_comparison, print_tasks, sequence_text
from xlray.config.recipes import XLM_R_BASE
from xlray.data import registry
from xlray.errors import InputError
from xlray.tasks import Generated, Hub, Task, online
from xlray.tasks.online import Comparison, Difference, Unreached, compare
from xlray.tasks.shapes import labelled
from xlray.tasks.structured import tagged
from xlray.tasks.task import CONVERTED, Joined

WORDS = [*"abcdefghij", *(f"w{i}" for i in range(60))]
SHAPE = partial(labelled, text="sentence", label="label", names={"0": "no", "1": "yes"}, left_out=("-1",))
COMMIT = "c" * 40


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


def run(capfd, *arguments):
    code = main.main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    return code, out, err


def test_every_embedded_task_is_shown_with_and_without_an_encoder(capfd, tmp_path):
    helpers.word_tokenizer(tmp_path / "tokenizer.json", WORDS)
    for name in ("mini_udpos", "mini_tydiqa", "mini_tatoeba", "mini_reading_es"):
        code, out, _ = run(capfd, "tasks", "show", name)
        assert code == 0 and "words (split at spaces)" in out and "--encoder" in out
        code, out, _ = run(capfd, "tasks", "show", name, "--encoder", tmp_path)
        assert code == 0 and "as the model sees them" in out and "tokens, before anything is cut" in out
        assert "longer than 128" in out and ("‹" in out) == (name != "mini_tatoeba")


def test_the_document_of_a_task_holds_views_labels_and_lengths(capfd, tmp_path):
    helpers.word_tokenizer(tmp_path / "tokenizer.json", WORDS)
    document = json.loads(run(capfd, "tasks", "show", "mini_udpos", "--encoder", tmp_path, "--json")[1])
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
    code, out, err = run(capfd, "tasks", "show", "squad")
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
    document = json.loads(run(capfd, *arguments, "--json")[1])
    assert len(document["views"]) == 3 and document["lengths"]["counted"] <= 2_000
    code, out, _ = run(capfd, *arguments)
    assert code == 0 and "as the model sees them" in out


# --- tasks check --online ------------------------------------------------------------------------------------------


def hub_folder(folder, **splits):
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        table = pa.table({"sentence": [s for s, _ in rows], "label": [label for _, label in rows]})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def hub_task(identifier, revision=None, splits=None, shape=SHAPE, **more):
    hub = Hub(str(identifier), revision, splits or {"train/en": "train"}, shape, more.pop("config", None))
    return Task("yes_no", "classification", ("en",), hub, labels=("no", "yes"), **more)


def fields(found):
    return [(d.field, d.registry, d.hub) for d in found.differences]


@pytest.fixture
def one_set(tmp_path, monkeypatch):
    """A set in the Hub's layout, and a Hub that is this folder: what it says and what was asked of it."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = hub_folder(tmp_path / "set", train=[("a", 0), ("b", 1), ("c", 1)], validation=[("d", 0)])
    said = SimpleNamespace(licence="mit", commits={COMMIT}, error=None, asked=[], folder=folder)
    build = datasets.load_dataset_builder

    def dataset_info(repository, revision=None, timeout=None):
        said.asked.append((repository, revision))
        if said.error is not None:
            raise said.error
        if repository != "some/set":
            raise failure("RepositoryNotFoundError")
        if revision is not None and revision not in said.commits:
            raise failure("RevisionNotFoundError")
        return SimpleNamespace(sha=COMMIT, card_data=SimpleNamespace(license=said.licence))

    def load_dataset_builder(repository, revision=None, **chosen):
        return build(str(folder) if repository == "some/set" else repository, **chosen)

    monkeypatch.setattr(huggingface_hub, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    return said


@pytest.mark.parametrize(("split", "differs"), [("dev/ja", False), ("train/ja", True)])
def test_an_inside_tag_that_begins_a_span_is_no_difference_of_an_evaluation_set(one_set, split, differs):
    rows = pa.table({"tokens": [["\u5927", "\u962a"]], "ner_tags": [[0, 2]]})
    pq.write_table(rows, one_set.folder / "data" / "train-00000-of-00001.parquet")
    names = ("O", "B-LOC", "I-LOC")
    hub = Hub(str(one_set.folder), None, {split: "train"}, partial(tagged, names=names))
    found = compare([Task("names", "tagging", ("ja",), hub, role="target", labels=names)])
    assert any("must be IOB2" in d.hub for d in found.differences) is differs


def failure(name):
    """One of the Hub's errors, without the response that it is made of."""
    from huggingface_hub import errors

    error = getattr(errors, name).__new__(getattr(errors, name))
    error.args = (f"{name}\nmore lines",)
    return error


def test_a_set_that_is_as_the_registry_says_has_no_difference(one_set):
    splits = {"train/en": "train", "dev/en": "validation"}
    found = compare([hub_task("some/set", COMMIT, splits, num_examples=3, licence="MIT")])
    assert found == Comparison(num_sets=1)
    assert one_set.asked == [("some/set", None), ("some/set", COMMIT)]


def test_an_unknown_set_and_an_unknown_revision_are_differences(one_set):
    found = compare([hub_task("no/set", COMMIT), hub_task("some/set", "d" * 40)])
    assert [d.field for d in found.decisive] == ["id", "revision"] and not found.unreached
    assert found.commits == {"some/set": COMMIT}, "what it could be pinned to"


def test_a_set_that_is_not_pinned_gives_its_commit(one_set):
    found = compare([hub_task("some/set", licence="MIT")])
    assert found.commits == {"some/set": COMMIT} and not found.differences
    one_set.commits.add(CONVERTED)
    assert not compare([hub_task("some/set", CONVERTED)]).commits


def test_configurations_and_splits_that_are_not_there_are_differences(one_set):
    found = compare([hub_task("some/set", splits={"train/en": "train", "dev/en": "dev"}, licence="mit")])
    assert fields(found) == [("split", "dev/en: dev", "train, validation")]
    found = compare([hub_task("some/set", config="plain", licence="mit")])
    assert [(d.field, d.registry) for d in found.decisive] == [("config", "plain")] and "default" in found.differences[
        0
    ].hub


def test_splits_that_are_joined_are_looked_at_one_by_one(one_set):
    both = {"train/en": "train+validation"}
    assert not compare([hub_task("some/set", splits=both, num_examples=4, licence="mit")]).differences
    assert [
        d.field for d in compare([hub_task("some/set", splits={"train/en": "train+more"}, licence="mit")]).decisive
    ] == ["split"]


def test_a_set_that_is_a_script_is_a_difference(one_set):
    (one_set.folder / "set.py").write_text("raise SystemExit\n")
    found = compare([hub_task("some/set", licence="mit")])
    assert [d.field for d in found.decisive] == ["format"] and "script" in found.differences[0].hub


def test_columns_that_give_no_record_are_a_difference_and_single_bad_rows_a_remark(one_set):
    other = partial(labelled, text="text", label="label")
    found = compare([hub_task("some/set", shape=other, licence="mit")])
    assert [d.field for d in found.decisive] == ["columns"] and "3 of 3 rows" in found.differences[0].hub
    named = partial(labelled, text="sentence", label="label", names={"1": "yes"})
    found = compare([hub_task("some/set", shape=named, licence="mit")])
    assert [d.field for d in found.differences] == ["rows"] and not found.decisive
    foreign = partial(labelled, text="sentence", label="label", names={"0": "no", "1": "perhaps"})
    found = compare([hub_task("some/set", shape=foreign, licence="mit")])
    assert "'perhaps'" in found.differences[0].hub, "records are checked against the task's labels"


def test_the_number_of_examples_and_the_licence_differ_without_keeping_a_task_from_being_read(one_set):
    one_set.licence = "cc-by-4.0"
    found = compare([hub_task("some/set", COMMIT, num_examples=5, licence="MIT")])
    assert fields(found) == [("licence", "MIT", "cc-by-4.0"), ("num_examples", "5", "3")] and not found.decisive
    one_set.licence = ["cc-by-4.0", "other"]
    assert not compare([hub_task("some/set", COMMIT, licence="CC BY 4.0 (text: CC0)")]).differences
    one_set.licence = None
    assert not compare([hub_task("some/set", COMMIT, licence="research only")]).differences


def test_where_rows_are_left_out_the_hub_may_hold_more(one_set):
    without = partial(labelled, text="sentence", label="label", names={"1": "yes"}, left_out=("0",))
    assert not compare([hub_task("some/set", shape=without, num_examples=2, licence="mit")]).differences
    assert fields(compare([hub_task("some/set", shape=without, num_examples=4, licence="mit")])) == [
        ("num_examples", "4", "3")
    ]


def test_a_local_folder_is_compared_without_a_network(one_set):
    found = compare([hub_task(one_set.folder, num_examples=2)])
    assert fields(found) == [("num_examples", "2", "3")] and one_set.asked == []


def test_parts_of_a_joined_task_are_compared_once(one_set):
    part = hub_task("some/set", num_examples=9, licence="mit")
    joined = Task("both", "classification", ("en",), Joined((part,)), labels=("no", "yes"))
    found = compare([joined, part])
    assert (found.num_sets, [d.task for d in found.differences]) == (1, ["both/yes_no"])


def test_a_set_that_cannot_be_reached_is_no_difference(one_set):
    tasks = [
        hub_task("some/set", licence="mit"),
        hub_task("far/set"),
        hub_task("some/set", COMMIT, num_examples=4, licence="mit"),
    ]
    for name in ("GatedRepoError", "HfHubHTTPError", "OfflineModeIsEnabled"):
        seen = []

        def progress(line, name=name, seen=seen):
            seen.append(line)
            one_set.error = failure(name) if "far/set" in line else None

        found = compare(tasks, progress)
        assert found.unreached == [Unreached("yes_no", "far/set", name)] and len(seen) == 3
        assert [d.field for d in found.differences] == ["num_examples"]


def test_no_network_is_one_line(one_set, capfd, monkeypatch):
    one_set.error = failure("OfflineModeIsEnabled")
    code, out, err = run(capfd, "tasks", "check", "--online", "squad", "--json")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "Hub must be reachable" in err
    assert len(one_set.asked) == 1, "one question is enough"
    http_error = next(c for c in type(failure("HfHubHTTPError")).__mro__ if c.__name__ == "HTTPError")
    one_set.error = http_error("Name or service not known")  # of the HTTP client, and no OSError
    with pytest.raises(InputError, match="Name or service not known"):
        compare([hub_task("some/set")])


def test_the_command_fails_for_what_cannot_be_read_alone(one_set, capfd, monkeypatch):
    monkeypatch.setitem(registry.ALL_TASKS, "yes_no", hub_task("some/set", num_examples=9, licence="mit"))
    code, out, err = run(capfd, "tasks", "check", "--online", "yes_no")
    assert (code, err) == (0, "") and "num_examples" in out and f"some/set@{COMMIT}" in out
    monkeypatch.setitem(registry.ALL_TASKS, "yes_no", hub_task("some/set", splits={"train/en": "more"}))
    code, out, err = run(capfd, "tasks", "check", "--online", "yes_no", "--json")
    document = json.loads(out)
    assert code == 2 and err.count("\n") == 1 and "split of yes_no" in err
    assert {d["field"] for d in document["differences"]} == {"licence", "split"}
    assert document["commits"] == {"some/set": COMMIT} and document["num_sets"] == 1


def test_comparing_stores_no_data(one_set, tmp_path):
    compare([hub_task("some/set", num_examples=3)])
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".arrow", ".parquet")]


def test_the_screen_of_a_comparison_names_everything(capsys):
    found = Comparison(
        2, [Difference("t", "id", "a/b", "not found")], [Unreached("u", "c/d", "gated")], {"e/f": COMMIT}
    )
    print_comparison(Console(width=100), found)
    out = capsys.readouterr().out
    assert all(part in out for part in ("a/b", "not found", "c/d", "gated", f"e/f@{COMMIT}", "1 of which"))


def test_only_what_keeps_a_task_from_being_read_is_decisive():
    assert {"licence", "num_examples", "rows"}.isdisjoint(online.DECISIVE)
