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
from simulator import TARGETS, Scenario, simulate

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, Variances, effects, items
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
NUM_WITH_FAILURES = 1_250  # some of these have too few trials left for an interval
CHUNK = 250
NUM_DRAWN, PER_DRAW = 400, 20  # sweeps where a design of the package draws the subsets, and those with the same ones
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
        design = subsets.matched(*pools, sizes=sizes, num=num_chains, seed=number)
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
    return {key: np.array(rows, dtype=float) for key, rows in found.items()}


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


def item_variance_of(cells, more, fewer):
    """What the items do, [sweeps, outcomes]."""
    parts = []
    for sign, name in ((1.0, more), (-1.0, fewer)):
        shares = np.moveaxis(cells[name].items, -1, 1)
        shares = shares.reshape(*shares.shape[:2], -1, shares.shape[-1])
        parts.append((sign, items.cell_items(items.sum_trials(shares, np.ones(shares.shape[2])))))
    found = items.items_variance(parts)
    kinds = (found.added, found.least)
    return ItemPart(*(np.concatenate([x.sum(axis=1, keepdims=True) / len(TARGETS) ** 2, x], axis=1) for x in kinds))


def estimate(simulated, scenario):
    """{(more, fewer): [sweeps, outcomes, (value, low, high, p-value, degrees of freedom, truth)]}."""
    cells = {cell.name: cell for cell in simulated.cells}
    sizes = [Point("", "", c.name, c.size, c.pool, (), "", 0, 0, 0, {}) for c in simulated.cells]
    pairs = analysis.cell_pairs(sizes)
    extra = {pair: item_variance_of(cells, *pair) for pair in pairs} if scenario.num_items else {}
    alike = not (scenario.stopping or scenario.failure_rate)
    parts = {pair: [] for pair in pairs}
    for some in [slice(None)] if alike else range(len(simulated.cells[0].scores)):
        grids = {name: grid_of(cell, scenario, some) for name, cell in cells.items()}
        chosen = {pair: part if alike else part[some] for pair, part in extra.items()}
        made = effects.differences(grids, pairs, chosen, additivity_of(grids))
        for pair, rows in parts.items():
            if pair in made and made[pair].standard_error is not None:
                columns = (
                    made[pair].value,
                    made[pair].standard_error,
                    made[pair].p_value(),
                    made[pair].degrees_of_freedom,
                )
                rows.append(np.stack(np.broadcast_arrays(*columns), axis=-1))
            else:  # so many trials failed that the cells share one seed or none
                rows.append(np.full((len(OUTCOMES), 4), np.nan))
    found = {}
    for pair, made in parts.items():
        value, error, p_value, freedom = np.moveaxis(made[0] if alike else np.stack(made), -1, 0)
        half = stats.t.ppf(0.975, freedom) * error
        truth = cells[pair[0]].truth - cells[pair[1]].truth
        truth = np.concatenate([truth.mean(axis=1, keepdims=True), truth], axis=1)
        found[pair] = np.stack([value, value - half, value + half, p_value, freedom, truth], axis=-1)
    return found


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
    num_sweeps = NUM_WITH_FAILURES if scenario.failure_rate else NUM_SWEEPS
    num_sweeps = num_sweeps if scenario.design == "chains" else NUM_DRAWN
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


def simulated_chunks(scenario, design, num_sweeps):
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
        for chain, seed in np.argwhere(cell.weights[sweep] > 0).tolist():
            members = np.flatnonzero(cell.members[sweep, chain]).tolist()
            tasks = tuple(f"{cell.pool}-{task:02d}" for task in members)
            own = own_name(scenario, cell, chain)
            scores = dict(zip(TARGETS, cell.scores[sweep, chain, seed].tolist(), strict=True))
            scores[FI_ACCURACY] = float(np.mean(list(scores.values())))
            place = (cell.name, cell.size, cell.pool, tasks, own, seed, 65_536, 1)
            weight = float(cell.weights[sweep, chain, seed])
            points.append(Point(f"{own}/{cell.name}/{seed}", "measure", *place, scores, weight))
    return points


def recovered(num_sweeps=60):
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


def factorial(num_sweeps=NUM_DRAWN):
    """How often the intervals of the two by two hold the truth in Finnish accuracy, and their width as in the other tables."""
    rows = []
    for scenario, design in itertools.product(FACTORIAL, DESIGNS):
        found = {}
        for simulated in simulated_chunks(scenario, design, num_sweeps):
            for effect, made in effects_in(simulated, scenario).items():
                found.setdefault(effect, []).append(made)
        for effect, parts in found.items():
            value, low, high, truth = np.concatenate(parts).T
            row = {
                "scenario": scenario.name,
                "seeds": design[0],
                "draws": design[1],
                "sweeps": num_sweeps,
                "effect": effect,
            }
            row["coverage"] = round(float(((low <= truth) & (truth <= high)).mean()), 4)
            oracle = np.quantile(np.abs(value - truth), 0.95)
            rows.append({**row, "width_/_oracle": round(float(np.median(high - low) / 2 / oracle), 2)})
    return rows


def effects_in(simulated, scenario, outcome=FI_ACCURACY):
    """{"number", "source", "interaction"} to [sweeps, (value, low, high, truth)] in Finnish accuracy, by the report's points."""
    place = slice(None) if outcome == FI_ACCURACY else [TARGETS.index(outcome)]
    truths = {cell.name: cell.truth[:, place].mean(axis=1) for cell in simulated.cells}
    found = {}
    for sweep in range(len(simulated.cells[0].scores)):
        points = to_points(simulated, scenario, sweep)
        made = {e.name.split("/")[2]: e for e in analysis.two_by_two(points, outcome, Sampling())}
        for name, coefficients in analysis.find_two_by_two(points).contrasts().items():
            truth = sum(c * truths[cell][sweep] for cell, c in coefficients.items())
            row = (made[name].value, made[name].low, made[name].high, truth)
            found.setdefault(name.split()[0], []).append(row)
    return {effect: np.array(rows) for effect, rows in found.items()}


def power(num_sweeps=NUM_SWEEPS):
    """How often the difference that `minimum_detectable_effect` names is found; its nominal power is 0.8.

    Between 9 tasks of the two pools; for subsets that the package draws, the difference that `xlray plan` names for them, and
    the effects of the two by two.
    """
    rows = []
    for kind, design in itertools.product(("chains", "matched"), DESIGNS):
        effects_found = [one_power(kind, design, number) for number in range(num_sweeps // PER_DRAW)]
        effect, share = np.mean(effects_found, axis=0)
        place = {"design": kind, "seeds": design[0], "chains": design[1], "sweeps": num_sweeps}
        rows.append({**place, "minimum_detectable_effect": round(effect, 3), "found": round(share, 3)})
    for effect, design in itertools.product(GAINS, DESIGNS):
        found = [power_of_effect(effect, design, number) for number in range(NUM_DRAWN // PER_DRAW)]
        smallest, share = np.mean(found, axis=0)
        place = {"design": f"matched, {effect}", "seeds": design[0], "chains": design[1], "sweeps": NUM_DRAWN}
        rows.append({**place, "minimum_detectable_effect": round(smallest, 3), "found": round(share, 3)})
    return rows


def one_power(kind, design, number):
    """(difference, share of single targets in which it is found) of sweeps with the same subsets, or of as many others."""
    size = 9
    scenario = Scenario("power", design=kind, target_scales=(1.0, 1.0, 1.0, 1.0))
    pool, variances = scenario.pool_size, variances_of(scenario, size)
    drawn, overlap, pair = None, None, (f"{size}-second", f"{size}-first")
    if kind != "chains":
        drawn = drawn_by(kind, scenario.sizes, pool, design[1], number)
        cells = {f"{k}-{p}": planned(p, rows) for (p, k), rows in drawn.items()}
        sources = {cell: cell.partition("-")[2] for cell in cells}
        difference = {pair: {pair[0]: 1.0, pair[1]: -1.0}}
        overlap = analysis.find_overlaps(cells, sources, difference, design[0], variances)[pair]
    effect = analysis.minimum_detectable_effect(design[1], design[0], variances, overlap=overlap)
    scenario = dataclasses.replace(scenario, second_effect=effect / size)
    simulated = simulate(scenario, PER_DRAW, *design, generator(scenario, design, number), drawn)
    return effect, float((estimate(simulated, scenario)[pair][:, 1:, 3] < 0.05).mean())


def variances_of(scenario, *sizes):
    """Of a single target, its subsets' as the mean over cells of so many tasks."""
    pool = scenario.pool_size
    subset = np.mean([scenario.task_spread**2 * size * (pool - size) / (pool - 1) for size in sizes])
    return Variances(subset, seed=scenario.seed_cell_spread**2, trial=scenario.noise**2, additive=1.0)


# What a task of each pool adds where the effect of the two by two (9 and 20 tasks) is 1.
GAINS = {"number": (1 / 11, 1 / 11), "source": (0.0, 1 / 14.5), "interaction": (0.0, 1 / 11)}


def power_of_effect(effect, design, number, num_sweeps=PER_DRAW):
    """(effect of the two by two, share of sweeps in which it is found in a single target) with the same subsets."""
    scenario = Scenario("power", design="matched", target_scales=(1.0, 1.0, 1.0, 1.0))
    drawn = drawn_by("matched", scenario.sizes, scenario.pool_size, design[1], number)
    cells = {f"{k}-{p}": planned(p, rows) for (p, k), rows in drawn.items()} | {"0": {"": ()}}
    places = {cell: (int(cell.partition("-")[0]), cell.partition("-")[2]) for cell in cells}
    sums = {name.split()[0]: parts for name, parts in analysis.two_by_two_of(places).contrasts().items()}
    sources = {cell: source for cell, (_, source) in places.items()}
    variances = variances_of(scenario, *scenario.sizes)
    smallest = analysis.detectable(cells, sources, sums, design[0], variances)[effect]
    first, second = (smallest * gain for gain in GAINS[effect])
    scenario = dataclasses.replace(scenario, mean_effect=first, second_effect=second)
    simulated = simulate(scenario, num_sweeps, *design, generator(scenario, design, number), drawn)
    rows = effects_in(simulated, scenario, TARGETS[number % len(TARGETS)])[effect]
    assert np.allclose(rows[:, 3], smallest)
    return smallest, float((rows[:, 1] > 0).mean())


def planned(pool, rows):
    """Cluster to tasks, as a plan has them."""
    return {f"chain {n} (drawn)": tuple(f"{pool}-{k:02d}" for k in np.flatnonzero(row)) for n, row in enumerate(rows)}


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
        mark = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(mark, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    path.write_text(text)


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
