"""How often the intervals hold the truth, in simulated sweeps.

`PYTHONPATH=tests/support python tests/studies/statistics_study.py` makes it all again:
docs/statistics/*.csv, the figures beside them, and the tables in docs/statistics.md. About ten minutes of one core. With names of
scenarios behind it, or "tasks", "power" or "factorial", it makes only their rows again.
"""

import csv
import dataclasses
import functools
import itertools
import re
import sys
from pathlib import Path

import numpy as np
from scipy import stats
from simulator import TARGETS, Cell, Scenario, simulate

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, Variances, effects, items
from xlray.analysis.control import control_noises
from xlray.analysis.crossed import ItemPart
from xlray.analysis.grid import Grid
from xlray.analysis.membership import additivity, make_membership
from xlray.analysis.points import draw_of
from xlray.config import subsets

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "statistics"
OUTCOMES = (FI_ACCURACY, *TARGETS)
DESIGNS = ((5, 12), (3, 6))  # seeds, chains
RANKED = ((5, 24), (3, 18))  # the same where there are as many subsets as tasks
NUM_SWEEPS = 1_000
NUM_WITH_FAILURES = 1_250  # where trials fail or are stopped: some sweeps have too few left for an interval
CHUNK = 250
PER_DRAW = 20  # sweeps with the same subsets, where a design of the package draws them
NUM_KEPT = 2  # sweeps of each scenario and design whose estimates are stored one by one
NOISY = {"seed_cell_spread": 0.7, "noise": 1.0, "heavy_tails": True, "control_noise": 1.5}
SCENARIOS = (
    Scenario("null"),
    Scenario("linear", mean_effect=0.08, second_effect=0.05),
    Scenario("knee at 15", mean_effect=0.12, second_effect=0.08, knee=15),
    Scenario("helpful and harmful tasks", extreme=3),
    Scenario("interactions", interaction_spread=0.1),
    Scenario("noisy seeds", **NOISY),
    Scenario("unequal seeds", task_spread=0.2, seed_cell_spread=0.3, control_noise=2.0),
    Scenario("one noisy target", task_spread=0.2, seed_cell_spread=0.3, control_target_noise=2.0),
    Scenario("one noisy cell", task_spread=0.2, seed_cell_spread=0.3, largest_noise=2.0),
    Scenario("whole pools", sizes=(9, 32)),
    Scenario("Tatoeba without a seed", fixed_control=True),
    Scenario("similar tasks", task_spread=0.1, seed_cell_spread=0.3),
    Scenario("collapsed seeds", collapse_rate=0.05),
    Scenario("failed trials", failure_rate=0.1),
    Scenario("stopping", stopping=True),
    Scenario("items", num_items=200, item_spread=6.0, flip_spread=8.0),
    Scenario("matched", design="matched"),
    Scenario("matched, interactions", design="matched", interaction_spread=0.1),
    Scenario("matched, by share", design="matched", by_share=True),
    Scenario("matched, not additive", design="matched", task_spread=0.05, interaction_spread=0.15),
    Scenario("random subsets", design="random_subsets"),
    Scenario("random subsets, interactions", design="random_subsets", interaction_spread=0.1),
    Scenario(
        "all at once",
        mean_effect=0.08,
        knee=15,
        extreme=3,
        interaction_spread=0.05,
        collapse_rate=0.02,
        collapse_loss=10.0,
        failure_rate=0.05,
        stopping=True,
    ),
)
SHOWN = ("null", "noisy seeds", "matched")  # scenarios of which single sweeps are stored
# Nothing differs between cells here, so every finding is a false one.
WITHOUT_EFFECT = {
    s.name for s in SCENARIOS if not (s.mean_effect or s.second_effect or s.interaction_spread or s.by_share)
}


def generator(scenario, design, chunk=0):
    return np.random.default_rng([*design, chunk, *scenario.name.encode()])


@functools.cache
def drawn_by(name, sizes, count, num_chains, number):
    """{(pool, size): [chains, pool] members} of a design of the package, from two pools of `count` tasks of three kinds."""
    pools = []
    for source in ("first", "second"):
        tasks = [f"{source}-{task:02d}" for task in range(count)]
        kinds = {task: "abc"[(n > 18) + (n > 24)] for n, task in enumerate(tasks)}
        pools.append(subsets.Pool(tuple(tasks), source, kinds, {}, {task: 1_000 - n for n, task in enumerate(tasks)}))
    if name == "matched":
        design = subsets.matched(pools[0], pools[1], sizes=sizes, num=num_chains, seed=number)
    elif name == "chains":
        design = tuple(
            subset
            for place, pool in enumerate(pools)
            for subset in subsets.chains(pool, sizes, num_chains, seed=2 * number + place)
        )
    else:
        design = tuple(
            subset
            for place, (pool, size) in enumerate((p, s) for p in pools for s in sizes)
            for subset in subsets.random_subsets(pool, size, num_chains, seed=4 * number + place)
        )
    found = {}
    for subset in design:
        held = np.isin([f"{subset.source}-{task:02d}" for task in range(count)], subset.tasks)
        found.setdefault((subset.source, len(subset.tasks)), []).append(held)
    return {key: np.array(rows[:1] if key[1] == count else rows, dtype=float) for key, rows in found.items()}


def own_name(scenario, cell, row):
    """The cluster of one subset of a cell, as a report names it."""
    if not cell.size:
        return ""
    separate = scenario.stopping or scenario.design == "random_subsets"
    together = " (drawn)" if scenario.design == "matched" else ""
    return f"{cell.size}-{cell.pool}-{row:02d}" if separate else f"chain {row:02d}{together} of {cell.pool}"


def grid_of(cell, scenario, sweeps=slice(None)):
    """One cell of some sweeps as the estimator takes it: [sweeps, outcomes, chains, seeds]."""
    scores = np.concatenate([cell.scores.mean(axis=-1, keepdims=True), cell.scores], axis=-1)[sweeps]
    values, weights = np.moveaxis(scores, -1, -3), cell.weights[sweeps]
    weights = weights[0] if weights.ndim == 3 else weights
    rows, seeds = np.flatnonzero(weights.any(axis=1)), np.flatnonzero(weights.any(axis=0))
    values, weights = values[..., rows, :][..., seeds], weights[rows][:, seeds]
    names = tuple(draw_of(own_name(scenario, cell, row), cell.pool) for row in rows)
    held = None  # chains are drawn independently, so nothing is taken off for them
    if cell.size and scenario.design != "chains":
        members = cell.members[0][rows]
        pool = [f"{cell.pool}-{task:02d}" for task in range(scenario.pool_size)]
        held = make_membership([[pool[n] for n in np.flatnonzero(row)] for row in members], pool)
    return Grid(names, tuple(seeds.tolist()), values, weights, len(names), held)


def additivity_of(grids):
    """As the report has it, of [sweeps, outcomes, ...] or [outcomes, ...] whose first outcome is the mean."""
    found = additivity([(g.held, g.filled[..., 1:, :, :]) for g in grids.values() if g.held and not g.weighted])
    return found and dataclasses.replace(found, weights=found.weights[..., None, :])


def controls_of(grids):
    """As the report has them, of [sweeps, outcomes, ...] or [outcomes, ...] whose first outcome is the mean."""
    targets = {name: dataclasses.replace(g, values=g.values[..., 1:, :, :]) for name, g in grids.items()}
    return control_noises(targets)


def item_variance_of(cells, coefficients):
    """What the items do, [sweeps, outcomes]."""
    parts = []
    for name, coefficient in coefficients.items():
        shares = np.moveaxis(cells[name].items, -1, 1)
        shares = shares.reshape(*shares.shape[:2], -1, shares.shape[-1])
        parts.append((coefficient, items.cell_items(items.sum_trials(shares, np.ones(shares.shape[2])))))
    found = items.items_variance(parts)
    kinds = (found.added, found.least)
    return ItemPart(*(np.concatenate([x.sum(axis=1, keepdims=True) / len(TARGETS) ** 2, x], axis=1) for x in kinds))


def compared(simulated):
    """Every pair of cells that a report compares, with its coefficients."""
    points = [Point("", "", c.name, c.size, c.pool, (), "", 0, 0, 0, {}) for c in simulated.cells]
    return {pair: effects.difference(*pair) for pair in analysis.cell_pairs(points)}


def factors(cells):
    """{"number", "source", "interaction"}: coefficients of the two by two of cell to (number of tasks, source)."""
    return {name.split()[0]: parts for name, parts in analysis.two_by_two_of(cells).contrasts().items()}


def estimate(simulated, scenario, sums=None):
    """{key: [sweeps, outcomes, (value, low, high, p-value, degrees of freedom, truth)]} of signed sums, or all differences."""
    cells = {cell.name: cell for cell in simulated.cells}
    sums = sums or compared(simulated)
    extra = {key: item_variance_of(cells, parts) for key, parts in sums.items()} if scenario.num_items else {}
    alike = not (scenario.stopping or scenario.failure_rate)
    found = {key: [] for key in sums}
    for some in [slice(None)] if alike else range(len(simulated.cells[0].scores)):
        grids = {name: grid_of(cell, scenario, some) for name, cell in cells.items()}
        chosen = {key: part if alike else part[some] for key, part in extra.items()}
        made = effects.signed_sums(grids, sums, chosen, additivity_of(grids), controls_of(grids))
        for key, rows in found.items():
            if key in made and made[key].standard_error is not None:
                columns = (
                    made[key].value,
                    made[key].standard_error,
                    made[key].p_value(),
                    made[key].degrees_of_freedom,
                )
                rows.append(np.stack(np.broadcast_arrays(*columns), axis=-1))
            else:  # so many trials failed that the cells share one seed or none
                rows.append(np.full((len(OUTCOMES), 4), np.nan))
    estimates = {}
    for key, rows in found.items():
        value, error, p_value, freedom = np.moveaxis(rows[0] if alike else np.stack(rows), -1, 0)
        half = stats.t.ppf(0.975, freedom) * error
        truth = sum(coefficient * cells[name].truth for name, coefficient in sums[key].items())
        truth = np.concatenate([truth.mean(axis=1, keepdims=True), truth], axis=1)
        estimates[key] = np.stack([value, value - half, value + half, p_value, freedom, truth], axis=-1)
    return estimates


def summarise(name, design, pair, outcome, rows):
    """One line of the table; `rows` is [sweeps, 6]."""
    value, low, high, _, freedom, truth = rows.T
    error, half = np.abs(value - truth), (high - low) / 2
    spread = float(np.sqrt((error**2).mean()))
    narrowest = float(np.quantile(error, 0.95))
    t_oracle = float(stats.t.ppf(0.975, np.median(freedom)) * spread)
    return {
        "scenario": name,
        "seeds": design[0],
        "chains": design[1],
        "difference": f"{pair[0]} - {pair[1]}",
        "outcome": outcome,
        "sweeps": len(rows),
        "coverage": round(float(((low <= truth) & (truth <= high)).mean()), 4),
        "half_width": round(float(np.median(half)), 4),
        "true_standard_error": round(spread, 4),
        "ratio": round(float(np.median(half)) / narrowest, 3),
        "t_ratio": round(float(np.median(half)) / t_oracle, 3),
        "degrees_of_freedom": round(float(np.median(freedom)), 1),
    }


def coverage(scenario, design):
    """(rows of the table, rows of false findings, rows of single sweeps) of one scenario and design."""
    table, false, single = [], [], []
    num_sweeps = NUM_WITH_FAILURES if scenario.failure_rate or scenario.stopping else NUM_SWEEPS
    chunks = [estimate(made, scenario) for made in simulated_chunks(scenario, design, num_sweeps)]
    for pair in chunks[0]:
        rows = np.concatenate([chunk[pair] for chunk in chunks])
        rows = rows[np.isfinite(rows).all(axis=(1, 2))]  # where there is no interval there is nothing to count
        table += [summarise(scenario.name, design, pair, outcome, rows[:, n]) for n, outcome in enumerate(OUTCOMES)]
        if scenario.name in SHOWN:
            single += [kept_row(scenario.name, design, pair, sweep, rows[sweep, 0]) for sweep in range(NUM_KEPT)]
        if scenario.name in WITHOUT_EFFECT:
            found = np.array([min(analysis.holm(p_values)) <= 0.05 for p_values in rows[:, 1:, 3]])
            place = {"scenario": scenario.name, "seeds": design[0], "chains": design[1]}
            place |= {"difference": f"{pair[0]} - {pair[1]}", "sweeps": len(rows)}
            false.append({**place, "false_findings": round(float(found.mean()), 4)})
    return table, false, single


def simulated_chunks(scenario, design: tuple[int, int], num_sweeps):
    """The sweeps of a study, some at a time; those of one chunk have the same subsets if the package draws them."""
    size = CHUNK if scenario.design == "chains" else PER_DRAW
    for number in range(-(-num_sweeps // size)):
        place = (scenario.design, scenario.sizes, scenario.pool_size, design[1], number)
        drawn = None if scenario.design == "chains" else drawn_by(*place)
        yield simulate(scenario, min(size, num_sweeps), *design, generator(scenario, design, number), drawn)


def kept_row(name, design, pair, sweep, row):
    place = {"scenario": name, "seeds": design[0], "chains": design[1], "difference": f"{pair[0]} - {pair[1]}"}
    return {
        **place,
        "sweep": sweep,
        **{key: f"{x:.6f}" for key, x in zip(("value", "low", "high"), row[:3], strict=True)},
    }


def to_points(simulated, scenario, sweep):
    """The trials of one sweep as the report has them."""
    points = []
    for cell in simulated.cells:
        weights, scores = cell.weights[sweep], cell.scores[sweep].tolist()
        for chain in np.flatnonzero((weights > 0).any(axis=1)).tolist():
            members = np.flatnonzero(cell.members[sweep, chain]).tolist()
            tasks = tuple(f"{cell.pool}-{task:02d}" for task in members)
            own = own_name(scenario, cell, chain)
            for seed in np.flatnonzero(weights[chain] > 0).tolist():
                found = dict(zip(TARGETS, scores[chain][seed], strict=True))
                found[FI_ACCURACY] = sum(scores[chain][seed]) / len(TARGETS)
                place = (cell.name, cell.size, cell.pool, tasks, own, seed, 65_536, 1)
                weight = float(weights[chain, seed])
                points.append(Point(f"{own}/{cell.name}/{seed}", "measure", *place, found, weight))
    return points


def recovered(num_sweeps=NUM_SWEEPS):
    """Of the tasks that help or harm by three spreads: how many a regression ranks right, and by how much it shrinks them."""
    rows = []
    scenario = Scenario("tasks", extreme=3)
    for design in RANKED:
        simulated = simulate(scenario, num_sweeps, *design, generator(scenario, design))
        known, held_out, counts = simulated.effects["first"].mean(axis=-1), [], []
        for sweep in range(num_sweeps):
            points = [p for p in to_points(simulated, scenario, sweep) if p.source == "first" or not p.tasks]
            found = analysis.contributions(points, FI_ACCURACY, Sampling())
            counts.append(recovered_in({int(e.name[-2:]): e.value for e in found.estimates}, known[sweep]))
            held_out.append(found.held_out_error)
        names = ("right_sign", "among_the_six_most_extreme", "value_/_true")
        place = {"seeds": design[0], "chains": design[1], "sweeps": num_sweeps}
        shares = dict(zip(names, np.mean(counts, axis=0).round(3).tolist(), strict=True))
        rows.append({**place, **shares, "held_out_error": round(float(np.median(held_out)), 3)})
    return rows


def recovered_in(found, known):
    """Of the six: the share with the right sign, that among the six most extreme, and the mean of value / true."""
    order = sorted(found, key=found.get)
    ends = len({0, 1, 2} & set(order[:3])) + len({3, 4, 5} & set(order[-3:]))
    ratios = [found[task] / known[task] for task in range(6)]
    return (np.mean(np.greater(ratios, 0)), ends / 6, np.mean(ratios))


# Kinds of truth for the two by two: subsets' effects that cancel, that do not, and that both arms of a draw have in common.
FACTORIAL = (
    Scenario("matched", mean_effect=0.08, second_effect=0.05, design="matched"),
    Scenario("not additive", mean_effect=0.08, task_spread=0.05, interaction_spread=0.15, design="matched"),
    Scenario("not additive, arms alike", task_spread=0.05, interaction_spread=0.15, likeness=0.9, design="matched"),
)


def factorial(num_sweeps=NUM_SWEEPS):
    """How often the intervals of the two by two hold the truth in Finnish accuracy, and their width as in the other tables."""
    rows = []
    for scenario, design in itertools.product(FACTORIAL, DESIGNS):
        found = {}
        for simulated in simulated_chunks(scenario, design, num_sweeps):
            sums = factors({cell.name: (cell.size, cell.pool) for cell in simulated.cells})
            for effect, made in estimate(simulated, scenario, sums).items():
                found.setdefault(effect, []).append(made[:, 0])
        for effect, parts in found.items():
            value, low, high, _, _, truth = np.concatenate(parts).T
            place = {"scenario": scenario.name, "seeds": design[0], "draws": design[1], "sweeps": num_sweeps}
            row = {**place, "effect": effect, "coverage": round(float(((low <= truth) & (truth <= high)).mean()), 4)}
            oracle = np.quantile(np.abs(value - truth), 0.95)
            rows.append({**row, "width_/_oracle": round(float(np.median(high - low) / 2 / oracle), 2)})
    return rows


# Of which comparisons: design, numbers of tasks, and a pair of cells or an effect of the two by two.
POWERED = (
    *(
        (design, (9, 20), aim)
        for design in ("chains", "matched", "random_subsets")
        for aim in (("9-second", "9-first"), ("20-first", "9-first"), ("9-first", "0"))
    ),
    *(("chains", (9, 32), aim) for aim in (("32-second", "32-first"), ("32-first", "0"))),
    *(("matched", (9, 20), effect) for effect in ("number", "source", "interaction")),
)


def power(num_sweeps=NUM_SWEEPS):
    """How often what `xlray plan` says will be found with probability 0.8 is found, in single targets."""
    rows = []
    for (kind, sizes, aim), design in itertools.product(POWERED, DESIGNS):
        made = [one_power(kind, sizes, aim, design, number) for number in range(num_sweeps // PER_DRAW)]
        effect, share = np.mean(made, axis=0)
        name = f"{aim} of the two by two" if isinstance(aim, str) else " - ".join(aim)
        place = {"design": kind, "comparison": name, "seeds": design[0], "chains": design[1], "sweeps": num_sweeps}
        rows.append({**place, "minimum_detectable_effect": round(effect, 3), "found": round(share, 3)})
    return rows


def one_power(kind, sizes, aim, design: tuple[int, int], number):
    """(what the plan names for some subsets, share of single targets in which it is found) of `PER_DRAW` sweeps with these."""
    scenario = Scenario("power", sizes=sizes, design=kind, target_scales=(1.0, 1.0, 1.0, 1.0))
    drawn = drawn_by(kind, sizes, scenario.pool_size, design[1], number)
    cells, places = planned_cells(scenario, drawn)
    sums = {aim: factors(places)[aim] if isinstance(aim, str) else effects.difference(*aim)}
    sources = {cell: source for cell, (_, source) in places.items()}
    variances = variances_of(scenario, *(size for size in sizes if size < scenario.pool_size))
    smallest = analysis.detectable(cells, sources, sums, design[0], variances)[aim]
    # One gain per task, in the pool (or pools) in which it makes a difference of `smallest`.
    gains = [("first", "second")] if aim == "number" else [("second",), ("first",)]
    of_one = [sum(c * places[cell][0] * (places[cell][1] in pools) for cell, c in sums[aim].items()) for pools in gains]
    pools, change = next((pools, change) for pools, change in zip(gains, of_one, strict=True) if change)
    first, second = (smallest / change * (pool in pools) for pool in ("first", "second"))
    scenario = dataclasses.replace(scenario, mean_effect=first, second_effect=second)
    simulated = simulate(scenario, PER_DRAW, *design, generator(scenario, design, number), drawn)
    made = estimate(simulated, scenario, sums)[aim][:, 1:]
    assert np.allclose(made[..., 5], smallest)
    return smallest, float((made[..., 3] < 0.05).mean())


def planned_cells(scenario, drawn):
    """(cell to cluster to tasks, cell to number of tasks and source) as `xlray plan` has them, and a control."""
    cells, places = {"0": {"": ()}}, {"0": (0, "")}
    for (pool, size), rows in drawn.items():
        cell = Cell(f"{size}-{pool}", size, pool, *[None] * 5)
        tasks = [tuple(f"{pool}-{task:02d}" for task in np.flatnonzero(row)) for row in rows]
        names = [draw_of(own_name(scenario, cell, row), pool) for row in range(len(rows))]
        cells[cell.name], places[cell.name] = dict(zip(names, tasks, strict=True)), (size, pool)
    return cells, places


def variances_of(scenario, *sizes):
    """Of a single target, its subsets' as the mean over cells of so many tasks."""
    pool = scenario.pool_size
    subset = np.mean([scenario.task_spread**2 * size * (pool - size) / (pool - 1) for size in sizes])
    return Variances(subset, seed=scenario.seed_cell_spread**2, trial=scenario.noise**2, additive=1.0)


def write(name, rows):
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(name):
    with (FOLDER / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def by_design(table):
    """{(scenario, seeds, chains): rows}, in the order of the study."""
    groups = {}
    for row in table:
        groups.setdefault((row["scenario"], int(row["seeds"]), int(row["chains"])), []).append(row)
    return groups


def markdown(table, false):
    """The table of the page: over the differences of Finnish accuracy, and over those of the targets."""
    findings = by_design(false)
    lines = [
        "| Scenario | Seeds x chains | Sweeps | Coverage, mean (%) | lowest (%) | Targets, lowest (%) | Width / oracle, between sizes "
        "and pools | with the control | Width / t oracle, largest | False after Holm, mean (%) | largest (%) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, rows in by_design(table).items():
        mean = [r for r in rows if r["outcome"] == FI_ACCURACY]
        cover = [100 * float(r["coverage"]) for r in mean]
        lowest = min(100 * float(r["coverage"]) for r in rows if r["outcome"] != FI_ACCURACY)
        control = max(float(r["ratio"]) for r in mean if r["difference"].endswith("- 0"))
        between = max(float(r["ratio"]) for r in mean if not r["difference"].endswith("- 0"))
        t_ratio = max(float(r["t_ratio"]) for r in mean)
        errors = [100 * float(r["false_findings"]) for r in findings.get(key, [])]
        wrong = f"{np.mean(errors):.1f} | {max(errors):.1f}" if errors else " | "
        cells = (
            f"{np.mean(cover):.1f} | {min(cover):.1f} | {lowest:.1f} | {between:.2f} | {control:.2f} | {t_ratio:.2f}"
        )
        lines.append(f"| {key[0]} | {key[1]} x {key[2]} | {mean[0]['sweeps']} | {cells} | {wrong} |")
    return "\n".join(lines)


def plain_table(rows):
    names = list(rows[0])
    head = [" | ".join(name.replace("_", " ") for name in names), " | ".join("---" for _ in names)]
    return "\n".join(f"| {line} |" for line in [*head, *(" | ".join(str(row[name]) for name in names) for row in rows)])


def fill_page(**tables):
    """Put the tables between their marks in docs/statistics.md."""
    path = DOCS / "statistics.md"
    text = path.read_text()
    for name, table in tables.items():
        text = filled(text, name, table)
    path.write_text(text)


def filled(text, name, table):
    mark = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
    return re.sub(mark, lambda found: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)


def draw(table, column, label, lines, name):
    """Scenarios down, one point per difference, both designs."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "xlray"
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(row["scenario"] for row in table))[::-1]
    for shift, colour, shape, design in ((0.15, "#0072B2", "o", (5, 12)), (-0.15, "#D55E00", "D", (3, 6))):
        rows = [r for r in table if r["outcome"] == FI_ACCURACY and (int(r["seeds"]), int(r["chains"])) == design]
        places = [names.index(r["scenario"]) + shift for r in rows]
        values = [float(r[column]) * (100 if column == "coverage" else 1) for r in rows]
        axes.plot(
            values,
            places,
            shape,
            color=colour,
            markersize=4,
            alpha=0.7,
            label=f"{design[0]} seeds x {design[1]} chains",
        )
    for value, style in lines:
        axes.axvline(value, color="black", linewidth=0.8, linestyle=style)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel(label)
    axes.legend(fontsize=8)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


def main(names):
    order = [scenario.name for scenario in SCENARIOS]
    files = ("coverage", "false-findings", "sweeps")
    for scenario in SCENARIOS:
        if scenario.name not in names:
            continue
        found = [coverage(scenario, design) for design in DESIGNS]
        for name, parts in zip(files, zip(*found, strict=True), strict=True):
            kept = [row for row in read(name) if row["scenario"] in order and row["scenario"] != scenario.name]
            rows = [*kept, *(row for part in parts for row in part)]
            write(name, sorted(rows, key=lambda row: order.index(row["scenario"])))
    if "tasks" in names:
        write("tasks", recovered())
    if "power" in names:
        write("power", power())
    if "factorial" in names:
        write("factorial", factorial())
    show()


def show():
    """Figures and tables from what is stored."""
    table = read("coverage")
    fill_page(
        coverage=markdown(table, read("false-findings")),
        tasks=plain_table(read("tasks")),
        power=plain_table(read("power")),
        factorial=plain_table(read("factorial")),
    )
    draw(table, "coverage", "Share of 95 % intervals that hold the truth (%)", ((95, "-"), (93, "--")), "coverage")
    draw(table, "ratio", "Median width / narrowest fixed width that covers 95 %", ((1, "-"), (1.3, "--")), "width")


if __name__ == "__main__":
    main(sys.argv[1:] or [*(scenario.name for scenario in SCENARIOS), "tasks", "power", "factorial"])
