"""What `xlray tasks` prints: the list, one task, and the registry compared with the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xlray.cli.tables import Fitted, make_table, shortened
from xlray.tasks.online import Comparison

WIDE = 120  # characters of a terminal
LICENCE_WIDTH = 15  # on a narrower one
BAR_WIDTH = 36
EIGHTHS = " ▏▎▍▌▋▊▉"
FIRST, LAST, AROUND = 40, 8, 12  # pieces of a long sequence that are printed
READ, TAG, ANSWER = "cyan", "green", "bold green"
LISTED_LABELS = 24
LONGEST_NAME = 32
COMMIT_DIGITS = 40
KNOWN = (
    *("kind", "role", "languages", "licence", "citation", "labels", "headline"),
    *("contains", "derived_from", "translated", "num_examples", "notes"),
)


def remark_lines(row: Mapping[str, Any]) -> list[str]:
    """What is to be said of a split that was read, beside its size.

    Args:
        row: of `catalogue.checked`.
    """
    name = f"{row['task']} {row['split']}"
    lines = [f"{name}: a test set without labels: there are no scores for it"] if row["unlabelled"] else []
    lines += [f"{name}: {number:,} {reason} were left out" for reason, number in row["left_out"].items()]
    return lines + [f"{name}: {doubt}" for doubt in row["doubts"]]


def print_tasks(console: Console, tasks: Sequence[Mapping[str, Any]]) -> None:
    """A row for each task; names are never broken, and narrow terminals do without the source and the rest of long licences."""
    columns = ["task", "kind", "role", "languages", "source", "examples", "licence"]
    narrow = console.width < WIDE
    if narrow:
        columns.remove("source")
    cells = [
        {
            **task,
            "task": task["name"],
            "languages": " ".join(task["languages"]),
            "examples": f"{task['num_examples']:,}" if task["num_examples"] else "",
            "licence": shortened(task["licence"], LICENCE_WIDTH) if narrow else task["licence"],
        }
        for task in tasks
    ]
    rows = [[cell[name] for name in columns] for cell in cells]
    unbroken = ("task", "kind", "role", "examples")
    console.print(Fitted(columns, rows, f"{len(rows)} tasks", ("examples",), unbroken=unbroken))


def print_task(console: Console, task: Mapping[str, Any]) -> None:
    """Everything that `catalogue.shown` returns."""
    console.print(task["name"], style="bold", highlight=False, markup=False)
    console.print(_facts(task))
    console.print(_splits(task))
    if task["unread"]:
        reason = next(iter(task["unread"].values()))
        console.print(f"Not here, and nothing is downloaded: {reason}", style="dim", highlight=False, markup=False)
    if not task["sizes"]:
        if task["files"]:
            console.print("None of its files is there; set --data-dir or XLRAY_DATA_DIR.", style="dim")
        return
    if task["views"]:
        _print_views(console, task)
    else:
        for example in task["examples"]:
            console.print(make_table(("field", "value"), [(k, shortened(v)) for k, v in example.items()]))
        console.print("--encoder FOLDER shows the examples as the model sees them, in tokens.", style="dim")
    _print_distribution(console, task)
    found = task["lengths"]
    unit = "tokens, before anything is cut" if found["unit"] == "tokens" else "words (split at spaces)"
    _print_lengths(console, f"Lengths of examples, {task['split']}", found, unit)
    _print_over(console, found)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _facts(task: Mapping[str, Any]) -> Table:
    grid = _grid()
    for key in KNOWN:
        value = task[key]
        if key == "labels" and len(value) > LISTED_LABELS:
            value = [*value[:LISTED_LABELS], f"... ({len(value)} in all)"]
        if isinstance(value, list):
            value = ", ".join(value)
        elif isinstance(value, int):
            value = f"{value:,}"
        if value:
            grid.add_row(key.replace("num_examples", "examples"), Text(value))
    if task["files"]:
        grid.add_row("folder", Text(f"{task['source']}/ below the data directory"))
    elif not task["hub"]:
        grid.add_row("source", Text(task["source"]))
    if task["hub"]:
        grid.add_row("Hub", Text(task["hub"]["id"]))
        grid.add_row("revision", Text(task["hub"]["revision"] or "not pinned"))
    return grid


def _splits(task: Mapping[str, Any]) -> Fitted:
    rows = []
    for split in task["splits"]:
        place = task["hub_splits"].get(split)
        on_hub = "" if place is None else " ".join(filter(None, (place["config"], place["split"])))
        size = f"{task['sizes'][split]:,}" if split in task["sizes"] else "not here"
        rows.append((split, size, "\n".join(task["files"].get(split, ())), on_hub))
    columns = {"split": 0, "examples": 1, "files": 2, "on the Hub": 3}
    kept = [name for name, i in columns.items() if i < 2 or any(row[i] for row in rows)]
    return make_table(kept, [[row[columns[name]] for name in kept] for row in rows], right=("examples",))


# --- examples ------------------------------------------------------------------------------------------------------


def _print_views(console: Console, task: Mapping[str, Any]) -> None:
    reads = {
        "tagging": "the head reads the first piece of each word ‹so›, /TAG after it",
        "span_qa": "the head reads the pieces ‹so›, the answer is [so]",
        "mlm": "the pieces ‹so› may be masked",
        "retrieval": "the states of all pieces are averaged",
    }.get(task["kind"], "the head reads ‹so›")
    title = f"Examples of {task['split']} as the model sees them"
    console.print(title, style="bold", highlight=False)
    console.print(f"at most {task['max_length']} tokens; {reads}", style="dim", highlight=False, markup=False)
    for view in task["views"]:
        console.print()
        console.print(_heading(view), highlight=False, markup=False)
        for number, pieces in enumerate(view["sequences"]):
            right = task["kind"] == "multiple_choice" and view["label"] == f"choice {number + 1}"
            mark = Text(f"{number + 1} ", style=ANSWER if right else "") if len(view["sequences"]) > 1 else Text()
            line = mark + sequence_text(pieces, view["reads"][number], view["tags"], view["answer"])
            console.print(Padding(line, (0, 0, 0, 2), expand=False))
    console.print()


def _heading(view: Mapping[str, Any]) -> str:
    lengths = " + ".join(str(len(pieces)) for pieces in view["sequences"])
    parts = [view["record"], f"{lengths} tokens"]
    if view["num_windows"] > 1:
        parts.append(f"window {view['window']} of {view['num_windows']}")
    if view["label"]:
        parts.append(f"label: {view['label']}")
    return "; ".join(parts)


def sequence_text(
    pieces: Sequence[str], reads: Sequence[int], tags: Sequence[str], answer: Sequence[int] | None
) -> Text:
    """The pieces of one sequence, long ones with gaps.

    Returns:
        Runs of pieces that the head reads stand in ‹ ›, the answer in [ ], a tag follows its piece after a slash.
    """
    first, last = answer or (-1, -1)
    tag_of = dict(zip(reads, tags, strict=False))
    inside = set(reads)
    kept = list(_kept(pieces, tag_of, answer))
    text = Text()
    for place, p in enumerate(kept):
        before = kept[place - 1] if place else -1
        if p > before + 1:
            text.append(f"… {p - before - 1} more … ", style="dim")
        read = p in inside
        opens = read and (p in tag_of or before not in inside or p > before + 1)
        after = kept[place + 1] if place + 1 < len(kept) else -1
        closes = read and (p in tag_of or after not in inside or after > p + 1)
        text.append("‹" if opens else "", style=READ)
        text.append("[" if p == first else "", style=ANSWER)
        text.append(pieces[p], style=ANSWER if first <= p <= last else READ if read else "dim")
        text.append("]" if p == last else "", style=ANSWER)
        text.append("›" if closes else "", style=READ)
        text.append(f"/{tag_of[p]}" if p in tag_of else "", style=TAG)
        text.append(" ")
    text.rstrip()
    return text


def _kept(pieces: Sequence[str], tag_of: Mapping[int, str], answer: Sequence[int] | None) -> Iterator[int]:
    """Positions that are printed: both ends, what surrounds the answer and the border between two texts."""
    for p, piece in enumerate(pieces):
        near = answer is not None and answer[0] - AROUND <= p <= answer[1] + AROUND
        border = any(piece == "</s>" for piece in pieces[max(0, p - 4) : p + 4])
        if p < FIRST or p >= len(pieces) - LAST or near or border or p in tag_of:
            yield p


# --- counts --------------------------------------------------------------------------------------------------------


def bar(count: int, most: int, width: int = BAR_WIDTH) -> str:
    """A bar of block characters, `width` long for the largest count; never empty for what is there."""
    eighths = max(1, round(8 * width * count / most)) if count else 0
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def _bars(rows: Sequence[tuple[str, int]], total: int) -> Table:
    """One line for each name: name, bar, count, share."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True, overflow="ellipsis", max_width=LONGEST_NAME)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    most = max(count for _, count in rows)
    for name, count in rows:
        grid.add_row(Text(name), Text(bar(count, most), style=READ), f"{count:,}", f"{100 * count / total:.1f} %")
    return grid


def _print_bars(console: Console, title: str, about: str, rows: Sequence[tuple[str, int]], total: int) -> None:
    console.print(title, style="bold", highlight=False, markup=False)
    console.print(about, style="dim", highlight=False, markup=False)
    console.print(Padding(_bars(rows, total), (0, 0, 1, 2), expand=False), highlight=False)


def _print_distribution(console: Console, task: Mapping[str, Any]) -> None:
    found = task["distribution"]
    if found is None or not found["total"]:
        return
    if found["what"] == "answers":
        if found["lengths"]:
            without = f"{found['unlabelled']:,} examples have none"
            _print_lengths(
                console, f"Lengths of answers, {task['split']}", found["lengths"], found["lengths"]["unit"], without
            )
        return
    units = "tokens" if found["what"] == "tags" else "examples"
    about = [f"{found['total']:,} {units}"]
    if found["unlabelled"]:
        about.append(f"{found['unlabelled']:,} more without a label")
    if found["what"] == "values":
        rows = [(f"{b['low']:g} to {b['high']:g}", b["count"]) for b in found["histogram"]]
    else:
        rows = [
            (name if found["what"] != "choices" else f"choice {int(name) + 1}", n) for name, n in found["most_common"]
        ]
        if found["num_distinct"] > len(rows):
            about.append(f"the {len(rows)} most frequent of {found['num_distinct']} {found['what']}")
    title = {"tags": "Tags", "values": "Labels", "choices": "Right choices"}.get(found["what"], "Labels")
    _print_bars(console, f"{title}, {task['split']}", "; ".join(about), rows, found["total"])


def _print_lengths(console: Console, title: str, found: Mapping[str, Any], unit: str, *more: str) -> None:
    of = "" if found["counted"] == found["total"] else f"of {found['total']:,} "
    about = [
        f"{found['counted']:,} {of}measured in {unit}",
        *more,
        f"median {found['median']:,}, 95th percentile {found['p95']:,}, maximum {found['maximum']:,}",
    ]
    rows = [(_range(b), b["count"]) for b in found["histogram"]]
    _print_bars(console, title, "; ".join(about), rows, found["counted"])


def _print_over(console: Console, found: Mapping[str, Any]) -> None:
    shares = (f"{limit}: {n:,} ({100 * n / found['counted']:.1f} %)" for limit, n in found["over"].items())
    console.print(f"longer than {', '.join(shares)}", highlight=False)


def _range(b: Mapping[str, Any]) -> str:
    return f"{b['low']:,}" if b["low"] == b["high"] else f"{b['low']:,} to {b['high']:,}"


# --- the Hub -------------------------------------------------------------------------------------------------------


def print_comparison(console: Console, found: Comparison) -> None:
    """Differences, sets that were not reached, and the commits that sets could be pinned to."""
    if found.differences:
        rows = [(d.task, d.field, _short(d.registry), d.hub) for d in found.differences]
        console.print(make_table(("task", "field", "registry", "Hub"), rows, "Differences"))
    if found.unreached:
        unreached = [(u.task, u.id, u.reason) for u in found.unreached]
        console.print(make_table(("task", "set", "reason"), unreached, "Not reached"))
    if found.commits:
        console.print("Current commits, to pin sets to", style="bold")
        for repository, commit in found.commits.items():
            console.print(f"{repository}@{commit}", highlight=False, markup=False, soft_wrap=True)
        console.print()
    console.print(
        f"{found.num_sets} sets on the Hub: {len(found.differences)} differences, {len(found.decisive)} of which keep a "
        f"task from being read; {len(found.unreached)} not reached",
        highlight=False,
    )


def _short(text: str) -> str:
    """A commit in the twelve digits that tell it apart; other text as it is."""
    return text[:12] if len(text) == COMMIT_DIGITS and set(text) <= set("0123456789abcdef") else text
