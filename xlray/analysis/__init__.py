"""Estimates from scores, each with an interval. Reads tables and the journal only: numpy, scipy and pyarrow.

survival    the weights that stopping gives trials
points      trials at their rungs
grid        the trials of one cell by subset and seed
membership  what tasks that subsets share take off the variance between them
crossed     means and differences over crossed samples of subsets and seeds, intervals in closed form
items       the evaluated items as a sample
control     how much noisier the control is, from all targets
effects     cells and their differences, Holm, robustness
factorial   the two by two: number of tasks, their source, interaction
bootstrap   the crossed bootstrap
curves      scaling curves over tasks and over examples
regression  a ranking of tasks by regression on membership
chains      contributions by the order in which tasks enter: Shapley values, blocks
pairs       interactions of two tasks
groups      the ranking by kinds, languages, scripts, sizes
tuned       cells of a sweep with axes at their own best values
main_effects  what each value of an axis does on average over the others
importance  how much of what scores differ by each field explains
selection   the gap of choosing without labels in the target language; rank correlations
power       minimum detectable effect
estimates   all of them in one list
"""

from xlray.analysis.bootstrap import Resample, resample
from xlray.analysis.chains import (
    ChainContributions,
    SideBySide,
    chain_contributions,
    chain_lines,
    side_by_side,
)
from xlray.analysis.curves import Curve, CurveFit, example_curves, task_curves
from xlray.analysis.effects import (
    cell_differences,
    cell_means,
    cell_pairs,
    compared_cells,
    holm,
    robustness,
    target_names,
)
from xlray.analysis.estimates import all_estimates, sweep_estimates
from xlray.analysis.factorial import TwoByTwo, find_two_by_two, two_by_two, two_by_two_of
from xlray.analysis.groups import TaskFacts, grouped_contributions
from xlray.analysis.importance import Importance, importance_of_fields
from xlray.analysis.items import (
    CellItems,
    ItemVariance,
    averaged_targets,
    item_variances,
    items_by_cell,
    subset_item_variance,
    variance_of,
)
from xlray.analysis.main_effects import MainEffect, main_effects
from xlray.analysis.pairs import Interactions, interactions
from xlray.analysis.points import (
    CONTROL,
    ENGLISH,
    FI_ACCURACY,
    MIN_SAMPLES,
    WITHOUT_TATOEBA,
    Estimate,
    Point,
    Sampling,
    chain_name,
    collect_points,
    draw_of,
    estimable,
    headline_of,
    is_control_source,
    mean_names,
    means_of_languages,
    too_few,
    without_controls,
)
from xlray.analysis.power import (
    ASSUMED,
    Variances,
    detectable,
    estimate_variances,
    minimum_detectable_effect,
)
from xlray.analysis.regression import Contributions, contributions
from xlray.analysis.selection import dev_test_correlations, rank_correlations, selection_correlations, selection_gaps
from xlray.analysis.tuned import Choice, at_best_values, edges

__all__ = [
    "ASSUMED",
    "CONTROL",
    "ENGLISH",
    "FI_ACCURACY",
    "MIN_SAMPLES",
    "WITHOUT_TATOEBA",
    "CellItems",
    "ChainContributions",
    "Choice",
    "Contributions",
    "Curve",
    "CurveFit",
    "Estimate",
    "Importance",
    "Interactions",
    "ItemVariance",
    "MainEffect",
    "Point",
    "Resample",
    "Sampling",
    "SideBySide",
    "TaskFacts",
    "TwoByTwo",
    "Variances",
    "all_estimates",
    "at_best_values",
    "averaged_targets",
    "cell_differences",
    "cell_means",
    "cell_pairs",
    "chain_contributions",
    "chain_lines",
    "chain_name",
    "collect_points",
    "compared_cells",
    "contributions",
    "detectable",
    "dev_test_correlations",
    "draw_of",
    "edges",
    "estimable",
    "estimate_variances",
    "example_curves",
    "find_two_by_two",
    "grouped_contributions",
    "headline_of",
    "holm",
    "importance_of_fields",
    "interactions",
    "is_control_source",
    "item_variances",
    "items_by_cell",
    "main_effects",
    "mean_names",
    "means_of_languages",
    "minimum_detectable_effect",
    "rank_correlations",
    "resample",
    "robustness",
    "selection_correlations",
    "selection_gaps",
    "side_by_side",
    "subset_item_variance",
    "sweep_estimates",
    "target_names",
    "task_curves",
    "too_few",
    "two_by_two",
    "two_by_two_of",
    "variance_of",
    "without_controls",
]
