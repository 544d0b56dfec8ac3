"""The registry compared with the Hugging Face Hub: are the sets, revisions, splits and columns there that tasks name?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.tasks import Hub, Task, check_record
from xlray.tasks.labels import check_labelled
from xlray.tasks.task import CONVERTED, Joined

NUM_ROWS = 20  # of each split
TIMEOUT_S = 20.0
DECISIVE = ("id", "revision", "format", "config", "split", "columns")  # a task that differs in these cannot be read
SAYS_NOTHING = ("", "other", "unknown")  # licence tags


@dataclass(frozen=True)
class Difference:
    """Where the Hub is not as the registry says.

    Attributes:
        field: one of `DECISIVE`, or "rows" (some are refused), "num_examples" or "licence".
    """

    task: str
    field: str
    registry: str
    hub: str


@dataclass(frozen=True)
class Unreached:
    """A set of which nothing, or not all, could be learnt."""

    task: str
    id: str
    reason: str


@dataclass
class Comparison:
    """What was found.

    Attributes:
        num_sets: sources on the Hub that were looked at; one task has one, a joined task several.
        commits: Hub id to the current commit, of sets that are not pinned, or to a commit that is not there.
    """

    num_sets: int = 0
    differences: list[Difference] = field(default_factory=list)
    unreached: list[Unreached] = field(default_factory=list)
    commits: dict[str, str] = field(default_factory=dict)

    @property
    def decisive(self) -> list[Difference]:
        """The differences that keep a task from being read."""
        return [difference for difference in self.differences if difference.field in DECISIVE]


class _UnansweredError(Exception):
    """The Hub gave no answer: neither yes nor no."""

    def __init__(self, error: Exception, connected: bool = True) -> None:
        super().__init__(_first_line(error))
        self.connected = connected


def compare(tasks: Iterable[Task], progress: Callable[[str], None] = lambda _: None) -> Comparison:
    """Compare every source on the Hub that the tasks name; reads a few rows of each split and stores no data.

    Args:
        progress: told what is being looked at.

    Raises:
        InputError: there is no network.
    """
    found = Comparison()
    look_up = functools.cache(_look_up)  # many tasks may lie in one repository
    answered, seen = False, set()
    for name, task, hub in (source for known in tasks for source in _sources(known, known.name)):
        if id(hub) in seen:  # part of a joined task, and a task itself
            continue
        seen.add(id(hub))
        progress(f"{name} {hub.id}")
        found.num_sets += 1
        try:
            for difference in _compared(name, task, hub, look_up, found.commits):
                found.differences.append(difference)
        except _UnansweredError as error:
            if not (answered or error.connected):
                raise InputError(f"the Hugging Face Hub must be reachable, but: {error}") from error
            found.unreached.append(Unreached(name, hub.id, str(error)))
        answered = answered or not Path(hub.id).is_dir()
    return found


def _sources(task: Task, name: str) -> Iterator[tuple[str, Task, Hub]]:
    if isinstance(task.source, Joined):
        for part in task.source.parts:
            yield from _sources(part, f"{name}/{part.name}")
    for source in (task.source, task.hub):
        if isinstance(source, Hub):
            yield name, task, source


def _compared(
    name: str, task: Task, hub: Hub, look_up: Callable[[str, str | None], Any], commits: dict[str, str]
) -> Iterator[Difference]:
    if not Path(hub.id).is_dir():  # a local folder in the Hub's layout has neither commits nor a licence tag
        current = look_up(hub.id, None)
        if current is None:
            yield Difference(name, "id", hub.id, "not found, or not public")
            return
        if hub.revision is None:
            commits[hub.id] = current.sha
        elif look_up(hub.id, hub.revision) is None:
            commits[hub.id] = current.sha
            yield Difference(name, "revision", hub.revision, "not found")
            return
        yield from _compared_licence(name, task, current)
    for config, group in groupby(sorted(hub.splits, key=lambda s: hub.config_of(s) or ""), key=hub.config_of):
        opened = _open(name, hub, config)
        if isinstance(opened, Difference):
            yield opened
            continue
        for split in group:
            yield from _compared_split(name, task, hub, split, opened)


def _look_up(repository: str, revision: str | None) -> Any:
    """What the Hub says of a set at a revision (None: the newest); None where it says that there is no such thing."""
    from huggingface_hub import dataset_info
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return dataset_info(repository, revision=revision, timeout=TIMEOUT_S)
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError, but the set exists
        raise _UnansweredError(error) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        return None
    except _failures() as error:
        raise _UnansweredError(error, connected=isinstance(error, HfHubHTTPError)) from error


def _failures() -> tuple[type[Exception], ...]:
    """What is raised where the Hub does not answer: the errors of its HTTP client are not all `OSError`."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def _compared_licence(name: str, task: Task, current: Any) -> Iterator[Difference]:
    card = current.card_data
    given = (card.license if card is not None else None) or ()
    tags = [given] if isinstance(given, str) else list(given)
    ours = _bare(task.licence)
    if not any(tag in SAYS_NOTHING or _bare(tag) in ours for tag in tags or ("",)):
        yield Difference(name, "licence", task.licence, ", ".join(tags))


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _open(name: str, hub: Hub, config: str | None) -> Any:
    """The builder that `load_dataset` would use, or the `Difference` for which there is none."""
    from datasets import disable_progress_bars, load_dataset_builder
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetsError

    disable_progress_bars()
    chosen = {"data_dir" if hub.revision == CONVERTED else "name": config, "revision": hub.revision}
    try:
        return load_dataset_builder(hub.id, **chosen)
    except RuntimeError as error:  # it is a script
        return Difference(name, "format", "data files", _first_line(error))
    except (DataFilesNotFoundError, EmptyDatasetError, ValueError) as error:  # the message lists the configurations
        return Difference(name, "config", config or "the only one", _first_line(error))
    except (*_failures(), DatasetsError) as error:
        raise _UnansweredError(error) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _compared_split(name: str, task: Task, hub: Hub, split: str, builder: Any) -> Iterator[Difference]:
    wanted = hub.splits[split].split("+")
    known = [str(known) for known in builder.config.data_files or builder.info.splits or ()]
    if not set(wanted) <= set(known):
        yield Difference(name, "split", f"{split}: {hub.splits[split]}", ", ".join(known) or "none")
        return
    from datasets.exceptions import DatasetsError

    try:
        rows = _first_rows(builder, wanted[0])
    except (ValueError, DatasetsError) as error:
        yield Difference(name, "columns", f"{split}: rows that can be read", _first_line(error))
        return
    except _failures() as error:
        raise _UnansweredError(error) from error
    accepted, left_out, faults = _tried(task, hub, split, rows)
    if faults or not rows:
        some = f"{len(faults)} of {len(rows)} rows are refused, the first: {faults[0]}" if faults else "no rows"
        yield Difference(name, "rows" if accepted else "columns", f"{split}: {task.kind} records", some)
    if split == next((s for s in hub.splits if s.startswith("train")), None):
        counts = [_num_rows(builder, part) for part in wanted]
        known_counts = [count for count in counts if count is not None]
        if len(known_counts) == len(counts):
            yield from _compared_number(name, task, sum(known_counts), left_out)


def _first_rows(builder: Any, split: str) -> list[dict[str, Any]]:
    batches = builder.as_streaming_dataset(split=split).with_format("arrow").iter(batch_size=NUM_ROWS)
    first = next(iter(batches), None)
    return [] if first is None else list(first.to_pylist())


def _tried(task: Task, hub: Hub, split: str, rows: Sequence[dict[str, Any]]) -> tuple[int, int, list[str]]:
    """How many rows give a record of the task, how many its shape or repair leaves out, and what is wrong with the others."""
    accepted, left_out, faults = 0, 0, []
    for number, row in enumerate(rows):
        where = f"row {number}"
        try:
            fields = hub.shape_of(split)(row, where)
            record = None if fields is None else {"id": f"{hub.splits[split]}:{number}"} | fields
            if record is not None and task.repair is not None:
                record = task.repair(record)
            if record is None:
                left_out += 1
                continue
            part = split.partition("/")[0]
            check_record(task, record, where, strict=part == "train")
            check_labelled(task.kind, part, record, where)
            accepted += 1
        except InputError as error:
            faults.append(str(error))
    return accepted, left_out, faults


def _compared_number(name: str, task: Task, number: int, left_out: int) -> Iterator[Difference]:
    """Where rows are left out, the Hub may hold more of them than the task has examples, but never fewer."""
    ours = task.num_examples
    if ours is not None and (number < ours or (number > ours and not left_out)):
        yield Difference(name, "num_examples", f"{ours:,}", f"{number:,}")


def _num_rows(builder: Any, split: str) -> int | None:
    """Rows of a split as the set's card says, else by the footers of its Parquet files; None where neither is there."""
    known = (builder.info.splits or {}).get(split)
    if known is not None and known.num_examples:
        return int(known.num_examples)
    paths = [str(path) for path in (builder.config.data_files or {}).get(split, ())]
    if not paths or not all(path.endswith(".parquet") for path in paths):
        return None
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    hub = HfFileSystem()
    try:
        total = 0
        for path in paths:
            with hub.open(path, "rb") if path.startswith("hf://") else Path(path).open("rb") as file:
                total += pq.read_metadata(file).num_rows
        return total
    except _failures():
        return None
