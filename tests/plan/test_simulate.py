"""The schedule on a virtual clock: what must hold whatever the costs are."""

import dataclasses
import itertools
from xml.etree import ElementTree

import pytest

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Intermediate, Pretraining, Subset, Target
from xlray.config.sweep import Stopping, Sweep
from xlray.phases.spec import TrainSpec
from xlray.plan.costs import Cost
from xlray.plan.simulate import Schedule, play, recorded, synthetic, timeline_svg
from xlray.plan.trials import SweepPlan, plan_sweep

ENCODER = Pretraining(("mini_text",), Architecture(64, 2, 4, 128, 400, 66), num_examples=64, max_length=64)
NAMES = ("mini_sentiment_en", "mini_topic_en", "mini_entailment_en", "mini_question_en")
SUBSETS = tuple(Subset(tasks, "all", None, i) for i, tasks in enumerate((a,) for a in NAMES))
SWEEP = Sweep(
    "simulated",
    ENCODER,
    measure=(Subset(()),),
    explore=SUBSETS,
    seeds=tuple(range(6)),
    intermediate=Intermediate((64, 128, 256), 32, warmup_examples=32, max_length=64, stride=32),
    targets=(Target("mini_udpos", 64, max_length=64, stride=32),),
)


@pytest.fixture(scope="module")
def plan() -> SweepPlan:
    return plan_sweep(SWEEP, None)


def priced(plan: SweepPlan) -> tuple[dict[str, Cost], dict[str, float]]:
    specs = plan.all_specs()
    costs = {k: Cost(s.num_steps if isinstance(s, TrainSpec) else 0, 0.0, 1.0, 0.0) for k, s in specs.items()}
    return costs, {key: float(max(1, cost.steps)) for key, cost in costs.items()}


@pytest.mark.parametrize("promote", [False, True])
@pytest.mark.parametrize("devices", [1, 3, 512])
def test_places_hold_one_trial_at_a_time_and_rungs_follow_one_another(
    plan: SweepPlan, devices: int, promote: bool
) -> None:
    plan = dataclasses.replace(plan, sweep=dataclasses.replace(SWEEP, stopping=Stopping(promote=promote)))
    plan = dataclasses.replace(
        plan, sweep=dataclasses.replace(plan.sweep, execution=Execution(max_concurrent_trials=devices))
    )
    schedule = play(plan, *priced(plan), devices)
    assert schedule.num_slots == devices and 0 < schedule.utilisation <= 1
    for _, bars in itertools.groupby(sorted(schedule.bars, key=lambda b: (b.slot, b.start_s)), key=lambda b: b.slot):
        assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(bars))
    by_trial: dict[str, list[int]] = {}
    for bar in schedule.bars:
        by_trial.setdefault(bar.trial_id, []).append(bar.rung_index)
    assert all(rungs == list(range(len(rungs))) for rungs in by_trial.values())
    measured = [t.trial_id for t in plan.trials if t.role == "measure"]
    assert all(len(by_trial[trial_id]) == 3 for trial_id in measured)
    assert by_trial.keys() == {t.trial_id for t in plan.trials}
    assert schedule.reached[0] == len(plan.trials) > schedule.reached[2] >= len(measured)


def test_trials_that_share_a_device_divide_its_time(plan: SweepPlan) -> None:
    costs, seconds = priced(plan)
    never = dataclasses.replace(SWEEP, stopping=Stopping(survival_probability=1.0))

    def schedule(devices: int, **fields: float) -> Schedule:
        sweep = dataclasses.replace(never, execution=Execution(**fields))
        return play(dataclasses.replace(plan, sweep=sweep), costs, seconds, devices)

    whole, quarter, rest = schedule(2), schedule(2, gpus_per_worker=0.25), schedule(2, gpus_per_worker=0.4)
    assert (whole.num_slots, quarter.num_slots, rest.num_slots) == (2, 8, 4)
    assert whole.busy_s == pytest.approx(quarter.busy_s)
    bars = {(bar.trial_id, bar.rung_index): bar.end_s - bar.start_s for bar in whole.bars}
    shared = {(bar.trial_id, bar.rung_index): bar.end_s - bar.start_s for bar in quarter.bars}
    assert shared == {key: pytest.approx(4 * took) for key, took in bars.items()}


def test_the_same_scores_give_the_same_schedule_and_more_devices_a_shorter_one(plan: SweepPlan) -> None:
    costs, seconds = priced(plan)
    assert play(plan, costs, seconds, 1) == play(plan, costs, seconds, 1)
    never = dataclasses.replace(plan, sweep=dataclasses.replace(SWEEP, stopping=Stopping(survival_probability=1.0)))
    wide = dataclasses.replace(
        never, sweep=dataclasses.replace(never.sweep, execution=Execution(max_concurrent_trials=8))
    )
    one, eight = play(never, costs, seconds, 1), play(wide, costs, seconds, 8)
    assert one.steps == eight.steps == sum(cost.steps for cost in costs.values())
    assert one.busy_s == pytest.approx(sum(seconds.values())) == one.wall_s
    assert one.wall_s / 8 < eight.wall_s < one.wall_s / 4


def test_what_is_stored_costs_nothing(plan: SweepPlan) -> None:
    costs, seconds = priced(plan)
    schedule = play(plan, costs, seconds, 1, costs.keys())
    assert (schedule.steps, schedule.busy_s, schedule.wall_s) == (0, 0.0, 0.0)
    assert schedule.utilisation == 0 and schedule.reached[0] == len(plan.trials)


def test_scores_of_the_journal_go_before_made_up_ones(plan: SweepPlan) -> None:
    trial, other = plan.trials[1], plan.trials[2]
    entry = {"event": "rung", "trial_id": trial.trial_id, "rung_index": 0, "score": 77.0}
    curve = recorded([{"event": "opened"}, entry, {**entry, "trial_id": other.trial_id, "score": None}])
    assert curve(trial, 0) == 77.0
    assert curve(trial, 1) == synthetic(trial, 1) and curve(other, 0) == synthetic(other, 0)


def test_the_best_by_the_given_scores_survive(plan: SweepPlan) -> None:
    best = Subset((NAMES[2],))

    def curve(trial, index):
        return 90.0 + trial.config.seed if trial.config.tasks == best.tasks else 10.0 - trial.config.seed

    harsh = dataclasses.replace(plan, sweep=dataclasses.replace(SWEEP, stopping=Stopping(survival_probability=0.0)))
    schedule = play(harsh, *priced(plan), 1, (), curve)
    ended = {b.trial_id for b in schedule.bars if b.rung_index == 2}
    assert {t.trial_id for t in plan.trials if t.config.tasks == best.tasks} <= ended


def test_the_timeline_is_a_picture_with_a_bar_for_each_stretch(plan: SweepPlan) -> None:
    schedule = play(plan, *priced(plan), 1)
    root = ElementTree.fromstring(timeline_svg(schedule, plan))
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == len(schedule.bars)
