"""How much of what scores differ by each field explains: Optuna's functional ANOVA over all trials that ran to the end."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlray.analysis.points import ESTIMATED_ROLES, Point
from xlray.analysis.tuned import signal

FEWEST = 8  # trials, below which a forest says nothing
PACKAGES = {"optuna": "optuna", "sklearn": "scikit-learn"}  # module -> package


@dataclass(frozen=True)
class Importance:
    """What the fields of trials explain.

    Attributes:
        shares: field to its share of the variance of a random forest's predictions over the whole space, the largest first;
            what is missing to 1 is interactions of fields.
        num_trials: that it is from.
        left_out: reason to the number of trials that are not in it.
        missing: what the data or this installation lack for it; then there are no shares.
    """

    shares: Mapping[str, float]
    num_trials: int
    left_out: Mapping[str, int]
    missing: str = ""


def importance_of_fields(
    points: Sequence[Point],
    values: Mapping[str, Mapping[str, Any]],
    space: Mapping[str, Mapping[str, Any] | None],
    last_rung: int,
    select_by: str,
) -> Importance:
    """Importance of each field for what trials are ranked by (fANOVA; Hutter, Hoos and Leyton-Brown 2014).

    Scores count from the mean of their number of tasks and seed (in a grid, of their source, too), so that these explain
    nothing. Beside a search only trials count that share these with a proposal: among the others the fields that are
    searched do not vary. Trials of every role count: it describes those that ran, and estimates nothing.

    Args:
        points: as `collect_points` makes them.
        values: trial to its values by field.
        space: the fields, to their domains as `sweep.json` has them; None for one whose values were listed.
        last_rung: number of the sweep's last rung.
        select_by: the signal, as in `Sweep`.
    """
    lacking = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    left_out: Counter[str] = Counter()
    reached = {point.trial_id for point in points if point.rung_index == last_rung and not point.diverged}
    diverged = {point.trial_id for point in points if point.diverged} - reached
    left_out["diverged"] = len(diverged)
    left_out["stopped, or still running, before the last rung"] = len({p.trial_id for p in points} - reached - diverged)
    kept = []
    for point in (p for p in points if p.rung_index == last_rung and not p.diverged):
        found = values.get(point.trial_id, {})
        if any(found.get(name) is None for name in space):
            left_out["without a value of every field"] += 1
        elif not math.isfinite(signal(point, select_by)):
            left_out["without a score"] += 1
        else:
            kept.append(point)
    searched = {_group(point) for point in kept if point.role not in ESTIMATED_ROLES}
    if searched:
        apart = [point for point in kept if _group(point) not in searched]
        kept = [point for point in kept if _group(point) in searched]
        left_out["at other seeds or numbers of tasks than any proposal"] = len(apart)
    counted = {reason: number for reason, number in left_out.items() if number}
    fields = [name for name in space if len({values[p.trial_id][name] for p in kept}) > 1]
    missing = ""
    if lacking:
        missing = f"the packages {' and '.join(lacking)}: pip install 'xlray[search]'"
    elif len(kept) < FEWEST:
        missing = f"{FEWEST} trials that ran to the last rung, but there are {len(kept)}"
    elif not fields:
        missing = "a field with two values"
    if missing:
        return Importance({}, len(kept), counted, missing)
    rows = [{name: values[p.trial_id][name] for name in fields} for p in kept]
    groups = [_group(point) if searched else (point.population, point.seed) for point in kept]
    shares = _shares(
        rows, _centred([signal(p, select_by) for p in kept], groups), {name: space[name] for name in fields}
    )
    return Importance(dict(sorted(shares.items(), key=lambda item: -item[1])), len(kept), counted)


def _group(point: Point) -> tuple[int, int]:
    return point.num_tasks, point.seed


def _centred(scores: Sequence[float], groups: Sequence[Hashable]) -> list[float]:
    inside: dict[Hashable, list[float]] = {}
    for score, group in zip(scores, groups, strict=True):
        inside.setdefault(group, []).append(score)
    return [score - math.fsum(inside[group]) / len(inside[group]) for score, group in zip(scores, groups, strict=True)]


def _shares(
    rows: Sequence[Mapping[str, Any]], scores: Sequence[float], space: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, float]:
    import optuna

    scales = {name: _is_log(domain) for name, domain in space.items()}
    placed = [{name: math.log(v) if scales[name] else v for name, v in row.items()} for row in rows]
    dims = {name: _distribution([row[name] for row in placed], domain) for name, domain in space.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row, score in zip(placed, scores, strict=True):
        study.add_trial(optuna.trial.create_trial(params=dict(row), distributions=dims, value=score))
    return dict(optuna.importance.FanovaImportanceEvaluator(seed=0).evaluate(study))


def _is_log(domain: Mapping[str, Any] | None) -> bool:
    return bool(domain and domain.get("log"))


def _distribution(values: Sequence[Any], domain: Mapping[str, Any] | None) -> Any:
    """A domain by its own ends, or wider where trials of an earlier definition lie beyond; listed values as a choice."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if domain is None or "low" not in domain:
        return CategoricalDistribution(tuple(dict.fromkeys(values)))
    ends = [math.log(domain[end]) if _is_log(domain) else domain[end] for end in ("low", "high")]
    return FloatDistribution(min(*values, ends[0]), max(*values, ends[1]))
