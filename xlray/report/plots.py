"""The main figures of a sweep one by one, for notebooks."""

from __future__ import annotations

import functools

from xlray.analysis import Sampling
from xlray.report import score_figures, task_figures
from xlray.report.drawing import Drawing
from xlray.report.evidence import Evidence, Findings, collect_evidence, collect_findings
from xlray.storage.sweep_folder import SweepFolder


class Plots:
    """The figures of the report, read from a sweep's folder when the first one is asked for; notebooks show each as it is."""

    def __init__(self, directory: SweepFolder, sampling: Sampling | None = None) -> None:
        self._directory = directory
        self._sampling = sampling or Sampling()

    @functools.cached_property
    def _evidence(self) -> Evidence:
        return collect_evidence(self._directory, self._sampling)

    @functools.cached_property
    def _findings(self) -> Findings:
        return collect_findings(self._evidence, self._sampling)

    def scaling(self, targets: bool = False) -> Drawing:
        """Accuracy by number of tasks, with the intervals of the means.

        Args:
            targets: each target by itself instead of their mean.
        """
        found = self._evidence
        draw = score_figures.targets_by_num_tasks if targets else score_figures.accuracy_by_num_tasks
        return draw(found.tuned, found.estimates, found.rung_index)

    def curves(self) -> Drawing:
        """Accuracy of each trial over its rungs, those that were stopped too."""
        return score_figures.learning_curves(self._evidence.points, self._evidence.estimates, self._evidence.statuses)

    def contributions(self) -> Drawing:
        """What single tasks add: by chains with intervals, and the ranking of the ridge regression."""
        found = self._findings
        return task_figures.contribution_forest(found.effects.get(found.headline), found.chains, self._evidence.rung)

    def transfer(self) -> Drawing:
        """The ranking of tasks for each target."""
        return task_figures.transfer_matrix(self._findings.effects, self._evidence.rung)
