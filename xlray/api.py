"""What Python users call: run a sweep, or load what one has measured, with its report at hand."""

from __future__ import annotations

import dataclasses
import html
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xlray.analysis.results import Results
from xlray.analysis.results import load_results as load_tables
from xlray.cli.status import sweep_lines
from xlray.cli.sweep_file import data_folder
from xlray.config.sweep import Sweep
from xlray.storage.standings import standings
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder, open_sweep, read_definition

if TYPE_CHECKING:
    from xlray.report.plots import Plots

MOST_TRIALS = 20  # shown of a sweep in a notebook


def html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as an HTML table; floats have one decimal."""

    def shown(value: Any) -> str:
        return "" if value is None else f"{value:.1f}" if isinstance(value, float) else html.escape(str(value))

    head = "".join(f"<th>{html.escape(key)}</th>" for key in (rows[0] if rows else ()))
    body = "".join(f"<tr>{''.join(f'<td>{shown(value)}</td>' for value in row.values())}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class SweepList(list[dict[str, Any]]):
    """The sweeps of a storage, the one that changed last first.

    Each has name, state, trials (status to number), language (of the headline), best_accuracy (of the last rung, in it),
    changed (seconds UTC), question.
    """

    def _repr_html_(self) -> str:
        trials = [", ".join(f"{number:,} {status}" for status, number in line["trials"].items()) for line in self]
        keys = ("name", "state", "language", "best_accuracy", "question")
        rows = zip(self, trials, strict=True)
        return html_table([{**{key: line[key] for key in keys}, "trials": text} for line, text in rows])


class SweepForecast(dict[str, Any]):
    """What `xlray plan --json` prints; as text and in notebooks the lines of `xlray plan`."""

    def __str__(self) -> str:
        from xlray.cli.tables import plan_lines

        return "\n".join(plan_lines(self))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


class SweepComparison(dict[str, Any]):
    """What `xlray compare --json` prints; in notebooks its answer, its warnings and its rows."""

    def _repr_html_(self) -> str:
        texts = [*self["answer"].splitlines(), *(f"differs: {line}" for line in self["differing"]), *self["warnings"]]
        keys = ("rung", "cell", "outcome", "first", "second", "difference", "low", "high", "num_pairs")
        rows = [{key: row[key] for key in keys} for row in self["rows"]]
        return "".join(f"<p>{html.escape(text)}</p>" for text in texts) + html_table(rows)


class SweepResults(Results):
    """A sweep's tables (`scores`, `trials`, `phases`, `steps`), its `best()` trial, tidy tables for notebooks, its `report()`.

    Attributes:
        name: the sweep's name.
        directory: `<storage>/sweeps/<name>`.
        scores: one row per measured number.
        trials: one row per trial.
        phases: one row per phase that a trial needed: the cost.
        steps: training curves, some rows per phase; read at the first use.
        targets: target tasks of the definition; () if it does not name them.
        languages: that targets are evaluated in, that of the headline first.
    """

    @property
    def plot(self) -> Plots:
        """Its main figures: `plot.scaling()`, `plot.curves()`, `plot.contributions()`, `plot.transfer()`."""
        from xlray.report.plots import Plots

        return Plots(open_sweep(self.directory))

    def compare(self, other: Results) -> SweepComparison:
        """This sweep and another, paired where they share a subset and a seed; differences are the other minus this one.

        Args:
            other: of another sweep.

        Raises:
            InputError: both are the same, or share no cell.
        """
        from xlray.report.compare import compare_sweeps

        return SweepComparison(compare_sweeps(self.directory, other.directory))

    def _repr_html_(self) -> str:
        """For notebooks: the trials, best first."""
        keys = ("trial_id", "status", "cell", "seed", "last_rung", self.accuracy_name)
        rows = self.trials.select(keys).to_pylist()
        rows.sort(key=lambda row: (-(row["last_rung"] or 0), -(row[self.accuracy_name] or 0.0)))
        shown = html_table(rows[:MOST_TRIALS])
        left = f"<p>{len(rows) - MOST_TRIALS:,} more in <code>.trials</code></p>" if len(rows) > MOST_TRIALS else ""
        return f"<p><b>{html.escape(self.name)}</b>: {len(rows):,} trials</p>{shown}{left}"

    def points(self) -> pa.Table:
        """One row per trial and rung with all targets scored.

        Columns: trial_id, role, cell, num_tasks, source, tasks, seed, rung, rung_index, then every score in percent:
        the mean of the headlines in the sweep's language (`fi_accuracy`), `without_tatoeba`, each target, `<target>@en` on
        English dev, and of further languages the mean (`et_accuracy`) and each target (`<target>@et`).
        """
        from xlray.analysis import collect_points

        plain = ("trial_id", "role", "cell", "num_tasks", "source", "tasks", "seed", "rung", "rung_index")
        rows = [{**{name: getattr(p, name) for name in plain}, **p.scores} for p in collect_points(self)]
        names = dict.fromkeys([*plain, *(name for row in rows for name in row)])
        return pa.table({name: [row.get(name) for row in rows] for name in names})

    def estimates(self) -> pa.Table:
        """One row per estimate, as in the report: name, value, low, high, level, num_seeds, num_subsets, rung."""
        from xlray.analysis import collect_points, sweep_estimates

        points = collect_points(self, standings(open_sweep(self.directory).journal.read()).trials)
        select_by = read_definition(self.directory).get("select_by", "target-dev")
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


def list_sweeps(storage: Path | str = "runs") -> SweepList:
    """The sweeps that were run in a storage, the one that changed last first.

    Args:
        storage: folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.
    """
    return SweepList(sweep_lines(named_storage(str(storage))))


def forecast(sweep: Sweep, storage: Path | str = "runs", data_dir: Path | str | None = None) -> SweepForecast:
    """What a sweep would compute, what of it is stored and what the rest costs; computes nothing.

    Args:
        sweep: what would be run.
        storage: folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.
        data_dir: folder of the tasks' original files.

    Raises:
        InputError: wrong use, or data that are not there.
    """
    from xlray.phases.store import Store
    from xlray.plan.forecast import summary
    from xlray.plan.trials import plan_sweep

    opened = named_storage(str(storage))
    planned = plan_sweep(sweep, data_folder(None if data_dir is None else Path(data_dir)), opened)
    return SweepForecast(summary(planned, Store(opened)))


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
