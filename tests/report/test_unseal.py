"""Test scores in the report: opened only when asked for, recorded, stated in every later report."""

import csv
import dataclasses
import itertools
import json

import pytest
from exported_sweep import PREDICTIONS, RUNGS, make_sweep
from reported_sweep import rewrite

from xlray.analysis import Sampling
from xlray.analysis.results import SCORES, UNSEALED_FILE, trials_schema
from xlray.errors import InputError
from xlray.phases.spec import Phases, RetrievalSpec
from xlray.phases.store import Store
from xlray.plan.jobs import read_job, write_job
from xlray.report import report
from xlray.storage import parquet
from xlray.storage.journal import read_lines
from xlray.storage.storage import Storage
from xlray.training.score_files import Outcome, write_outcomes

FEW = Sampling(num_draws=50)
TRIALS_OF = {"aaa": ((), 0), "bbb": ((), 1), "ccc": (("qqp",), 0), "ddd": (("qqp",), 1)}


@pytest.fixture
def sweep(tmp_path):
    return made(tmp_path)


def made(root, languages=("fi",)):
    folder = make_sweep(root, dict.fromkeys(TRIALS_OF, 2), languages=languages)
    (folder / "sweep.json").write_text(
        json.dumps({"name": "s", "languages": list(languages), "targets": [{"task": task} for task in PREDICTIONS]})
    )
    scores, trials = [], []
    for trial, (tasks, seed) in TRIALS_OF.items():
        place = {"trial_id": trial, "cell": f"{len(tasks)}-all" if tasks else "0", "num_tasks": len(tasks)}
        place |= {"tasks": list(tasks), "seed": seed, "role": "measure", "source": "all"}
        trials.append({**place, "status": "finished", "degenerate": False})
        for index, rung in enumerate(RUNGS):
            for task, language in itertools.product(PREDICTIONS, languages):
                row = {**place, "rung": rung, "rung_index": index, "task": task, "language": language, "split": "dev"}
                examples, first = 0 if task == "tatoeba" else 64, language == languages[0]
                value = 40.0 + seed if first else 30.0 + seed
                scores.append(
                    {**row, "metric": "headline", "value": value, "selection": first, "num_examples": examples}
                )
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(scores, SCORES))
    parquet.write_table(folder / "results/trials.parquet", parquet.to_table(trials, trials_schema(languages)))
    return folder


def test_a_report_keeps_test_scores_sealed(sweep):
    report.write_report(sweep, FEW)
    assert not (sweep / "report/tables/by_test.csv").exists() and not (sweep / UNSEALED_FILE).exists()
    assert "stay sealed until" in (sweep / "report/report.html").read_text()


def test_unsealing_shows_test_beside_dev_and_is_recorded_and_stated_ever_after(sweep):
    document = report.write_report(sweep, FEW, unseal=True)
    rows = list(csv.DictReader((sweep / "report/tables/by_test.csv").open()))
    assert {row["target"] for row in rows} == {"fi_accuracy", "without_tatoeba", *PREDICTIONS}
    assert all((float(row["test"]), float(row["dev"])) == (50.0, 40.5) for row in rows) and len(rows) == 10
    (entry,) = read_lines(sweep / UNSEALED_FILE)
    assert entry["event"] == "report" and entry["trials"] == list(TRIALS_OF) and len(entry["definition"]) == 64
    assert any("Test sets were opened 1 time" in warning for warning in document["warnings"])
    later = report.write_report(sweep, FEW)
    assert any("Test sets were opened 1 time" in warning for warning in later["warnings"])
    assert not (sweep / "report/tables/by_test.csv").exists() and len(read_lines(sweep / UNSEALED_FILE)) == 1


def test_without_test_scores_nothing_is_recorded(sweep):
    for path in (sweep / "jobs").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"scored at the rung of the answer, but aaa\.json of its trial is not there"):
        report.write_report(sweep, FEW, unseal=True)
    assert not (sweep / UNSEALED_FILE).exists()


def test_a_trial_without_one_target_is_left_out(sweep):
    targets = read_job(sweep / "jobs" / "bbb.json").phases.rungs[1].targets
    (spec,) = [spec for spec in targets if isinstance(spec, RetrievalSpec)]
    (Store(Storage(sweep.parents[1])).folder(spec) / "DONE").unlink()
    report.write_report(sweep, FEW, unseal=True)
    assert read_lines(sweep / UNSEALED_FILE)[0]["trials"] == ["aaa", "ccc", "ddd"]
    said = (
        "Of 4 trials 1 have no test score of every target and are in no column: the phase that scores tatoeba is not in"
    )
    assert said in (sweep / "report/tables/by_test.md").read_text()


def test_test_scores_are_those_of_the_trials_at_the_best_values_of_an_axis(sweep):
    """Two learning rates, each with its own trials: the answer, its dev scores and its test scores are of the better one."""
    with_axis = {"ccc": "lr=1e-5", "ddd": "lr=1e-5", "eee": "lr=2e-5", "fff": "lr=2e-5"}
    for old, new in (("ccc", "eee"), ("ddd", "fff")):
        (sweep / f"jobs/{new}.json").write_text((sweep / f"jobs/{old}.json").read_text())
    definition = json.loads((sweep / "sweep.json").read_text())
    definition["vary"] = [{"fields": ["intermediate.learning_rate"], "rows": [[1e-5], [2e-5]]}]
    (sweep / "sweep.json").write_text(json.dumps(definition))

    def change(row):
        copies = {"ccc": ("ccc", "eee"), "ddd": ("ddd", "fff")}.get(row["trial_id"], (row["trial_id"],))
        made = []
        for name in copies:
            setting = with_axis.get(name, "")
            better = {"value": row["value"] + 5 * (setting == "lr=2e-5")} if "value" in row else {}
            made.append(
                {**row, **better, "trial_id": name, "cell": f"{row['cell']} {setting}".strip(), "setting": setting}
            )
        return made

    rewrite(sweep, change)
    report.write_report(sweep, FEW, unseal=True)
    assert read_lines(sweep / UNSEALED_FILE)[0]["trials"] == ["aaa", "bbb", "eee", "fff"]
    rows = list(csv.DictReader((sweep / "report/tables/by_test.csv").open()))
    assert {(row["cell"], float(row["dev"])) for row in rows} == {("0", 40.5), ("1-all", 45.5)}


def test_every_language_of_a_sweep_is_opened_once_and_has_rows_of_its_own(tmp_path):
    sweep = made(tmp_path, ("fi", "et"))
    report.write_report(sweep, FEW, unseal=True)
    rows = list(csv.DictReader((sweep / "report/tables/by_test.csv").open()))
    finnish, estonian = (
        ("fi_accuracy", "without_tatoeba", *PREDICTIONS),
        ("et_accuracy", *(f"{t}@et" for t in PREDICTIONS)),
    )
    found = {(row["target"], row["cell"]): (float(row["dev"]), float(row["test"])) for row in rows}
    expected = dict.fromkeys(finnish, (40.5, 50.0)) | dict.fromkeys(estonian, (30.5, 45.0))
    assert found == {(name, cell): value for name, value in expected.items() for cell in ("0", "1-all")}
    (entry,) = read_lines(sweep / UNSEALED_FILE)
    assert entry["languages"] == ["fi", "et"]
    text = (sweep / "report/tables/by_test.md").read_text()
    assert "Finnish test" not in text and "further language" not in text


def test_a_language_without_a_test_set_has_no_mean_and_the_table_says_why(tmp_path):
    sweep = made(tmp_path, ("fi", "et"))

    def without_estonian(spec):
        kept = [e for e in spec.evaluations if not (e.sealed and e.language == "et")]
        spec = dataclasses.replace(spec, parent="half", evaluations=tuple(kept))
        return spec, [Outcome(e, {"headline": 50.0}, {}, 3, PREDICTIONS["udpos"]) for e in kept]

    rewritten(sweep, "udpos", without_estonian)
    report.write_report(sweep, FEW, unseal=True)
    targets = {row["target"] for row in csv.DictReader((sweep / "report/tables/by_test.csv").open())}
    assert {"fi_accuracy", "udpos", "tydiqa@et"} <= targets and not {"et_accuracy", "udpos@et"} & targets
    text = (sweep / "report/tables/by_test.md").read_text()
    assert "Estonian: no test file of udpos was there when it ran (4)" in text


def rewritten(sweep, task, change):
    """Every job of the sweep with the phases of one target changed, and these phases stored again."""
    store = Store(Storage(sweep.parents[1]))
    for path in (sweep / "jobs").iterdir():
        job, rungs = read_job(path), []
        for rung in job.phases.rungs:
            specs = []
            for spec in rung.targets:
                if spec.evaluations[0].data.task == task:
                    spec, outcomes = change(spec)
                    with store.staging(spec) as staged:
                        write_outcomes(staged, outcomes)
                        store.commit(spec, staged, {"num_steps": 4})
                specs.append(spec)
            rungs.append(dataclasses.replace(rung, targets=tuple(specs)))
        write_job(path, dataclasses.replace(job, phases=Phases(tuple(rungs))))


def outcome(evaluation):
    scores = {} if evaluation.sealed else {"headline": 50.0}
    return Outcome(evaluation, scores, {}, 3, PREDICTIONS[evaluation.data.task])


def without_labels(spec):
    spec = dataclasses.replace(spec, parent="hidden")
    return spec, [outcome(e) for e in spec.evaluations]


def without_file(spec):
    spec = dataclasses.replace(spec, parent="absent", evaluations=spec.evaluations[:1])
    return spec, [outcome(e) for e in spec.evaluations]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_labels, "the test set of udpos has no labels"),
        (without_file, "no test file of udpos was there when it ran"),
    ],
)
def test_why_there_are_no_test_scores_is_reported_as_it_is(sweep, change, said):
    rewritten(sweep, "udpos", change)
    with pytest.raises(InputError, match=f"at the rung of the answer, but {said}"):
        report.write_report(sweep, FEW, unseal=True)
    assert not (sweep / UNSEALED_FILE).exists()
