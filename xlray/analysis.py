"""Estimates from scores, each with an interval: number of tasks, single tasks, agreement of rungs. numpy and scipy.

Intervals are percentile bootstrap intervals. Subsets (or chains) and seeds are crossed, so they are resampled crossed:
one draw of each serves all cells, and a difference between cells uses the same draw on both sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from xlray.results import Results, complete_rungs, fi_accuracy, headline_rows, retrieval_tasks, without_tatoeba

Array: TypeAlias = NDArray[np.float64]

FI_ACCURACY = "fi_accuracy"
WITHOUT_TATOEBA = "without_tatoeba"
ENGLISH = "@en"  # follows a target's name: its headline on English dev
MIN_SUBSETS = 4  # different subsets below which single tasks are not told apart
MIN_TRIALS = 4  # trials below which a rank correlation says nothing
PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 5))


@dataclass(frozen=True)
class Estimate:
    """A number made from several trials.

    Attributes:
        name: what it is, such as `difference/fi_accuracy/8-all - 0`.
        value: in percentage points of the score, or a correlation.
        low: lower end of the interval; None where one seed and one subset leave nothing to resample.
        high: upper end.
        level: of the interval, such as 0.95.
        num_seeds: seeds that entered.
        num_subsets: different task subsets that entered.
        rung: examples of the intermediate phase.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    level: float
    num_seeds: int
    num_subsets: int
    rung: int


@dataclass(frozen=True)
class Point:
    """One trial at one rung, with all its targets scored.

    Attributes:
        cluster: what is resampled with it: its chain, or its subset if it belongs to none.
        scores: outcome to percent: every target, `fi_accuracy`, `without_tatoeba`, and `<target>@en` on English dev.
    """

    trial_id: str
    role: str
    cell: str
    num_tasks: int
    source: str
    tasks: tuple[str, ...]
    cluster: str
    seed: int
    rung: int
    rung_index: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Sampling:
    """How intervals are made.

    Attributes:
        num_draws: bootstrap draws.
        level: of the intervals.
        seed: of the draws, so that a report is the same each time.
    """

    num_draws: int = 2_000
    level: float = 0.95
    seed: int = 0


def collect_points(results: Results) -> tuple[Point, ...]:
    """All (trial, rung) with every target scored, ordered by rung, size of subset, trial."""
    retrieval = retrieval_tasks(results.scores)
    headline = headline_rows(results.scores)
    chains = dict(zip(results.trials["trial_id"].to_pylist(), results.trials["chain"].to_pylist(), strict=True))
    rows = {(row["trial_id"], row["rung_index"]): row for row in headline.to_pylist()}
    # The control has no trunk, so its rows need not carry the examples that name the rung.
    examples: dict[int, int] = {}
    for row in rows.values():
        examples[row["rung_index"]] = max(examples.get(row["rung_index"], 0), row["rung"] or 0)
    english = _english_dev(results)
    points = []
    for key, scores in complete_rungs(results.scores).items():
        row, chain = rows[key], chains.get(key[0])
        tasks, source = tuple(sorted(row["tasks"] or ())), row["source"] or ""
        cluster = f"chain {chain} of {source}" if chain is not None and tasks else " ".join(tasks)
        summary = {FI_ACCURACY: fi_accuracy(scores), WITHOUT_TATOEBA: without_tatoeba(scores, retrieval)}
        place = (key[0], row["role"] or "measure", row["cell"], len(tasks), source, tasks, cluster, row["seed"])
        points.append(Point(*place, examples[key[1]], key[1], {**summary, **scores, **english.get(key, {})}))
    return tuple(sorted(points, key=lambda point: (point.rung_index, point.num_tasks, point.cell, point.trial_id)))


def _english_dev(results: Results) -> dict[tuple[str, int], dict[str, float]]:
    found: dict[tuple[str, int], dict[str, float]] = {}
    columns = ["trial_id", "rung_index", "task", "language", "split", "metric", "value"]
    for row in results.scores.select(columns).to_pylist():
        is_english_dev = (row["language"], row["split"], row["metric"]) == ("en", "dev", "headline")
        if is_english_dev and row["value"] is not None:
            found.setdefault((row["trial_id"], row["rung_index"]), {})[f"{row['task']}{ENGLISH}"] = row["value"]
    return found


def estimable(points: Iterable[Point], rung_index: int) -> list[Point]:
    """The points from which a rung may be estimated.

    At the first rung nothing has been stopped yet, so all trials count. Later only `measure` trials do: the `explore`
    trials that are left were chosen by their score.
    """
    points = list(points)
    first = min((point.rung_index for point in points), default=0)
    return [p for p in points if p.rung_index == rung_index and (rung_index == first or p.role == "measure")]


@dataclass(frozen=True)
class Resample:
    """Crossed bootstrap weights of some points: `subsets * seeds` is how often each point is in each draw.

    Attributes:
        subsets: [draws, points] multiplicity of the point's subset or chain.
        seeds: [draws, points] multiplicity of the point's seed.
    """

    subsets: Array
    seeds: Array

    @property
    def both(self) -> Array:
        return self.subsets * self.seeds


def resample(points: Sequence[Point], sampling: Sampling, pooled: bool = False) -> Resample:
    """One crossed draw per row: seeds among all seeds, subsets (or chains) among those they share cells with.

    Args:
        points: of one rung.
        sampling: number and seed of the draws.
        pooled: draw subsets among all, for numbers that are not made cell by cell.
    """
    generator = np.random.default_rng(sampling.seed)
    clusters = sorted({point.cluster for point in points})
    columns = {cluster: number for number, cluster in enumerate(clusters)}
    counts = np.zeros((sampling.num_draws, len(clusters)))
    for group in [clusters] if pooled else _linked_clusters(points):
        share = np.full(len(group), 1 / len(group))
        counts[:, [columns[c] for c in group]] = generator.multinomial(len(group), share, sampling.num_draws)
    seeds = sorted({point.seed for point in points})
    seed_counts = generator.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), sampling.num_draws)
    by_cluster = counts[:, [columns[point.cluster] for point in points]]
    by_seed = seed_counts[:, [seeds.index(point.seed) for point in points]]
    return Resample(by_cluster, by_seed.astype(np.float64))


def _linked_clusters(points: Sequence[Point]) -> list[list[str]]:
    """Clusters joined through the cells they share: chains fill the same cells and must be drawn together."""
    groups: list[set[str]] = []
    for cell in sorted({point.cell for point in points}):
        merged = {point.cluster for point in points if point.cell == cell}
        apart = [group for group in groups if not group & merged]
        groups = [*apart, merged.union(*(group for group in groups if group & merged))]
    return [sorted(group) for group in groups]


def _estimate(name: str, value: float, draws: Array, points: Sequence[Point], sampling: Sampling) -> Estimate:
    """An estimate with the percentile interval of `draws`; none where the draws cannot differ."""
    usable = draws[np.isfinite(draws)]
    low = high = None
    if len(usable):
        tail = (1 - sampling.level) / 2
        low, high = (float(bound) for bound in np.quantile(usable, (tail, 1 - tail)))
    seeds, subsets = {point.seed for point in points}, {point.tasks for point in points if point.tasks} or {()}
    rung = max(point.rung for point in points)
    return Estimate(name, value, low, high, sampling.level, len(seeds), len(subsets), rung)


def _nothing_varies(points: Sequence[Point]) -> bool:
    """One seed, and one subset or chain in each cell: every draw is the data themselves."""
    places = {(point.cell, point.cluster) for point in points}
    return len({point.seed for point in points}) < 2 and len(places) == len({point.cell for point in points})


def _values(points: Sequence[Point], outcome: str) -> Array:
    return np.array([point.scores.get(outcome, np.nan) for point in points])


def _weighted_mean(weights: Array, values: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weights @ values / weights.sum(axis=-1), dtype=np.float64)


def cell_means(points: Sequence[Point], outcome: str, sampling: Sampling) -> list[Estimate]:
    """Mean outcome of each cell of one rung, over its trials."""
    points = [point for point in points if np.isfinite(point.scores.get(outcome, np.nan))]
    drawn = resample(points, sampling).both if points else np.empty((0, 0))
    estimates = []
    for cell in dict.fromkeys(point.cell for point in points):
        here = [number for number, point in enumerate(points) if point.cell == cell]
        inside, values = [points[number] for number in here], _values(points, outcome)[here]
        draws = np.empty(0) if _nothing_varies(inside) else _weighted_mean(drawn[:, here], values)
        estimates.append(_estimate(f"mean/{outcome}/{cell}", float(values.mean()), draws, inside, sampling))
    return estimates


def cell_pairs(points: Sequence[Point]) -> list[tuple[str, str]]:
    """The comparisons of a rung as (more, fewer): against the smallest cell, the next smaller, and between sources."""
    cells = {point.cell: (point.num_tasks, point.source) for point in points}
    order = sorted(cells, key=lambda cell: (cells[cell][0], cell))
    pairs: list[tuple[str, str]] = []
    for cell in order[1:]:
        size, source = cells[cell]
        smaller = [c for c in order if cells[c][0] < size and (cells[c][1] == source or cells[c][0] == 0)]
        pairs += [(cell, other) for other in dict.fromkeys([*smaller[:1], *smaller[-1:]])]
        pairs += [(cell, c) for c in order if cells[c][0] == size and c < cell]
    return pairs


def cell_differences(points: Sequence[Point], outcome: str, sampling: Sampling) -> list[Estimate]:
    """Difference of two cells of one rung: the mean over the seeds both have of the difference within the seed."""
    points = [point for point in points if np.isfinite(point.scores.get(outcome, np.nan))]
    drawn = resample(points, sampling) if points else None
    estimates = []
    for more, fewer in cell_pairs(points):
        common = {p.seed for p in points if p.cell == more} & {p.seed for p in points if p.cell == fewer}
        if drawn is None or not common:
            continue
        total, weight, per_seed = np.zeros(sampling.num_draws), np.zeros(sampling.num_draws), []
        for seed in sorted(common):
            sides = [[n for n, p in enumerate(points) if p.cell == cell and p.seed == seed] for cell in (more, fewer)]
            values = [_values([points[n] for n in side], outcome) for side in sides]
            means = [_weighted_mean(drawn.subsets[:, s], v) for s, v in zip(sides, values, strict=True)]
            gap = means[0] - means[1]
            times = np.where(np.isfinite(gap), drawn.seeds[:, sides[0][0]], 0.0)
            total += np.where(times > 0, gap, 0.0) * times
            weight += times
            per_seed.append(float(values[0].mean() - values[1].mean()))
        inside = [point for point in points if point.cell in (more, fewer) and point.seed in common]
        draws = np.empty(0) if _nothing_varies(inside) else total[weight > 0] / weight[weight > 0]
        name = f"difference/{outcome}/{more} - {fewer}"
        estimates.append(_estimate(name, float(np.mean(per_seed)), draws, inside, sampling))
    return estimates


@dataclass(frozen=True)
class Contributions:
    """Ridge regression of a score on membership, within seeds.

    Attributes:
        estimates: points that a trial with the task has more than one without it, other tasks equal; shrunk to 0.
        penalty: chosen by leaving out one subset (or chain) at a time.
        held_out_error: root mean squared error on the subsets left out, in points.
        null_error: the same when every subset is predicted by the mean of its seed.
        inseparable: groups of tasks that are always drawn together; only their sum means something.
        missing: what is missing where there are no estimates, else "".
    """

    estimates: tuple[Estimate, ...]
    penalty: float = 0.0
    held_out_error: float = 0.0
    null_error: float = 0.0
    inseparable: tuple[tuple[str, ...], ...] = ()
    missing: str = ""


def contributions(points: Sequence[Point], outcome: str, sampling: Sampling) -> Contributions:
    """What each intermediate task adds at one rung, in the manner of Li, Nguyen and Zhang (2023)."""
    subsets = {point.tasks for point in points}
    if len(subsets) < MIN_SUBSETS:
        return Contributions((), missing=f"at least {MIN_SUBSETS} different subsets at one rung, found {len(subsets)}")
    tasks = sorted({task for subset in subsets for task in subset})
    members = np.array([[float(task in point.tasks) for task in tasks] for point in points])
    # With different subsets there is always a task that some trials have and others have not.
    varying = [number for number in range(len(tasks)) if 0 < members[:, number].mean() < 1]
    tasks, members = [tasks[number] for number in varying], members[:, varying]
    seeds = np.array([point.seed for point in points])
    design, values = _within(members, seeds), _within(_values(points, outcome)[:, None], seeds)[:, 0]
    clusters = np.array([point.cluster for point in points])
    penalty, error, null = _choose_penalty(design, values, clusters)
    coefficients = _ridge(design, values, np.ones((1, len(points))), penalty)[0]
    draws = _ridge(design, values, resample(points, sampling, pooled=True).both, penalty)
    names = [f"contribution/{outcome}/{task}" for task in tasks]
    made = zip(names, coefficients.tolist(), draws.T, strict=True)
    estimates = tuple(_estimate(name, value, drawn, points, sampling) for name, value, drawn in made)
    together: dict[bytes, list[str]] = {}
    for number, task in enumerate(tasks):
        together.setdefault(members[:, number].tobytes(), []).append(task)
    inseparable = tuple(tuple(group) for group in together.values() if len(group) > 1)
    return Contributions(estimates, penalty, error, null, inseparable)


def _within(values: Array, groups: NDArray[Any]) -> Array:
    """`values` less the mean of their group."""
    out = values.copy()
    for group in np.unique(groups):
        out[groups == group] -= values[groups == group].mean(axis=0)
    return out


def _ridge(design: Array, values: Array, weights: Array, penalty: float) -> Array:
    """Coefficients [draws, tasks] with an intercept that is not penalised; `weights` is [draws, points]."""
    out = np.full((len(weights), design.shape[1]), np.nan)
    for number, weight in enumerate(weights):
        total = weight.sum()
        if total == 0:
            continue
        centre, level = weight @ design / total, weight @ values / total
        left = design - centre
        gram = (left * weight[:, None]).T @ left + penalty * np.eye(design.shape[1])
        out[number] = np.linalg.solve(gram, (left * weight[:, None]).T @ (values - level))
    return out


def _choose_penalty(design: Array, values: Array, clusters: NDArray[Any]) -> tuple[float, float, float]:
    """(penalty, held-out error, error of predicting nothing), leaving out one cluster at a time."""
    errors = np.zeros(len(PENALTIES))
    for cluster in np.unique(clusters):
        keep = (clusters != cluster).astype(np.float64)[None]
        out = clusters == cluster
        level, centre = values[~out].mean(), design[~out].mean(axis=0)
        for number, penalty in enumerate(PENALTIES):
            fitted = level + (design[out] - centre) @ _ridge(design, values, keep, penalty)[0]
            errors[number] += float(((values[out] - fitted) ** 2).sum())
    null = float(np.sqrt((values**2).mean()))
    return PENALTIES[int(np.argmin(errors))], float(np.sqrt(errors.min() / len(values))), null


def rank_correlations(points: Sequence[Point], outcome: str, sampling: Sampling) -> list[Estimate]:
    """Spearman correlation of the trials' order at two rungs, over trials that no score kept from the later one."""
    estimates = []
    rungs = sorted({point.rung_index for point in points})
    for early, late in itertools.combinations(rungs, 2):
        before = {p.trial_id: p for p in points if p.rung_index == early}
        after = [point for point in estimable(points, late) if point.trial_id in before]
        if len(after) < MIN_TRIALS:
            continue
        first, second = _values([before[p.trial_id] for p in after], outcome), _values(after, outcome)
        if np.ptp(first) == 0 or np.ptp(second) == 0:
            continue
        value = float(stats.spearmanr(first, second).statistic)
        draws = _rank_correlation(resample(after, sampling, pooled=True).both, first, second)
        name = f"rank_correlation/{outcome}/{before[after[-1].trial_id].rung} - {after[-1].rung}"
        estimates.append(_estimate(name, value, draws, after, sampling))
    return estimates


def _rank_correlation(weights: Array, first: Array, second: Array) -> Array:
    """Spearman correlation of each draw, where a point that is drawn twice counts as two tied ones."""
    ranks = [_weighted_ranks(weights, values) for values in (first, second)]
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    left, right = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)
    spread = np.sqrt((weights * left**2).sum(axis=1) * (weights * right**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-12, (weights * left * right).sum(axis=1) / spread, np.nan))


def _weighted_ranks(weights: Array, values: Array) -> Array:
    _, inverse = np.unique(values, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.flatnonzero(np.diff(inverse[order], prepend=-1))
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    return np.asarray((np.cumsum(tied, axis=1) - tied / 2)[:, inverse], dtype=np.float64)


def all_estimates(points: Sequence[Point], sampling: Sampling | None = None) -> tuple[Estimate, ...]:
    """Everything that the data allow: means, differences and contributions at every rung, order between rungs.

    Single targets, English dev and the mean without Tatoeba are estimated at the last rung that has estimates.
    """
    sampling = sampling or Sampling()
    estimates: list[Estimate] = []
    rungs = [rung for rung in sorted({point.rung_index for point in points}) if estimable(points, rung)]
    for rung in rungs:
        here = estimable(points, rung)
        outcomes = [FI_ACCURACY]
        if rung == rungs[-1]:
            others = sorted({outcome for point in here for outcome in point.scores} - {FI_ACCURACY, WITHOUT_TATOEBA})
            outcomes += [WITHOUT_TATOEBA, *others]
        for outcome in outcomes:
            estimates += cell_means(here, outcome, sampling) + cell_differences(here, outcome, sampling)
        estimates += contributions(here, FI_ACCURACY, sampling).estimates
    return (*estimates, *rank_correlations(points, FI_ACCURACY, sampling))
