"""Following a journal that grows, at the cost of what is new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlray.storage.journal import JOURNAL_FILE, Journal, parse_lines
from xlray.storage.object_store import parallel


@dataclass
class Follower:
    """Reads what was added to a journal since it was last asked.

    Attributes:
        replays: how often the journal was found cut or replaced. It is then read from its start again, and what came
            before is void.
        number: segment that was read last.
        offset: bytes of it that were read; always the end of a line.
        last: the line before that offset. Where it no longer stands there, the journal is another one.
        seen: size and time of that segment, so that it is not fetched before it changes.
    """

    journal: Journal
    replays: int = 0
    number: int = 0
    offset: int = 0
    last: bytes = b""
    seen: tuple[int, float] | None = None

    def new(self) -> list[dict[str, Any]]:
        """The entries that were added; a line that is being written is left for the next time.

        Raises:
            InputError: a line is not a JSON object, each time it is asked; names the segment and counts its lines from
                what was read.
        """
        contents, seen = self._contents()
        if not contents.get(self.number, b"").startswith(self.last):
            self.replays, self.number, self.offset, self.last, self.seen = self.replays + 1, 0, 0, b"", None
            contents, seen = self._contents()
        entries: list[dict[str, Any]] = []
        place = self.number, self.offset, self.last
        for number, content in contents.items():
            read = len(self.last) if number == self.number else 0
            text = content[read : content.rfind(b"\n") + 1]
            entries += parse_lines(text, self.journal.folder / f"{number:06d}.jsonl")
            if text:
                before = self.offset if number == self.number else 0
                place = number, before + len(text), text[text.rfind(b"\n", 0, -1) + 1 :]
        self.number, self.offset, self.last = place
        self.seen = seen
        return entries

    def _contents(self) -> tuple[dict[int, bytes], tuple[int, float] | None]:
        """Segment to what it holds from the last line on that was read; size and time of the last segment."""
        start = self.offset - len(self.last)
        remote, folder = self.journal.storage.remote, self.journal.name
        if remote is None:
            try:
                with (self.journal.folder / JOURNAL_FILE).open("rb") as file:
                    file.seek(start)
                    return {0: file.read()}, None
            except FileNotFoundError:
                return {}, None
        after = f"{folder}/{self.number - 1:06d}.jsonl" if self.number else None
        listed = {int(Path(n).stem): o for n, o in remote.list(f"{folder}/", after).items() if n.endswith(".jsonl")}
        if not listed or listed == {self.number: self.seen}:
            return {self.number: self.last} if listed else {}, self.seen
        numbers = sorted(listed)
        found = parallel(lambda number: remote.read(f"{folder}/{int(number):06d}.jsonl"), map(str, numbers))
        read = {n: b"" if content is None else content[0] for n, content in zip(numbers, found, strict=True)}
        contents = {n: content[start:] if n == self.number else content for n, content in read.items()}
        return contents, listed[numbers[-1]]
