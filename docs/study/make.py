"""Fills `docs/study.md` from the storage of its sweeps: `python docs/study/make.py STORAGE [--unseal]`.

What stands between `<!-- study: WHAT -->` and `<!-- end -->` is written anew, for every sweep that the storage has. WHAT is
`state` (hash of the definition, trials by seed), `answer`, `table NAME` (of the report's tables), `pilot SWEEP` (dev scores
without Finnish of each trial of a pilot) or `neighbours` (the languages that targets have as pivots). The report's page and
tables are copied to `docs/study/`, its figures to `docs/study/figures/`, and the storage without weights and predictions is
packed into `docs/study/storage.tar.xz`. `--unseal` opens the test sets, once all trials have finished.
"""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from xlray.analysis import Sampling, collect_points
from xlray.analysis.effects import shared_of
from xlray.analysis.factorial import two_by_two
from xlray.analysis.items import item_variances
from xlray.analysis.results import UNSEALED_FILE, load_results
from xlray.plan.definition import definition_hash
from xlray.report.report import write_report
from xlray.storage.cells import cell_in_words, effect_in_words
from xlray.storage.standings import standings
from xlray.storage.storage import Storage, named_storage
from xlray.storage.sweep_folder import find_sweep_folder, read_definition

HERE = Path(__file__).parent
PAGE = HERE.parent / "study.md"
NAME = "finnish-9-vs-20-small"
BLOCK = re.compile(r"(<!-- study: (?P<what>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
# Of each phase and of the study's sweep; enough to report and to resume, not to train further from a phase.
PACKED = ("DONE", "spec.json", "scores.parquet", "items.parquet", "steps.parquet", "sweep.json")
NEIGHBOURS = {"udpos": "Finnish", "udpos@et": "Estonian", "udpos@hu": "Hungarian"}


def main(storage: Storage, unseal: bool) -> None:
    """Write every block of the page that the storage has data for, and the report of the study's sweep once it was run."""
    there = {path.name for path in (storage.root / "sweeps").glob("*")}
    fill = run_blocks(storage, unseal) if NAME in there else {}

    def block(found: re.Match[str]) -> str:
        what, _, name = found["what"].partition(" ")
        if what == "pilot" and name in there:
            text = pilot(name, storage)
        elif what in fill:
            text = fill[what](name)
        else:
            print(f"{found['what']}: not in this storage, left as it was")
            return found[0]
        return f"{found[1]}{text}\n{found[3]}"

    PAGE.write_text(BLOCK.sub(block, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def run_blocks(storage: Storage, unseal: bool) -> dict[str, Callable[[str], str]]:
    """What the blocks of the study's sweep hold, after its report was written and copied to `docs/study/`."""
    sweep = find_sweep_folder(NAME, storage)
    left = sum(trial["status"] != "finished" for trial in load_results(sweep.path).trials.to_pylist())
    if unseal and left:
        sys.exit(f"--unseal: all trials must have finished, but {left} of {sweep.path.name} have not")
    made = write_report(sweep, unseal=unseal)
    pack(storage)
    report = sweep.path / "report"
    shutil.copy(report / "report.html", HERE / "report.html")
    for kind, ending in (("tables", "csv"), ("figures", "svg")):
        shutil.rmtree(HERE / kind, ignore_errors=True)  # nothing of an earlier report stays
        (HERE / kind).mkdir()
        for file in sorted((report / kind).glob(f"*.{ending}")):
            shutil.copy(file, HERE / kind / file.name)
    return {
        "state": lambda _: state(storage),
        "answer": lambda _: "\n".join(f"> {line}\n>" for line in made["answer"].splitlines()).rstrip("\n>"),
        "table": lambda name: (
            (report / "tables" / f"{name}.md").read_text(encoding="utf-8").partition("\n\n")[2].strip()
        ),
        "neighbours": lambda _: neighbours(storage),
    }


def pack(storage: Storage) -> None:
    """Pack what was measured, the same bytes for the same files."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    sweep = storage.root / "sweeps" / NAME
    files = [path for path in (storage.root / "phases").rglob("*") if path.name in PACKED]
    done = [path for path in files if any((parent / "DONE").exists() for parent in path.parents[:2])]
    with tarfile.open(HERE / "storage.tar.xz", "w:xz") as archive:
        opened = sweep.glob(UNSEALED_FILE)
        for path in sorted([*done, *opened, sweep / "sweep.json", *(sweep / "journal").iterdir()]):
            archive.add(path, path.relative_to(storage.root), filter=plain)


def state(storage: Storage) -> str:
    """The hash of the sweep's definition, and finished trials of each seed by cell."""
    sweep = find_sweep_folder(NAME, storage)
    known = f"Hash of the sweep's definition: `{definition_hash(read_definition(sweep.path))}`.\n\n"
    trials = load_results(sweep.path).trials.to_pylist()
    counts = Counter((t["cell"], t["seed"]) for t in trials if t["status"] == "finished")
    cells, seeds = dict.fromkeys(t["cell"] for t in trials), sorted({t["seed"] for t in trials})
    rows = ((cell_in_words(cell, "no task"), *(counts[cell, seed] for seed in seeds)) for cell in cells)
    return known + markdown(("finished trials", *(f"seed {seed}" for seed in seeds)), rows)


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
    results = load_results(folder.path)
    points = collect_points(results, standings(folder.journal.read()).trials)
    items, shared = item_variances(results, points).get(points[0].rung_index), shared_of(points)
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
        for estimate in two_by_two(points, name, Sampling(), items, shared):
            ends = f" [{estimate.low:.1f}, {estimate.high:.1f}]" if estimate.low is not None else ""
            effects[effect_in_words(estimate.name.split("/", 2)[2])].append(f"{estimate.value:+.1f}{ends}")
    first = markdown(("cell", "trials", *NEIGHBOURS.values()), means)
    return first + "\n\n" + markdown(("effect", *NEIGHBOURS.values()), ((name, *row) for name, row in effects.items()))


def markdown(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main(named_storage(sys.argv[1]), "--unseal" in sys.argv[2:])
