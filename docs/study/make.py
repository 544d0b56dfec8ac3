"""Fills `docs/study.md` from the storage of its sweeps: `python docs/study/make.py STORAGE`.

What stands between `<!-- study: WHAT -->` and `<!-- end -->` is written anew. WHAT is `answer`, `table NAME` (of the report's
tables), `pilot SWEEP` (dev scores without Finnish of each trial of a pilot) or `neighbours` (the languages that targets have
as pivots). The report's page and tables are copied to `docs/study/`, its figures to `docs/study/figures/`.
"""

from __future__ import annotations

import re
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from xlray.analysis import Sampling, collect_points
from xlray.analysis.factorial import two_by_two
from xlray.analysis.results import load_results
from xlray.report.report import write_report
from xlray.storage.cells import cell_in_words, effect_in_words
from xlray.storage.standings import standings
from xlray.storage.storage import Storage, named_storage
from xlray.storage.sweep_folder import find_sweep_folder

HERE = Path(__file__).parent
PAGE = HERE.parent / "study.md"
NAME = "finnish-9-vs-20-small"
BLOCK = re.compile(r"(<!-- study: (?P<what>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
NEIGHBOURS = {"udpos": "Finnish", "udpos@et": "Estonian", "udpos@hu": "Hungarian"}


def main(storage: Storage) -> None:
    """Write every block of the page that the storage has data for, and the report of the study's sweep once it was run."""
    fill = {"pilot": lambda name: pilot(name, storage)}
    if (storage.root / "sweeps" / NAME).is_dir():
        fill |= run_blocks(storage)
    else:
        print(f"{NAME} was not run yet: only the pilots are written.")

    def block(found: re.Match[str]) -> str:
        what, _, name = found["what"].partition(" ")
        return f"{found[1]}{fill[what](name)}\n{found[3]}" if what in fill else found[0]

    PAGE.write_text(BLOCK.sub(block, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def run_blocks(storage: Storage) -> dict[str, Callable[[str], str]]:
    """What the blocks of the study's sweep hold, after its report was written and copied to `docs/study/`."""
    sweep = find_sweep_folder(NAME, storage)
    made = write_report(sweep, unseal=True)
    report = sweep.path / "report"
    shutil.copy(report / "report.html", HERE / "report.html")
    for kind, ending in (("tables", "csv"), ("figures", "svg")):
        (HERE / kind).mkdir(exist_ok=True)
        for file in sorted((report / kind).glob(f"*.{ending}")):
            shutil.copy(file, HERE / kind / file.name)
    return {
        "answer": lambda _: "\n".join(f"> {line}\n>" for line in made["answer"].splitlines()).rstrip("\n>"),
        "table": lambda name: (
            (report / "tables" / f"{name}.md").read_text(encoding="utf-8").partition("\n\n")[2].strip()
        ),
        "neighbours": lambda _: neighbours(storage),
    }


def pilot(name: str, storage: Storage) -> str:
    """Dev headlines of a pilot's trials by what varied, in all languages but Finnish, as a table."""
    folder = find_sweep_folder(name, storage)
    results = load_results(folder.path)
    settings = dict(zip(*(results.trials[column].to_pylist() for column in ("trial_id", "setting")), strict=True))
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in results.scores.to_pylist():
        if (row["metric"], row["split"]) == ("headline", "dev") and row["language"] != "fi":
            found[settings[row["trial_id"]]][f"{row['task']} {row['language']}"] = row["value"]
    columns = sorted({column for values in found.values() for column in values})
    rows = (
        (setting, *(f"{values[c]:.1f}" if c in values else "not yet" for c in columns))
        for setting, values in sorted(found.items())
    )
    return markdown(("rates", *columns), rows)


def neighbours(storage: Storage) -> str:
    """Parts of speech in Finnish and its relatives: the mean of each cell, and the effects of the two by two."""
    folder = find_sweep_folder(NAME, storage)
    points = collect_points(load_results(folder.path), standings(folder.journal.read()).trials)
    by_cell: dict[str, list[dict[str, float]]] = defaultdict(list)
    for point in points:
        by_cell[point.cell].append(point.scores)
    means = [
        [
            cell_in_words(cell, "no task"),
            len(found),
            *(f"{statistics.fmean(s[name] for s in found):.1f}" for name in NEIGHBOURS),
        ]
        for cell, found in by_cell.items()
    ]
    effects: dict[str, list[str]] = defaultdict(list)
    for name in NEIGHBOURS:
        for estimate in two_by_two(points, name, Sampling()):
            ends = f" [{estimate.low:.1f}, {estimate.high:.1f}]" if estimate.low is not None else ""
            effects[effect_in_words(estimate.name.split("/", 2)[2])].append(f"{estimate.value:+.1f}{ends}")
    first = markdown(("cell", "trials", *NEIGHBOURS.values()), means)
    return first + "\n\n" + markdown(("effect", *NEIGHBOURS.values()), ((name, *row) for name, row in effects.items()))


def markdown(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main(named_storage(sys.argv[1]))
