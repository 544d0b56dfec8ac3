"""A sweep of the embedded world, planned: three rungs, three targets, two subsets."""

import dataclasses

import pytest

from xlray.config.recipes import Architecture, Intermediate, Pretraining, Subset, Target
from xlray.config.sweep import Sweep
from xlray.plan.trials import plan_sweep

ENCODER = Pretraining(
    ("mini_text",), Architecture(64, 2, 4, 128, 400, 66), num_examples=256, batch_size=32, max_length=64
)
RECIPE = Intermediate(
    rungs=(64, 128, 256), batch_size=32, warmup_examples=32, max_length=64, stride=32, cooldown_ratio=0.25
)
TARGETS = (
    Target("mini_udpos", 128, 64, max_length=64, stride=32),
    Target("mini_tydiqa", 96, max_length=64, stride=32),
    Target("mini_tatoeba", max_length=64, stride=32),
)
PAIR = Subset(("mini_sentiment_en", "mini_topic_en"))
ONE = Subset(("mini_topic_en",))
SWEEP = Sweep(
    "s", ENCODER, measure=(Subset(()), PAIR), explore=(ONE,), seeds=(0, 1), intermediate=RECIPE, targets=TARGETS
)


def replace_recipe(**changes):
    return dataclasses.replace(SWEEP, intermediate=dataclasses.replace(RECIPE, **changes))


@pytest.fixture(scope="module")
def plan():
    return plan_sweep(SWEEP, None)


def trial_of(plan, tasks, seed=0):
    return next(t for t in plan.trials if t.config.tasks == tasks and t.config.seed == seed)


def phases_of(plan, tasks, seed=0):
    return plan.phases[trial_of(plan, tasks, seed).trial_id]


def by_kind(phases, kind):
    return [spec for spec in phases if spec.kind == kind]
