"""Controls are no sample of a pool: they are compared with, and enter nothing that speaks of the tasks of one."""

import dataclasses
import itertools

import numpy as np
import pytest

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling

TASKS = tuple(f"t{number}" for number in range(6))
EFFECTS = dict(zip(TASKS, (2.0, 1.0, 0.5, 0.0, -0.5, -1.0), strict=True))
SEEDS = (0, 1, 2)


def make_point(tasks, seed, source, score, noise=None):
    cell = f"{len(tasks)}-{source}" if tasks else "0"
    value = score + (noise.normal(0, 0.3) if noise is not None else 0.0)
    scores = {FI_ACCURACY: value, "panx": value, "panx@en": value + 20}
    place = (cell, len(tasks), source, tasks, " ".join(tasks), seed, 64, 0)
    return Point(f"{cell}/{tasks}/{seed}", "measure", *place, scores)


def sampled(seeds=SEEDS):
    """Subsets of one to five tasks of a pool, and none."""
    noise = np.random.default_rng(0)
    subsets = [(), *(pair for size in range(1, 6) for pair in itertools.combinations(TASKS, size))]
    return [
        make_point(s, seed, "en", 50 + sum(map(EFFECTS.get, s)), noise) for s, seed in itertools.product(subsets, seeds)
    ]


def controls(seeds=SEEDS):
    """Better than every subset, and with tasks that the pool has."""
    made = [make_point(("t0", "t5"), seed, "control", 90.0 + seed) for seed in seeds]
    made += [make_point(("t0.masked", "t1.masked"), seed, "en-masked", 80.0) for seed in seeds]
    return made + [make_point(("t2.shuffled0",), seed, "en-shuffled", 70.0 - seed) for seed in seeds]


def test_which_sources_are_controls():
    assert all(map(analysis.is_control_source, ("control", "en-shuffled", "all-masked")))
    assert not any(map(analysis.is_control_source, ("en", "all", "", "shuffled-labels", "controls")))
    kept = analysis.without_controls([*sampled(), *controls(), make_point((), 9, "control", 50.0)])
    assert {p.source for p in kept if p.tasks} == {"en"} and {p.seed for p in kept if not p.tasks} == {*SEEDS, 9}


@pytest.mark.parametrize(
    "made",
    [
        lambda points: analysis.contributions(points, FI_ACCURACY, Sampling()),
        lambda points: analysis.interactions(points, FI_ACCURACY, Sampling()),
        lambda points: analysis.selection_gaps(points, Sampling()),
        lambda points: analysis.task_curves(points, FI_ACCURACY, Sampling(50)),
    ],
    ids=["ranking", "interactions", "selection gap", "curves"],
)
def test_controls_change_nothing_that_speaks_of_the_tasks_of_a_pool(made):
    alone = made(sampled())
    assert alone and made([*sampled(), *controls()]) == alone


def test_chains_of_a_control_have_no_gains_of_their_own():
    lines = {"chain 0 (ab) of en": (TASKS[:1], TASKS[:2]), "chain 0 (ab) of en-masked": (("t0.masked", "t1.masked"),)}
    points = [*sampled(), *controls()]
    (found,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
    assert {e.name for e in found.estimates} == {f"shapley/{FI_ACCURACY}/{task}" for task in TASKS[:2]}


def test_arms_of_a_draw_are_paired_between_pools_and_against_controls_made_of_them():
    points = []
    for source, draw, seed in itertools.product(("en", "other", "en-masked"), range(4), SEEDS):
        point = make_point((f"{source}{draw}", "more"), seed, source, 50 + 9.0 * draw + seed + 2 * (source == "other"))
        points.append(dataclasses.replace(point, cluster=f"chain {draw} (ab12cd) of {source}"))
    gaps = {e.name: e for e in analysis.cell_differences(points, FI_ACCURACY, Sampling())}
    assert len(gaps) == 3
    for e in gaps.values():
        assert (e.low, e.high) == pytest.approx((e.value, e.value))  # what a draw adds to both arms is no error
    apart = [dataclasses.replace(p, cluster=p.cluster.replace("ab12cd", p.source)) for p in points]
    assert all(e.high - e.low > 10 for e in analysis.cell_differences(apart, FI_ACCURACY, Sampling()))
