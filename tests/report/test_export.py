"""Exported test predictions: XTREME's formats, the choice of trials and rungs, and the record of every unsealing."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from exported_sweep import ANSWERS, IDS, NEAREST, PREDICTIONS, RUNGS, TAGS, finish, make_sweep, target_phase

from xlray.analysis.results import UNSEALED_FILE
from xlray.cli import main
from xlray.config.execution import Execution
from xlray.errors import InputError, StoreError
from xlray.phases.spec import Phases, Rung, phase_hash
from xlray.phases.store import Store
from xlray.plan.jobs import Job, read_job, write_job
from xlray.report import report
from xlray.report.xtreme_export import export_predictions, xtreme_text
from xlray.storage.journal import append_line, read_lines
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep
from xlray.training.export_model import choose

# Readers of the three formats, written from the description of the script's.


def read_tags(path):
    blocks = path.read_text().split("\n\n")
    return [block.split("\n") for block in [*blocks[:-1], blocks[-1].removesuffix("\n")]]


def read_lines_of(path):
    text = path.read_text()
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- formats -------------------------------------------------------------------------------------------------------


def test_tags_are_one_per_line_with_a_blank_line_between_sentences():
    assert xtreme_text("tagging", TAGS) == "DET\nNOUN\nVERB\n\nX\n\nNOUN\nPUNCT\n"


def test_answers_are_an_object_from_id_to_answer_in_ascii():
    text = xtreme_text("span_qa", ANSWERS, IDS)
    assert json.loads(text) == dict(zip(IDS, ANSWERS, strict=True))
    assert text.isascii()


def test_retrieved_places_are_one_per_line_counted_from_zero():
    assert xtreme_text("retrieval", NEAREST) == "2\n0\n1\n1\n"


def test_answers_must_be_as_many_as_questions():
    with pytest.raises(ValueError, match="zip"):
        xtreme_text("span_qa", ANSWERS, IDS[:2])


# --- what is written -----------------------------------------------------------------------------------------------


def test_the_sealed_predictions_lie_where_the_script_looks_in_the_order_of_the_records(tmp_path):
    document = export_predictions(open_sweep(make_sweep(tmp_path, {"aaa": 2})), tmp_path / "out")
    folder = tmp_path / "out" / "aaa" / "predictions"
    assert list(contents(folder)) == ["tatoeba/test-fi.tsv", "tydiqa/test-fi.json", "udpos/test-fi.tsv"]
    assert read_tags(folder / "udpos" / "test-fi.tsv") == TAGS
    assert json.loads((folder / "tydiqa" / "test-fi.json").read_text()) == dict(zip(IDS, ANSWERS, strict=True))
    assert read_lines_of(folder / "tatoeba" / "test-fi.tsv") == [str(i) for i in NEAREST]
    assert document["trials"][0]["files"] == [str(folder / name) for name in contents(folder)]


def test_targets_of_the_embedded_world_are_written_under_the_names_they_stand_for_too(tmp_path):
    export_predictions(open_sweep(make_sweep(tmp_path, {"aaa": 2}, prefix="mini_")), tmp_path / "out")
    found = contents(tmp_path / "out" / "aaa" / "predictions")
    assert found["mini_udpos/test-fi.tsv"] == found["udpos/test-fi.tsv"]
    assert len(found) == 6


def test_each_trial_is_written_at_its_last_finished_rung(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 2, "bbb": 1, "ccc": 0})
    document = export_predictions(open_sweep(directory))
    assert [(t["trial_id"], t["rung"]) for t in document["trials"]] == [("aaa", 512), ("bbb", 256)]
    written = {trial: contents(directory / "unsealed" / trial / "predictions") for trial in ("aaa", "bbb")}
    assert written["aaa"]["udpos/test-fi.tsv"] == xtreme_text("tagging", TAGS)
    assert written["bbb"]["udpos/test-fi.tsv"] == xtreme_text("tagging", TAGS[::-1])


def test_one_trial_and_one_rung_can_be_asked_for(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 2, "bbb": 1})
    document = export_predictions(open_sweep(directory), trial_id="aaa", rung=256)
    assert [(t["trial_id"], t["rung"]) for t in document["trials"]] == [("aaa", 256)]
    assert not (directory / "unsealed" / "bbb").exists()


def test_a_rung_that_is_in_the_store_but_was_not_reached_by_the_trial_is_not_taken(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 1})
    for task, predictions in PREDICTIONS.items():  # another sweep did them
        finish(Store(Storage(tmp_path)), target_phase(task, "aaa-1", predictions), predictions)
    assert export_predictions(open_sweep(directory))["trials"][0]["rung"] == 256


def test_a_job_of_other_phases_than_those_that_were_measured_exports_nothing(tmp_path):
    directory = make_sweep(tmp_path, {"a": 2})
    targets = read_job(directory / "jobs" / "a.json").phases.rungs[0].targets
    entry = {"event": "rung", "trial_id": "a", "rung_index": 0, "rung": RUNGS[0]}
    open_sweep(directory).journal.append(entry | {"phases": [phase_hash(spec) for spec in targets]})
    assert export_predictions(open_sweep(directory))["trials"]
    open_sweep(directory).journal.append(entry | {"phases": ["of other inputs"]})
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"s: trial a: its stored job must describe .* describes others at rung 256"):
        export_predictions(open_sweep(directory), out)
    with pytest.raises(InputError, match="describes others at rung 256"):
        choose(open_sweep(directory), "a", None, None)
    assert not out.exists() and len(read_lines(directory / UNSEALED_FILE)) == 1


def test_a_rung_whose_trunk_diverged_is_not_finished(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 1})
    open_sweep(directory).journal.append(
        {"event": "rung", "trial_id": "aaa", "rung_index": 1, "rung": 512, "diverged": True}
    )
    assert export_predictions(open_sweep(directory))["trials"][0]["rung"] == 256


def test_a_target_that_diverged_is_named_and_the_others_are_written(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 1}, targets=("udpos", "tatoeba"))
    spec = target_phase("udpos", "aaa-1", TAGS)
    finish(Store(Storage(tmp_path)), spec, None)
    finish(Store(Storage(tmp_path)), target_phase("tatoeba", "aaa-1", NEAREST), NEAREST)
    open_sweep(directory).journal.append({"event": "rung", "trial_id": "aaa", "rung_index": 1, "rung": 512})
    export_predictions(open_sweep(directory), rung=256)
    (found,) = export_predictions(open_sweep(directory))["trials"]
    assert found["missing"] == ["udpos/test-fi.tsv"]
    # The first export's tags were of another rung.
    assert list(contents(directory / "unsealed" / "aaa")) == ["predictions/tatoeba/test-fi.tsv"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trial_id": "aab"}, "no such trial.*Did you mean 'aaa'"),
        ({"rung": 1_024}, "--rung 1024.*256, 512"),
        ({"trial_id": "ccc"}, "trial ccc has finished, but there is none"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_opens_nothing(tmp_path, options, words):
    directory = make_sweep(tmp_path, {"aaa": 2, "ccc": 0})
    with pytest.raises(InputError, match=words):
        export_predictions(open_sweep(directory), **options)
    assert not (directory / UNSEALED_FILE).exists()


def test_a_sweep_without_test_sets_is_refused(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 0}, targets=("udpos",))
    spec = target_phase("udpos", "aaa-0", TAGS)
    spec = dataclasses.replace(spec, evaluations=spec.evaluations[:1])
    finish(Store(Storage(tmp_path)), spec, TAGS)
    phases = Phases((Rung(RUNGS[0], targets=(spec,)),))
    job = Job("aaa", "s", Storage(tmp_path), Execution(), phases, {}, {}, 9, 4, directory / "p" / "x")
    write_job(directory / "jobs" / "aaa.json", job)
    open_sweep(directory).journal.append({"event": "rung", "trial_id": "aaa", "rung_index": 0, "rung": 256})
    with pytest.raises(InputError, match="a test set must have been evaluated"):
        export_predictions(open_sweep(directory))
    assert not (directory / UNSEALED_FILE).exists()


def test_as_many_predictions_as_records_must_be_there(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 0}, targets=("udpos",))
    finish(Store(Storage(tmp_path)), target_phase("udpos", "aaa-0", TAGS), TAGS[:2])
    open_sweep(directory).journal.append({"event": "rung", "trial_id": "aaa", "rung_index": 0, "rung": 256})
    with pytest.raises(InputError, match="one prediction for each of 3 records, but there are 2"):
        export_predictions(open_sweep(directory))


def test_a_damaged_file_is_found_and_deleted_ids_are_asked_for(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 2})
    (tmp_path / "data" / "tydiqa-x" / "references.json").unlink()
    with pytest.raises(InputError, match=r"references\.json.*run the sweep again"):
        export_predictions(open_sweep(directory))
    folder = Store(Storage(tmp_path)).folder(target_phase("udpos", "aaa-1", TAGS))
    (folder / "sealed" / "predictions" / "udpos-test-fi.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="damaged"):
        export_predictions(open_sweep(directory))


# --- the record ----------------------------------------------------------------------------------------------------


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_unsealing_is_recorded_with_the_state_of_the_sweep(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 2, "bbb": 1})
    definition, journal = digest(directory / "sweep.json"), digest(directory / "journal" / "000000.jsonl")
    assert export_predictions(open_sweep(directory))["unsealings"] == 1
    open_sweep(directory).journal.append({"event": "finished", "trial_id": "aaa"})
    assert export_predictions(open_sweep(directory), tmp_path / "out", "aaa")["unsealings"] == 2
    first, second = read_lines(directory / UNSEALED_FILE)
    assert (first["definition"], first["journal"]) == (definition, journal)
    assert second["definition"] == definition and second["journal"] != journal
    assert [t["trial_id"] for t in first["trials"]] == ["aaa", "bbb"]
    assert all(Path(name).is_file() for t in second["trials"] for name in t["files"])
    assert first["time"] < second["time"]


def test_the_record_is_made_before_anything_is_written(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 2})
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(OSError, match="out"):
        export_predictions(open_sweep(directory), tmp_path / "out")
    assert len(read_lines(directory / UNSEALED_FILE)) == 1


def test_an_entry_that_a_crash_tore_is_dropped_and_the_next_is_whole(tmp_path):
    path = tmp_path / UNSEALED_FILE
    append_line(Storage(path.parent), path, {"n": 1})
    with path.open("ab") as file:
        file.write(b'{"n": 2, "ti')
    append_line(Storage(path.parent), path, {"n": 3})
    assert [entry["n"] for entry in read_lines(path)] == [1, 3]


def test_the_report_says_how_often_and_since_when_test_sets_are_open(tmp_path):
    directory = make_sweep(tmp_path, {"aaa": 2})

    def warnings():
        return [w for w in report.write_report(directory)["warnings"] if "opened" in w]

    assert not warnings()
    export_predictions(open_sweep(directory))
    (line,) = warnings()
    assert "opened 1 time, first on 20" in line and "no rung of a trial came after" in line
    open_sweep(directory).journal.append({"event": "rung", "trial_id": "bbb", "rung_index": 0, "rung": 256})
    export_predictions(open_sweep(directory))
    (line,) = warnings()
    assert "opened 2 times" in line and "1 rung of trials came after" in line


# --- the command ---------------------------------------------------------------------------------------------------


def test_without_unseal_the_command_refuses_and_reads_nothing(tmp_path, capsys):
    directory = make_sweep(tmp_path, {"aaa": 2})
    assert main.main(["export-predictions", "s", "--storage", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert "sealed until the design is final" in output.err and len(output.err.splitlines()) == 1
    assert not output.out and not (directory / UNSEALED_FILE).exists() and not (directory / "unsealed").exists()


def test_with_unseal_the_command_prints_one_document(tmp_path, capsys):
    directory = make_sweep(tmp_path, {"aaa": 2})
    options = ["--unseal", "--trial", "aaa", "--rung", "256", "--out", str(tmp_path / "out"), "--json"]
    assert main.main(["export-predictions", str(directory), *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["unsealings"] == 1 and document["trials"][0]["rung"] == 256
    assert len(contents(tmp_path / "out" / "aaa" / "predictions")) == 3
