"""Keys of texts, the list of Finnish target texts and its storage, dropping."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlray.data import contamination
from xlray.data.contamination import (
    build_exclusions,
    drop_overlap,
    load_exclusions,
    merge,
    normalise,
    record_keys,
    record_texts,
    store_exclusions,
    target_splits,
    text_key,
    uncovered,
)
from xlray.data.registry import ALL_TASKS
from xlray.errors import InputError
from xlray.storage.files import atomic_file, write_atomically
from xlray.storage.storage import Storage
from xlray.tasks import TASKS, digest, load_records
from xlray.tasks.task import Generated, Task

DATA = Path(__file__).parents[3] / "shared/data"
FINNISH = "Presidentti asuu Helsingissä, Mäntyniemessä."

RECORDS: dict[str, dict[str, Any]] = {
    "classification": {"id": "1", "text": "{}", "text_pair": "another", "label": "yes"},
    "regression": {"id": "1", "text": "one text", "text_pair": "{}", "label": 0.5},
    "multiple_choice": {"id": "1", "context": "{}", "question": "q", "choices": ["x", "y"], "label": 1},
    "span_qa": {"id": "1", "question": "{}", "context": "Pori", "answers": []},
    "tagging": {"id": "1", "tokens": "{}", "tags": None},
    "mlm": {"id": "1", "text": "{}", "text_pair": None},
    "retrieval": {"id": "1", "text": "a", "text_pair": "{}"},
}


def record(kind, text, number=1):
    """A record of that kind of which one text is `text`."""
    filled = {k: text if v == "{}" else v for k, v in RECORDS[kind].items()} | {"id": str(number)}
    if kind == "tagging":
        filled |= {"tokens": text.split(), "tags": ["yes"] * len(text.split())}
    return filled


def target(name, kind="classification", **splits):
    """A target with the texts of its splits, such as dev_fi=[...]."""
    records = {
        key.replace("_", "/"): [record(kind, text, number) for number, text in enumerate(texts)]
        for key, texts in splits.items()
    }
    labels = ("yes", "no") if kind in ("classification", "tagging") else ()
    languages = tuple(dict.fromkeys(("en", "fi", *(key[-2:] for key in splits))))
    return Task(name, kind, languages, Generated(tuple(records), records.__getitem__), "target", labels)


def load(task, split):
    return load_records(task, split)


def listed(*texts):
    return build_exclusions([target("t", dev_fi=list(texts))], load)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hän sanoi: ”Ei – kiitos!”\n", "hän sanoi ei kiitos"),
        ("Ha\u0308n", "hän"),  # a letter and its mark are one letter
        ("\u1e97 T\u0308", "\u1e97 \u1e97"),  # also where folding takes them apart
        ("ＡＢＣ１２３", "abc123"),  # full width
        ("STRASSE straße", "strasse strasse"),
        ("ΣΊΣΥΦΟΣ σίσυφος", "σίσυφοσ σίσυφοσ"),
        ("Привет, МИР", "привет мир"),
        ("「こんにちは」、世界。", "こんにちは 世界"),
        ("हिन्दी में", "हिन्दी में"),  # vowel signs stay
        ("ภาษาไทยที่นี่!", normalise("ภาษาไทยที่นี่")),
        ("می‌خواهم ۱۲", "می خواهم ۱۲"),
        ("한국어 문장.", "한국어 문장"),
        ("snake_case, 3.14", "snake case 3 14"),
        ("?!…", ""),
    ],
)
def test_normalised_texts_of_many_scripts(text, expected):
    assert normalise(text) == expected


def test_marks_make_other_texts():
    assert len({text_key(text) for text in ("कि", "की", "क")}) == 3
    assert text_key("ก่า") != text_key("กา")


@given(st.text())
def test_normalising_twice_changes_nothing_and_leaves_letters_digits_and_single_spaces(text):
    once = normalise(text)
    assert normalise(once) == once == once.strip() and "  " not in once
    assert normalise(f"\n{text} !") == once


@given(st.text(alphabet=st.characters(codec="ascii")), st.sampled_from([" ", " - ", ". ", "\n\n", "…"]))
def test_case_and_punctuation_do_not_matter(text, gap):
    assert text_key(gap.join(text.upper().split())) == text_key(text) == text_key(f"({text}).")


def test_keys_are_64_bits_that_never_change():
    assert text_key("Onko tämä sama?") == text_key("ONKO TÄMÄ – sama") < 2**64
    assert text_key("a b c d") == 0x2ADAC8790AE47559  # b2sum -l 64, little endian


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("Kimi Räikkönen", True),
        ("Räikkönen!", False),
        ("Ei ... ei!", True),
        ("1 2", True),
        ("我们今天去", False),  # 5 characters
        ("我们今天去学", True),
        ("我 们 今 天 去", False),  # divided into tokens or not
        ("東京タワ", False),
        ("東京タワーは", True),
        ("학교에", False),
        ("학교에 간다", True),
        ("", False),
    ],
)
def test_a_text_is_compared_from_two_words_on(text, compared):
    assert bool(record_keys(record("mlm", text), "mlm")) == compared


def test_texts_of_every_kind_of_record():
    context = {"id": "1", "question": "q", "context": "c"}
    assert record_texts(context | {"answers": [{"text": "c", "start": 0}]}, "span_qa") == ["q", "c"]
    assert record_texts(context | {"choices": ["x", "y"], "label": 0}, "multiple_choice") == ["q", "c"]
    assert record_texts(context | {"context": "", "choices": ["x", "y"], "label": 0}, "multiple_choice") == ["q"]
    assert record_texts({"id": "1", "tokens": ["a", "b", "."], "tags": None}, "tagging") == ["a b ."]
    for kind in ("classification", "regression", "mlm", "retrieval"):
        assert record_texts({"id": "1", "text": "a", "text_pair": "b", "label": None}, kind) == ["a", "b"]
        assert record_texts({"id": "1", "text": "a", "text_pair": None, "label": None}, kind) == ["a"]


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_of_every_kind_is_dropped_for_a_shared_text_and_for_nothing_else(kind):
    exclusions = listed(FINNISH)
    shared, other = record(kind, FINNISH.upper()), record(kind, "Presidentti asuu Helsingissä, Espoossa.")
    assert drop_overlap([other, shared, other], kind, exclusions) == ([other, other], [shared])


def test_choices_and_answers_drop_nothing():
    choice = RECORDS["multiple_choice"] | {"context": "", "choices": [FINNISH, "y"]}
    assert drop_overlap([choice], "multiple_choice", listed(FINNISH)) == ([choice], [])


@given(
    kind=st.sampled_from(sorted(RECORDS)),
    target_kind=st.sampled_from(["classification", "span_qa", "tagging", "retrieval"]),
    words=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=4, max_size=8),
    others=st.lists(st.sampled_from(["one two three four", "yksi kaksi kolme neljä viisi"]), max_size=4),
)
def test_a_record_that_shares_a_long_text_is_always_dropped(kind, target_kind, words, others):
    text = " ".join(words)
    if not record_keys(record("mlm", text), "mlm"):  # letters of scripts without spaces are less than words
        return
    exclusions = build_exclusions([target("t", target_kind, test_fi=[*others, text])], load)
    shared = record(kind, "  " + " \t ".join(words) + " ...")
    kept, dropped = drop_overlap([record(kind, "something else is this here"), shared], kind, exclusions)
    assert shared in dropped and len(kept) == 1


@given(st.lists(st.sampled_from([FINNISH, "a b c d", "e f g h i", "short", "k l m n"]), max_size=20), st.randoms())
def test_dropping_does_not_depend_on_the_order(texts, rng):
    exclusions = listed("k l m n", FINNISH, "short")
    records = [record("mlm", text, number) for number, text in enumerate(texts)]
    kept, dropped = drop_overlap(records, "mlm", exclusions)
    assert sorted([*kept, *dropped], key=lambda r: int(r["id"])) == records
    assert [r["text"] in (FINNISH, "k l m n") for r in records] == [r in dropped for r in records]
    mixed = rng.sample(records, len(records))
    assert {r["id"] for r in drop_overlap(mixed, "mlm", exclusions)[1]} == {r["id"] for r in dropped}


def test_a_list_holds_finnish_texts_of_targets_and_marks_those_that_are_also_english():
    one = target(
        "one", "tagging", train_en=["In both of them", "only in English here"], dev_fi=["in both of THEM", FINNISH]
    )
    two = target("two", "retrieval", all_fi=["An English sentence's Finnish one"], dev_et=["not Finnish at all here"])
    other = replace(target("other", "tagging", train_en=[FINNISH]), role="intermediate", languages=("en",))
    exclusions = build_exclusions([two, other, one], load)
    texts = ["in both of them", FINNISH, "An English sentence's Finnish one"]
    assert exclusions.keys.dtype == np.uint64
    assert exclusions.keys.tolist() == sorted(text_key(text) for text in texts)
    assert exclusions.keys[exclusions.in_english].tolist() == [text_key("in both of them")]
    found = [(s.task, s.split, s.digest, s.num_keys) for s in exclusions.sources]
    digests = {split: digest(load(one, split)) for split in ("train/en", "dev/fi")}
    assert found == [
        ("one", "dev/fi", digests["dev/fi"], 2),
        ("one", "train/en", digests["train/en"], 1),
        ("two", "all/fi", digest(load(two, "all/fi")), 1),
    ]


def test_the_same_data_make_the_same_version_in_any_order_and_other_data_another():
    tasks = [target("one", dev_fi=[FINNISH, "a b c d"]), target("two", test_fi=["e f g h"])]
    version = build_exclusions(tasks, load).version
    assert len(version) == 16 and int(version, 16) >= 0
    assert build_exclusions(tasks[::-1], load).version == version
    assert build_exclusions(tasks[:1], load).version != version
    assert build_exclusions([*tasks, target("three", test_fi=["e f g h"])], load).version != version


def test_a_list_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one target must be there"):
        build_exclusions([target("t", dev_fi=[FINNISH])], lambda task, split: None)


def test_every_finnish_split_of_every_target_is_looked_for():
    splits = {(task.name, split) for task, split in target_splits(ALL_TASKS.values())}
    assert {("udpos", "dev/fi"), ("panx", "test/fi"), ("tydiqa", "test/fi"), ("tatoeba", "all/fi")} <= splits
    assert {("mini_panx", "dev/fi"), ("mini_tatoeba", "test/fi")} <= splits
    assert len(splits) == 7 + 8


def test_a_stored_list_comes_back_whole_and_holds_no_text(tmp_path):
    assert load_exclusions(Storage(tmp_path)) is None
    made = build_exclusions([target("t", train_en=["a b c d"], dev_fi=[FINNISH, "a b c d"])], load)
    store_exclusions(Storage(tmp_path), made)
    found = load_exclusions(Storage(tmp_path))
    assert found.keys.tolist() == made.keys.tolist() and found.in_english.tolist() == made.in_english.tolist()
    assert (found.sources, found.version) == (made.sources, made.version)
    folder = tmp_path / "exclusions"
    assert {p.name for p in folder.iterdir()} == {f"{made.version}.json", f"{made.version}.npy", "current"}
    assert (folder / "current").read_text().strip() == made.version
    assert not any(b"Helsingi" in p.read_bytes() for p in folder.iterdir())


def test_the_stored_list_is_used_although_more_finnish_files_appear(tmp_path):
    few, more = listed(FINNISH), listed(FINNISH, "tämä on uusi lause")
    store_exclusions(Storage(tmp_path), few)
    again = load_exclusions(Storage(tmp_path))
    new = [record("mlm", "Tämä on uusi lause.")]
    assert again.version == few.version and drop_overlap(new, "mlm", again) == (new, [])
    found = {("t", "dev/fi"): "other", ("u", "dev/fi"): "new"}
    assert uncovered(again, found) == ["t dev/fi", "u dev/fi"]
    assert uncovered(again, {("t", "dev/fi"): few.sources[0].digest}) == []
    store_exclusions(Storage(tmp_path), more)  # on request
    assert drop_overlap(new, "mlm", load_exclusions(Storage(tmp_path))) == ([], new)
    assert (tmp_path / "exclusions" / f"{few.version}.npy").exists()


@pytest.mark.parametrize("torn", ["atomic_file", "write_atomically"])
def test_a_torn_write_leaves_the_old_list(tmp_path, monkeypatch, torn):
    old, new = listed(FINNISH), listed("toinen lause on tässä")
    store_exclusions(Storage(tmp_path), old)
    written = {"atomic_file": atomic_file, "write_atomically": write_atomically}

    def fails_at(number):
        calls = []

        def write(path, *arguments):
            calls.append(path)
            if len(calls) == number:
                path.with_name(f".{path.name}.part").write_bytes(b"half")
                raise OSError("no space left on device")
            return written[torn](path, *arguments)

        return write

    for number in (1, 2) if torn == "write_atomically" else (1,):
        monkeypatch.setattr(contamination, torn, fails_at(number))
        with pytest.raises(OSError, match="no space"):
            store_exclusions(Storage(tmp_path), new)
        assert load_exclusions(Storage(tmp_path)).version == old.version


def test_lists_can_be_joined_and_keep_what_they_were_made_from():
    one = build_exclusions([target("t", train_en=["a b c d"], dev_fi=["a b c d", FINNISH])], load)
    other = build_exclusions([target("u", dev_fi=["toinen lause on tässä"])], load)
    both = merge(one, other)
    assert set(both.keys.tolist()) == {*one.keys.tolist(), *other.keys.tolist()}
    assert both.keys[both.in_english].tolist() == one.keys[one.in_english].tolist()
    assert [(s.task, s.split) for s in both.sources] == [("t", "dev/fi"), ("t", "train/en"), ("u", "dev/fi")]
    assert merge(both, one).version == both.version


def test_of_a_sentence_and_its_translation_only_the_finnish_side_is_finnish_data():
    made = build_exclusions([target("t", "retrieval", all_fi=[FINNISH])], load)
    english = [record("mlm", "a"), record("mlm", FINNISH)]
    assert drop_overlap(english, "mlm", made) == (english[:1], english[1:])
    assert len(made.keys) == 1


def test_a_damaged_list_is_refused_and_can_be_recreated(tmp_path, monkeypatch):
    made = listed(FINNISH, "a b c d")
    keys, document = (tmp_path / "exclusions" / f"{made.version}.{suffix}" for suffix in ("npy", "json"))

    def refused(match):
        with pytest.raises(InputError, match=match) as caught:
            load_exclusions(Storage(tmp_path))
        assert "--update" in str(caught.value) and "\n" not in str(caught.value)
        store_exclusions(Storage(tmp_path), made)
        assert load_exclusions(Storage(tmp_path)).version == made.version

    store_exclusions(Storage(tmp_path), made)
    keys.write_bytes(keys.read_bytes()[:-3])
    refused("must be whole, but")
    np.save(keys, made.keys + np.uint64(1))
    refused("not what its name says")
    document.write_text(document.read_text().replace('"in_english": []', '"in_english": [0]'))
    refused("not what its name says")
    document.write_text("{")
    refused("must be whole")
    keys.unlink()
    refused("must be whole")
    (tmp_path / "exclusions/current").write_text("0123456789abcdef\n")
    refused("0123456789abcdef")
    monkeypatch.setattr(contamination, "RULE_VERSION", 2)
    with pytest.raises(InputError, match="made by rule 2 of comparison, but got rule 1"):
        load_exclusions(Storage(tmp_path))


def test_real_english_names_hold_finnish_development_sentences():
    panx = TASKS["panx"]
    if not (DATA / "panx").is_dir():
        pytest.skip(f"{DATA / 'panx'} is not here")
    exclusions = build_exclusions(
        [panx],
        lambda t, s: load_records(t, s, DATA) if (DATA / "panx" / f"{s.replace('/', '-')}.tsv").is_file() else None,
    )
    train = load_records(panx, "train/en", DATA)
    kept, dropped = drop_overlap(train, "tagging", exclusions)
    assert len(kept) + len(dropped) == len(train) == 20_000 and len(dropped) == 28
    assert "star trek deep space nine" in {normalise(record_texts(r, "tagging")[0]) for r in dropped}
    random.Random(0).shuffle(train)
    assert len(drop_overlap(train, "tagging", exclusions)[1]) == 28
