"""What Python users call: run a sweep, or load what one has measured, with its report at hand."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlray.analysis.results import Results
from xlray.analysis.results import load_results as load_tables
from xlray.cli.sweep_file import data_folder
from xlray.config.sweep import Sweep
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder, open_sweep, read_definition


class SweepResults(Results):
    """A sweep's tables (`scores`, `trials`, `phases`), its `best()` trial, tidy tables for notebooks, its `report()`.

    Attributes:
        name: the sweep's name.
        directory: `<storage>/sweeps/<name>`.
        scores: one row per measured number.
        trials: one row per trial.
        phases: one row per phase that a trial needed: the cost.
        targets: target tasks of the definition; () if it does not name them.
    """

    def points(self) -> pa.Table:
        """One row per trial and rung with all targets scored.

        Columns: trial_id, role, cell, num_tasks, source, tasks, seed, rung, rung_index, then every score in percent:
        `fi_accuracy`, `without_tatoeba`, each target, and `<target>@en` on English dev.
        """
        from xlray.analysis import collect_points

        plain = ("trial_id", "role", "cell", "num_tasks", "source", "tasks", "seed", "rung", "rung_index")
        rows = [{**{name: getattr(p, name) for name in plain}, **p.scores} for p in collect_points(self)]
        names = dict.fromkeys([*plain, *(name for row in rows for name in row)])
        return pa.table({name: [row.get(name) for row in rows] for name in names})

    def estimates(self) -> pa.Table:
        """One row per estimate, as in the report: name, value, low, high, level, num_seeds, num_subsets, rung."""
        from xlray.analysis import collect_points, sweep_estimates

        points = collect_points(self, open_sweep(self.directory).journal.read())
        select_by = read_definition(self.directory).get("select_by", "finnish-dev")
        return pa.Table.from_pylist([dataclasses.asdict(e) for e in sweep_estimates(self, points, select_by)])

    def report(self, path: Path | str | None = None) -> Path:
        """Write the report into the sweep's folder, and copy it.

        Args:
            path: a file (`answer.html`) gets the page, which needs nothing beside it; a folder gets tables and figures
                as well. None leaves it in the sweep's folder.

        Returns:
            The page's path.
        """
        from xlray.report.report import write_report

        write_report(self.directory)
        made = self.directory / "report"
        if path is None:
            return made / "report.html"
        target = Path(path)
        if target.suffix == ".html":
            target.parent.mkdir(parents=True, exist_ok=True)
            return Path(shutil.copyfile(made / "report.html", target))
        shutil.copytree(made, target, dirs_exist_ok=True)
        return target / "report.html"


def load_results(name: Path | str, storage: Path | str = "runs") -> SweepResults:
    """The tables of a sweep that was run, finished or not.

    Args:
        name: of the sweep in the storage, or its folder.
        storage: folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.

    Raises:
        InputError: there is no such sweep, or a table cannot be read.
    """
    return SweepResults(**vars(load_tables(find_sweep_folder(str(name), named_storage(str(storage))).path)))


def run(
    sweep: Sweep,
    storage: Path | str = "runs",
    data_dir: Path | str | None = None,
    address: str | None = None,
    listener: Callable[[dict[str, Any]], None] = lambda _: None,
) -> SweepResults:
    """Run a sweep or resume it: phases that are stored are not computed again.

    Args:
        sweep: what to run.
        storage: folder that all workers see, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX.
        data_dir: folder of the tasks' original files.
        address: of a running Ray cluster; None starts Ray on this machine.
        listener: gets every entry of the journal as it happens.

    Raises:
        InputError: wrong use, before anything is started.
    """
    from xlray.sweep.run import run as run_sweep  # loads Ray

    folder = data_folder(None if data_dir is None else Path(data_dir))
    return SweepResults(**vars(run_sweep(sweep, named_storage(str(storage)), folder, address, listener)))
