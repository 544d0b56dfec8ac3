"""The tables that the command line prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

from xlray.analysis.points import WITHOUT_TATOEBA
from xlray.analysis.results import Results
from xlray.config.axes import short_value
from xlray.data.shortfalls import sentences
from xlray.monitor.table import percent, short_names
from xlray.monitor.view import Row, View, shown_status
from xlray.phases.spec import TrainSpec, phase_name
from xlray.plan.forecast import steps_of
from xlray.plan.memory import GIB
from xlray.plan.trials import SweepPlan
from xlray.storage.cells import PAIR, cell_in_words, effect_in_words, pair_in_words
from xlray.tasks.languages import language_name, language_names

LONG_TEXT = 60
NAMES = {WITHOUT_TATOEBA: "without Tatoeba"}


@dataclass(frozen=True)
class Fitted:
    """A plain table that leaves out columns where the terminal is too narrow, and says which.

    Attributes:
        right: names of the columns that are set to the right.
        dispensable: names of the columns that may be left out, the first one first.
        unbroken: names of the columns whose words are never broken over lines.
        foot: a last row, set off by a rule.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    right: Sequence[str] = ()
    dispensable: Sequence[str] = ()
    unbroken: Sequence[str] = ()
    foot: Sequence[object] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number in range(len(self.dispensable) + 1):
            table = self._without(self.dispensable[:number])
            if console.measure(table, options=options.update(max_width=sys.maxsize)).maximum <= options.max_width:
                break
        yield table
        if number:
            left_out = ", ".join(filter(None, self.dispensable[:number]))
            yield Text(f"  not shown at {options.max_width} columns: {left_out}", style="dim")

    def _without(self, left_out: Sequence[str]) -> Table:
        title = self.title or None
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        places = [place for place, name in enumerate(self.columns) if name not in left_out]
        for name in (self.columns[place] for place in places):
            justify: JustifyMethod = "right" if name in self.right else "left"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=name in self.unbroken)
        for row in (*self.rows, *([self.foot] if self.foot else [])):
            if row is self.foot:
                table.add_section()
            # As text: brackets and colons of data are no markup.
            table.add_row(*(Text("" if row[place] is None else str(row[place])) for place in places))
        return table


def make_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    right: Sequence[str] = (),
    dispensable: Sequence[str] = (),
) -> Fitted:
    """A plain table; see `Fitted`."""
    return Fitted(columns, tuple(rows), title, right, dispensable)


def plan_lines(document: Mapping[str, Any]) -> list[str]:
    """A sweep's plan in a few lines: trials, phases, steps.

    Args:
        document: what `plan.summary` returned.
    """
    phases, saved = document["phases"], {cause: n for cause, n in document["saved"].items() if n}
    axes = document.get("axes", ())
    counts = document.get("populations", document["cells"])
    cells = ", ".join(f"{cell_in_words(cell, 'no task')} {count:,}" for cell, count in counts.items())
    why = f" (saved: {', '.join(f'{cause} {n:,}' for cause, n in saved.items())})" if saved else ""
    hours, most = document["device_hours"], document["device_hours_at_most"]
    at_most = f", at most {most:,.2f} without stopping" if most > 1.005 * hours else ""
    money = "" if document["cost"] is None else f", cost {document['cost']:,.2f}"
    encoders = document.get("encoders", {"": document["num_parameters"]})
    parameters = [f"{name} {number / 1e6:,.1f}".lstrip() for name, number in encoders.items()]
    ended = " and ".join(f"{number:,} {status}" for status, number in document["ended"].items())
    lines = [
        f"trials  {document['trials']} in cells: {cells}{f'; {ended} already' if ended else ''}",
        f"phases  {phases['new']} new, {phases['stored']} stored, {phases['shared']} shared with another trial",
        f"steps   {document['remaining_steps']:,} to do of {document['steps']:,}; {document['naive_steps']:,} if each "
        f"size of each trial were trained by itself with full targets{why}",
        f"tokens  {document['tokens']:,} to train on",
        f"hours   {hours:,.2f} device-hours{at_most}{money}; {document['wall_hours']:,.2f} h on {document['devices']} "
        f"device(s)",
        f"rates   {document['device_hours_source']}",
        *sharing_lines(document["sharing"]),
        f"storage {document['storage_bytes'] / 1e9:,.2f} GB to be added ({', '.join(parameters)} M parameters)",
        *detectable_lines(document["detectable"]),
    ]
    for place, axis in enumerate(axes, start=1):
        values = "; ".join(" with ".join(map(short_value, row)) for row in axis["values"])
        lines.insert(place, f"axis    {', '.join(axis['fields'])}: {values}")
    for name, domain in document.get("space", {}).items():
        lines.insert(1 + len(axes), f"search  {name}: {domain}; random values stand in for proposals here")
    if document["languages"] != ["fi"]:
        lines.insert(1, f"scored  in {language_names(document['languages'])}")
    if document["assumed_sizes"]:
        lines.insert(
            0, f"ASSUMED sizes of {len(document['assumed_sizes'])} splits that are not here; this cannot be run."
        )
    if document["sources"]:
        lines.append(f"sources {', '.join(f'{task} from {place}' for task, place in document['sources'].items())}")
    if document["lowered_caps"]:
        told = (f"{pair} {c['cap']:,} of {c['designed']:,}" for pair, c in document["lowered_caps"].items())
        lines.append(f"matched at fewer examples than the pools say, for fewer were read: {', '.join(told)}")
    if document["missing_test_sets"]:
        lines.append(f"absent  test sets, which are left out: {', '.join(document['missing_test_sets'])}")
    return lines + [f"data    {sentence}" for sentence in sentences(document)]


def sharing_lines(found: Mapping[str, Any] | None) -> list[str]:
    """How many trials share a GPU, and what they take of its memory; nothing where none do."""
    if found is None:
        return []
    limit, predicted, size = (found[key] / GIB for key in ("limit_bytes", "predicted_bytes", "gpu_bytes"))
    more = ", which is too much" if predicted > limit else ""
    return [
        f"share   {found['trials_per_gpu']} trials on each GPU; each may use {limit:,.1f} GiB of its {size:,.1f} "
        f"({found['gpu_bytes_source']}), {predicted:,.1f} are predicted{more}; no gain is assumed"
    ]


def detectable_lines(found: Mapping[str, Any]) -> list[str]:
    """What differences of cells a plan is likely to find; nothing where it has only one cell."""
    if not found["comparisons"]:
        return []
    told = sorted((c for c in found["comparisons"] if c["points"] is not None), key=lambda c: c["points"])
    without = [c for c in found["comparisons"] if c["points"] is None]
    reasons = "; ".join(dict.fromkeys(c["missing"] for c in without))
    if not told:
        return [f"finds   no difference between cells, for there is no interval: {reasons}"]
    low, high = (f"{c['points']:.2f} points ({pair_in_words(PAIR.join(c['cells']))})" for c in (told[0], told[-1]))
    spread = ", ".join(f"{name} {value:.2f}" for name, value in found["variances"].items())
    known = [(effect_in_words(e["effect"]), e["points"]) for e in found["effects"] if e["points"] is not None]
    effects = ", ".join(f"{effect}: {points:.2f}" for effect, points in known)
    return [
        f"finds   differences of {low if len(told) == 1 else f'{low} to {high}'} with probability 0.8",
        *([f"        effects {effects} points"] if effects else []),
        f"        at variances {spread} ({found['source']})",
        *(
            [f"        no interval for {len(without)} of {len(found['comparisons'])} differences: {reasons}"]
            if without
            else ()
        ),
    ]


def print_plan(console: Console, name: str, question: str, document: Mapping[str, Any]) -> None:
    """The plan's title and its lines."""
    console.print(f"{name}: {question}" if question else name, style="bold", highlight=False, markup=False)
    for line in plan_lines(document):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def memory_table(rows: Sequence[Mapping[str, Any]], num_workers: int, encoder: str = "") -> Fitted:
    """Predicted memory under each ZeRO stage, beside what was measured; what the sweep's execution allows is marked.

    Args:
        rows: of `memory.table`.
        encoder: that they are of, where there are several.
    """

    def gib(size: int | None) -> str:
        return "" if size is None else f"{size / GIB:,.2f}"

    cells = [
        (
            f"{r['zero_stage']}{' *' if r['asked_for'] else ''}",
            "offload" if r["offload"] else "",
            "recomputed" if r["activation_checkpointing"] else "kept",
            f"{r['micro_batch_tokens']:,}",
            gib(r["device_bytes"]),
            gib(r["measured_bytes"]),
            gib(r["host_bytes"] or None),
        )
        for r in rows
    ]
    columns = ("ZeRO", "optimizer", "activations", "tokens", "predicted", "measured", "host, predicted")
    largest = f" with {encoder}, the largest encoder," if encoder else ""
    title = f"Memory of each of {num_workers} worker(s){largest} in GiB (* allowed by the execution)"
    return make_table(columns, cells, title, right=columns[3:])


def trial_table(trials: Sequence[Mapping[str, Any]]) -> Fitted:
    """Every trial of a plan with its tasks."""
    columns = ("trial", "role", "cell", "chain", "seed", "tasks")
    cells = [(t["trial_id"], t["role"], t["cell"], t["chain"], t["seed"], ", ".join(t["tasks"])) for t in trials]
    return make_table(columns, cells, right=("chain", "seed"))


def phase_rows(plan: SweepPlan, results: Results | None) -> list[dict[str, Any]]:
    """Phases by kind and target task: how many, steps and examples of each, what was executed and what it cost.

    Args:
        results: None before the sweep was run.
    """
    ledger = results.phases.to_pylist() if results is not None else []
    groups: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for spec in plan.all_specs().values():
        kind = f"target {spec.data[0].task}" if isinstance(spec, TrainSpec) and spec.kind == "target" else spec.kind
        counts = {"number": 0, "computed": 0, "stored": 0, "shared": 0, "executed_steps": 0, "device_hours": 0.0}
        group = groups.setdefault(kind, {"phase": kind, "steps": [], "examples": [], **counts})
        group["number"] += 1
        group["steps"].append(steps_of(spec))
        group["examples"].append(spec.num_examples if isinstance(spec, TrainSpec) else 0)
        names[phase_name(spec)] = kind
    for row in ledger:
        if row["phase"] in names:
            group = groups[names[row["phase"]]]
            group[row["status"]] += 1
            group["executed_steps"] += row["num_executed_steps"]
            group["device_hours"] += row["device_hours"]
    return list(groups.values())


def spread(values: Sequence[int]) -> str:
    """`8` or `8 to 64`; nothing where all are zero."""
    low, high = min(values), max(values)
    if high == 0:
        return ""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def phase_table(rows: Sequence[Mapping[str, Any]]) -> Fitted:
    """The rows of `phase_rows` for people."""
    cells = [
        (
            r["phase"],
            r["number"],
            spread(r["steps"]),
            spread(r["examples"]),
            f"{r['executed_steps']:,}",
            f"{r['device_hours']:.3f}",
            *(r[how] for how in ("computed", "shared", "stored")),
        )
        for r in rows
    ]
    columns = ("phase", "number", "steps", "examples", "executed", "device-hours", "computed", "shared", "stored")
    title = "Phases (steps and examples of one; steps executed and device-hours of all)"
    return make_table(columns, cells, title, columns[1:], ("examples", "number"))


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Trials by rung, then by accuracy, best first."""

    def key(row: Row) -> tuple[float, float, str]:
        return -(row.rung or 0), 1.0 if row.accuracy is None else -row.accuracy, row.title

    return sorted(rows, key=key)


def final_table(view: View, baseline: Mapping[str, float], in_order: bool = False) -> Fitted:
    """All trials, best first, and below them what always giving the most frequent answer scores.

    Args:
        in_order: trials as the view has them, instead of best first.
    """
    names = short_names(view.targets)
    others = [language_name(code) for code in view.languages[1:]]
    columns = (
        "",
        "trial",
        "role",
        "tasks",
        "seed",
        "examples",
        "rung",
        view.language,
        *names.values(),
        *others,
        "status",
    )
    rows = [
        (
            number,
            row.title,
            row.role,
            row.num_tasks,
            row.seed,
            "" if row.rung is None else f"{row.rung:,}",
            f"{row.rungs}/{view.num_rungs}",
            percent(row.accuracy),
            *(percent(row.scores.get(t)) for t in view.targets),
            *(percent(row.others.get(language)) for language in view.languages[1:]),
            shown_status(row.status, view.state) + (", degenerate" if row.degenerate else ""),
        )
        for number, row in enumerate(view.rows if in_order else ranked(view.rows), start=1)
    ]
    whole = [baseline[t] for t in view.targets if t in baseline]
    mean = sum(whole) / len(whole) if whole and len(whole) == len(view.targets) else None
    shown = [percent(mean), *(percent(baseline.get(t)) for t in view.targets)]
    majority = ("", "majority answer", *[""] * 5, *shown, *[""] * len(others), "")
    title, dispensable = f"{view.language} dev, headline scores in percent", ("", "role", "examples", "tasks", "seed")
    return Fitted(columns, rows, title, columns[3:-1], dispensable, foot=majority if baseline else ())


def estimate_in_words(name: str, headline: str = "fi_accuracy") -> str:
    """An estimate's name as a reader says it: `8 tasks against none` for `difference/fi_accuracy/8-all - 0`.

    Args:
        headline: the outcome that goes without saying.
    """
    kind, _, rest = name.partition("/")
    outcome, _, about = rest.partition("/")
    of = "" if outcome == headline else f"{NAMES.get(outcome, outcome)}: "
    if kind == "difference":
        return of + pair_in_words(about)
    if kind == "factor":
        return of + effect_in_words(about)
    return f"{of}mean of {cell_in_words(about)}" if kind == "mean" else name


def print_answer(console: Console, answer: str) -> None:
    """The headline of an answer, and below it its lines as a list."""
    headline, *lines = answer.splitlines()
    console.print(Text(headline, style="bold"), highlight=False)
    for line in lines:
        print_point(console, line)


def print_point(console: Console, line: str, style: str = "") -> None:
    """A line of a list; what does not fit is set below its own beginning."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row("-", Text(line, style=style))
    console.print(grid, highlight=False)


def print_estimates(console: Console, document: Mapping[str, Any], most: int = 12) -> None:
    """A report's answer, the heads of its warnings and its first estimates: the last rung's, differences before means."""
    from xlray.report.warnings import headed

    print_answer(console, document["answer"])
    if document["warnings"]:
        console.print("Before you believe it (the report has them in full):", style="yellow", highlight=False)
    for warning in document["warnings"]:
        print_point(console, headed(warning)[0], style="yellow")

    kinds = ("factor", "difference", "mean")

    def place(estimate: Mapping[str, Any]) -> tuple[float, int]:
        kind = estimate["name"].partition("/")[0]
        return -estimate["rung"], kinds.index(kind) if kind in kinds else len(kinds)

    rows = []
    for e in sorted(document["estimates"], key=place)[:most]:
        interval = "" if e["low"] is None else f"[{e['low']:.1f}, {e['high']:.1f}]"
        rung = f"{e['rung']:,}"
        words = estimate_in_words(e["name"], document["headline"])
        rows.append((words, f"{e['value']:.1f}", interval, e["num_seeds"], e["num_subsets"], rung))
    if rows:
        left = len(document["estimates"]) - len(rows)
        title = f"Estimates{f' ({left} more in the report)' if left > 0 else ''}"
        columns = ("estimate", "value", "interval", "seeds", "subsets", "examples")
        console.print(make_table(columns, rows, title, columns[1:], ("subsets", "seeds")))


def shortened(value: Any, most: int = LONG_TEXT) -> str:
    """A value in at most so many characters."""
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= most else text[: most - 1] + "\u2026"
