"""How often the intervals of other estimates than differences hold the truth: means, gains, pairs, curves, choices, orders.

`PYTHONPATH=tests/support python tests/studies/estimates_study.py` rewrites docs/statistics/estimates.csv and families.csv and their tables in
docs/statistics.md: a quarter of an hour of one core. With names of functions behind it, or "families", it makes only their rows again.
"""

import dataclasses
import itertools
import sys

import numpy as np
import statistics_study as study
from simulator import Scenario, simulate

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, chains
from xlray.analysis.crossed import contrast

FEW_DRAWS = Sampling(400)
FAMILIES = ("null", "unequal seeds", "whole pools", "similar tasks")


def sweeps_of(scenario, design: tuple[int, int], num_sweeps):
    """(points of the first pool and the control, true effects of its tasks on the mean) of each sweep."""
    simulated = simulate(scenario, num_sweeps, *design, study.generator(scenario, design))
    kept = dataclasses.replace(simulated, cells=[cell for cell in simulated.cells if cell.pool == "first"])
    for sweep in range(num_sweeps):
        yield study.to_points(kept, scenario, sweep), simulated.effects["first"][sweep].mean(axis=-1)


def holds(estimate, truth):
    return estimate.low is not None and estimate.low <= truth <= estimate.high


def means(design, num_sweeps):
    """Of every cell, of independent chains and of subsets drawn by `matched`, in Finnish accuracy."""
    found = []
    for scenario in (scenario for scenario in study.SCENARIOS if scenario.name in ("null", "matched")):
        hits = []
        for simulated in study.simulated_chunks(scenario, design, num_sweeps):
            grids = {cell.name: study.grid_of(cell, scenario) for cell in simulated.cells}
            shared = study.additivity_of(grids)
            made = [contrast([(1.0, grids[cell.name])], shared=shared) for cell in simulated.cells]
            low, high = np.moveaxis(np.array([one.interval(0.95) for one in made]), 1, 0)[..., 0]
            truth = np.array([cell.truth.mean(axis=1) for cell in simulated.cells])
            hits += ((low <= truth) & (truth <= high)).T.tolist()
        found.append((f"means of cells, {scenario.design}", hits, None))
    return found


def coarse_gains(design, num_sweeps):
    """Of blocks of two of eight tasks, and of tasks at which chains of two to five grow."""
    found = []
    for name, sizes in (("gains of blocks", (2, 4, 6)), ("marginal gains", (2, 3, 4, 5))):
        hits = []
        for points, effects in sweeps_of(Scenario(name, sizes=sizes, pool_size=8), design, num_sweeps):
            kept = [point for point in points if point.tasks]
            (made,) = analysis.chain_contributions(kept, FI_ACCURACY, Sampling())
            assert made.kind == ("block" if name == "gains of blocks" else "marginal")
            known = [
                e for e in made.estimates if e.low is not None
            ]  # a task enters too few chains for an interval, or enough
            added = [e.name.rsplit("/", 1)[1].rsplit(": ", 1)[-1].split() for e in known]
            gains = [sum(effects[int(task[-2:])] for task in tasks) for tasks in added]
            hits.append([holds(*both) for both in zip(known, gains, strict=True)])
        found.append((name, hits, None))
    return found


def shapley(design, num_sweeps):
    """Gains by chains in steps of one from none to all of eight tasks, of which two help and two harm much."""
    scenario = Scenario("steps of one", sizes=tuple(range(1, 9)), pool_size=8, extreme=2)
    hits, strong = [], []
    for points, effects in sweeps_of(scenario, design, num_sweeps):
        whole = next(p.tasks for p in points if p.num_tasks == 8)
        lines = {n: (*line[:7], whole) for n, line in chains.point_lines(points).items()}
        (found,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
        assert found.kind == "shapley"
        held = {int(e.name[-2:]): holds(e, effects[int(e.name[-2:])]) for e in found.estimates}
        hits.append(list(held.values()))
        strong.append([held[task] for task in range(4)])
    return [("Shapley values", hits, None), ("Shapley values of strong tasks", strong, None)]


def pairs(design, num_sweeps):
    """Interactions of eight tasks in nested chains, where there is none."""
    hits, false = [], []
    for points, _ in sweeps_of(Scenario("pairs", sizes=(2, 4, 6), pool_size=8), design, num_sweeps):
        found = analysis.interactions(points, FI_ACCURACY, Sampling()).estimates
        hits.append([holds(e, 0.0) for e in found])
        false.append(any(e.p_holm <= 0.05 for e in found))
    return [("interactions of pairs", hits, np.mean(false))]


def curves(design, num_sweeps, knee=9):
    """Bands at the sizes and between them, and the knee, where there is one."""
    scenario = Scenario("curves", sizes=(3, 6, 9, 14, 20), mean_effect=0.3, knee=knee, task_spread=0.2)
    at, between, knees = [], [], []
    for points, _ in sweeps_of(scenario, design, num_sweeps):
        (curve,) = analysis.task_curves(points, FI_ACCURACY, FEW_DRAWS)
        x = np.array(curve.x)
        truth = 60 + scenario.mean_effect * np.minimum(x, knee)
        held = (np.array(curve.low) <= truth) & (truth <= np.array(curve.high))
        measured = np.isin(x, curve.sizes)
        at.append(held[measured])
        between.append(held[~measured & (x < curve.sizes[-1])])
        knees.append([holds(curve.knee, knee)])
    return [
        ("curves at the sizes", at, None),
        ("curves between them", between, None),
        ("place of the knee", knees, None),
    ]


def choices(design, num_sweeps):
    """The gap of choosing by English dev, for these subsets, and the correlation of both orders, for any."""
    num_seeds, num_subsets = design
    random = np.random.default_rng([*design, 7])
    gaps, orders = [], []
    for _ in range(num_sweeps):
        subset, seed = random.normal(size=num_subsets), 0.5 * random.normal(size=num_seeds)
        other = 0.6 * subset + 0.8 * random.normal(size=num_subsets)
        finnish = 60 + subset[:, None] + seed + 0.7 * random.normal(size=design[::-1])
        english = 80 + other[:, None] + seed + 0.5 * random.normal(size=design[::-1])
        points = []
        for i, s in np.ndindex(num_subsets, num_seeds):
            scores = {FI_ACCURACY: finnish[i, s], "panx": finnish[i, s], "panx@en": english[i, s]}
            place = ("1-all", 1, "all", (f"t{i}",), f"t{i}", s, 1_000, 0)
            points.append(Point(f"{i}/{s}", "measure", *place, scores))
        # What choices by the means of all seeds but one cost on average, for these subsets.
        noise = random.normal(size=(2, 1_000, num_subsets)) / np.sqrt(num_seeds - 1)
        best, chosen = (subset + 0.7 * noise[0]).argmax(axis=1), (other + 0.5 * noise[1]).argmax(axis=1)
        truth = (subset[best] - subset[chosen]).mean()
        gaps += [[holds(e, truth)] for e in analysis.selection_gaps(points, Sampling()) if e.low is not None]
        orders += analysis.selection_correlations(points, FEW_DRAWS)
    linear = (0.6 + 0.25) / np.sqrt((1 + 0.25 + 0.49) * (0.36 + 0.64 + 0.25 + 0.25))
    rank = 6 / np.pi * np.arcsin(linear / 2)  # Spearman's of a bivariate normal
    return [("selection gaps", gaps, None), ("rank correlations", [[holds(e, rank)] for e in orders], None)]


def families(num_sweeps):
    """Sweeps without any effect in which something is found, with all comparisons taken together and one by one."""
    rows = []
    for scenario in (s for s in study.SCENARIOS if s.name in FAMILIES):
        for design in study.DESIGNS:
            simulated = simulate(scenario, num_sweeps, *design, study.generator(scenario, design))
            made = study.estimate(simulated, scenario)
            p_values = np.stack([rows[:, :, 3] for rows in made.values()], axis=1)  # [sweeps, pairs, outcomes]
            smallest = p_values[:, :, 0].min(axis=1), p_values[:, :, 1:].min(axis=(1, 2))
            sizes = (len(made), len(made) * (p_values.shape[2] - 1))
            shares = [np.mean(least * size <= 0.05) for least, size in zip(smallest, sizes, strict=True)]
            place = {"scenario": scenario.name, "seeds": design[0], "chains": design[1], "sweeps": num_sweeps}
            names = ("mean:_some_interval_without_0", "mean:_some_Holm_p", "targets:_some_Holm_p")
            values = (np.mean(smallest[0] < 0.05), *shares)
            rows.append(place | {name: round(float(v), 3) for name, v in zip(names, values, strict=True)})
    return rows


PARTS = (means, shapley, coarse_gains, pairs, curves, choices)


def main(names):
    for design, part in itertools.product(study.DESIGNS, PARTS):
        if part.__name__ in names:
            rows = {(row["estimate"], row["seeds"]): row for row in study.read("estimates")}
            for row in rows_of(part, design):
                rows[row["estimate"], row["seeds"]] = row
                print(row, flush=True)
            study.write("estimates", [*rows.values()])
    if "families" in names:
        study.write("families", families(study.NUM_SWEEPS))
    study.fill_page(
        estimates=study.plain_table(study.read("estimates")), families=study.plain_table(study.read("families"))
    )


def rows_of(part, design, num_sweeps=study.NUM_SWEEPS):
    for name, hits, false in part(design, num_sweeps):
        covered = [share for one in hits for share in one]
        place = {"estimate": name, "seeds": str(design[0]), "chains": str(design[1]), "sweeps": str(len(hits))}
        shown = "" if false is None else round(float(false), 3)
        yield place | {"coverage": round(float(np.mean(covered)), 3), "some_Holm_p_without_effect": shown}


if __name__ == "__main__":
    main(sys.argv[1:] or [*(part.__name__ for part in PARTS), "families"])
