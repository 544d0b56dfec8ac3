"""The sweeps of this repository plan without their data."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from planned import ONE, SWEEP, phases_of

from xlray.cli import tables
from xlray.cli.sweep_file import load_sweep
from xlray.config.overrides import with_fields
from xlray.config.recipes import XLM_R_BASE, Encoder, Subset
from xlray.data.encoders import architecture_of
from xlray.errors import InputError
from xlray.phases.store import Store
from xlray.plan.exposure import exposure
from xlray.plan.forecast import Terms, simulation, summary
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage


@pytest.mark.parametrize("name", ["finnish_9_vs_20", "phang2020", "sizes", "leave_one_out"])
def test_the_real_questions_validate_and_plan_without_their_data(name, tmp_path):
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / f"{name}.py")
    plan = plan_sweep(sweep, None, Storage(tmp_path), assume_sizes=True)
    found = summary(plan, Store(Storage(tmp_path)), Terms(devices=64, price_per_hour=2.0))
    assert found["trials"] == len(sweep.trials()) and found["assumed_sizes"]
    assert 0 < found["wall_hours"] < found["device_hours"] and found["cost"] > 0
    assert found["saved"]["stopping"] == 0  # measure trials are never stopped
    base = with_fields(sweep, {"encoder": f"{XLM_R_BASE.path}@{XLM_R_BASE.revision}"})
    pilot = summary(plan_sweep(base, None, Storage(tmp_path), assume_sizes=True), Store(Storage(tmp_path)))
    assert pilot["device_hours"] < 0.5 * found["device_hours"]


def test_the_study_on_two_cores_is_a_full_two_by_two_with_each_control_in_a_cell_of_its_own():
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / "finnish_9_vs_20_small.py")
    cells = Counter((len(trial.subset.tasks), trial.subset.source) for trial in sweep.trials())
    crossed = {(size, source): 9 for size in (9, 20) for source in ("en", "non-en")}
    assert cells == {(0, "all"): 3, (1, "control"): 3, (1, "text-masked"): 3, **crossed}


def test_the_tuned_question_plans_and_simulates_every_value_of_its_axes(tmp_path):
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / "tuned_9_vs_20.py")
    plan = plan_sweep(sweep, None, Storage(tmp_path), assume_sizes=True)
    found = summary(plan, Store(Storage(tmp_path)), Terms(devices=16))
    assert found["trials"] == 3 + 2 * 4 * 3 * 6 and found["populations"] == {"0": 3, "9-en": 72, "20-en": 72}
    assert [axis["values"] for axis in found["axes"]] == [[[5e-6], [1e-5], [2e-5]], [[1.0], [3.0]]]
    assert found["detectable"]["comparisons"] and "axis    intermediate.learning_rate: 5e-6; 1e-5; 2e-5" in (
        tables.plan_lines(found)
    )
    played, figure = simulation(plan, Store(Storage(tmp_path)), Terms(devices=16))
    assert played["reached"] == {65_536: 147, 131_072: 147} and figure.startswith("<svg")


def test_the_second_recipe_of_9_against_20_trains_nothing_but_targets_again():
    names = ("finnish_9_vs_20", "finnish_9_vs_20_second_recipe")
    sweeps = (load_sweep(Path(__file__).parents[2] / "sweeps" / f"{name}.py") for name in names)
    first, second = (plan_sweep(dataclasses.replace(sweep, seeds=(0,)), None, assume_sizes=True) for sweep in sweeps)
    assert first.phases.keys() == second.phases.keys()  # the same trials
    assert {spec.kind for key, spec in second.all_specs().items() if key not in first.all_specs()} == {"target"}
    sources = Counter(trial.subset.source for trial in first.trials)
    assert sources == {"all": 1, "control": 1, "en": 24, "non-en": 24, "en-shuffled": 4, "en-masked": 4}


@pytest.mark.parametrize("setting", ["intermediate.mixing=uniform", "intermediate.examples_per_task=1000"])
def test_the_variants_of_9_against_20_make_nine_tasks_nine(setting):
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / "finnish_9_vs_20.py")
    sweep = dataclasses.replace(sweep, measure=tuple(s for s in sweep.measure if len(s.tasks) == 9)[:2], seeds=(0,))
    name, _, value = setting.partition("=")
    plan = plan_sweep(with_fields(sweep, {name: value}), None, assume_sizes=True)
    found = [exposure(phases.rungs, ()) for phases in plan.phases.values()]
    assert [round(e.effective_tasks, 6) for e in found if e is not None] == [9, 9]
    assert value == "uniform" or {e.num_distinct for e in found if e is not None} == {9_000}


def test_sizes_are_assumed_only_where_the_files_are_not_here_and_only_when_asked():
    real = dataclasses.replace(SWEEP, measure=(Subset(("mini_topic_en", "mnli")),), explore=())
    plan = plan_sweep(real, None, assume_sizes=True)
    assert plan.sources.assumed == {"mnli train/en"}
    data = {d.task: d for d in next(iter(phases_of(plan, ("mini_topic_en", "mnli")))).data}
    assert (data["mnli"].num_records, data["mnli"].fingerprint) == (392_702, "assumed")
    assert (
        data["mini_topic_en"]
        == plan_sweep(SWEEP, None).all_specs()[next(iter(phases_of(plan_sweep(SWEEP, None), ONE.tasks))).key].data[0]
    )
    with pytest.raises(InputError, match="sizes can be assumed of"):
        architecture_of(Encoder("someone/else", "abc"), None)
