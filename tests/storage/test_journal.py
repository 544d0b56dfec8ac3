"""The journal: order, torn lines, one writer."""

import errno
import json
import os
import subprocess
import sys

import pytest

from xlray.errors import InputError
from xlray.storage import journal
from xlray.storage.follower import Follower
from xlray.storage.journal import Journal
from xlray.storage.storage import Storage


def test_journal_keeps_order_and_adds_time(tmp_path):
    written = Journal(Storage(tmp_path), tmp_path)
    assert written.read() == []
    first = written.append({"event": "created", "trial_id": "ä"})
    written.append({"event": "rung", "score": float("nan"), "scores": {"udpos": float("inf")}})
    entries = written.read()
    assert entries[0] == first and entries[0]["time"] <= entries[1]["time"]
    assert entries[1]["score"] is None and entries[1]["scores"] == {"udpos": None}


def test_many_entries_are_flushed_once_and_a_crash_tears_one_of_them_at_most(tmp_path, monkeypatch):
    written, flushed = Journal(Storage(tmp_path), tmp_path), []
    written.append({"event": "opened"})
    monkeypatch.setattr("xlray.storage.journal.os.fsync", flushed.append)
    found = written.extend({"event": "created", "number": number} for number in range(100))
    assert (
        len(flushed) == 1 and written.read()[1:] == found and [entry["number"] for entry in found] == list(range(100))
    )
    assert written.extend([]) == [] and len(flushed) == 1
    path = tmp_path / journal.JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-150])
    kept = written.read()
    assert kept == [kept[0], *found][: len(kept)] and len(kept) > 90
    written.append({"event": "later"})
    assert [entry["event"] for entry in written.read()][-2:] == ["created", "later"]


@pytest.mark.parametrize("cut", [1, 7, 20, 10_000])
def test_torn_last_line_is_left_out_and_the_next_entry_is_readable(tmp_path, cut):
    written = Journal(Storage(tmp_path), tmp_path)
    for number in range(3):
        written.append({"event": "created", "number": number, "padding": "ä" * 70_000})
    path = tmp_path / journal.JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    kept = [0, 1, 2] if cut == 1 else [0, 1]  # only the line end is lost: the entry itself is whole
    assert [entry["number"] for entry in written.read()] == kept
    written.append({"event": "created", "number": 9})
    assert [entry["number"] for entry in written.read()] == [*kept, 9]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_journal_torn_everywhere_stays_readable(tmp_path):
    written = Journal(Storage(tmp_path), tmp_path)
    written.append({"event": "a"})
    written.append({"event": "b"})
    path = tmp_path / journal.JOURNAL_FILE
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        before = [entry["event"] for entry in written.read()]
        written.append({"event": "c"})
        assert [entry["event"] for entry in written.read()] == [*before, "c"]


def test_damage_in_the_middle_of_the_journal_names_file_and_line(tmp_path):
    written = Journal(Storage(tmp_path), tmp_path)
    path = tmp_path / journal.JOURNAL_FILE
    path.write_text('{"event": "a"}\n{"event": "b\n{"event": "c"}\n')
    with pytest.raises(InputError, match=r"000000\.jsonl:2: not a JSON object"):
        written.read()
    path.write_text('{"event": "a"}\n[1]\n')
    with pytest.raises(InputError, match=":2:"):
        written.read()


def test_a_disk_with_room_for_half_a_line_says_so_in_its_own_words_and_leaves_a_readable_journal(tmp_path, monkeypatch):
    written = Journal(Storage(tmp_path), tmp_path)
    written.append({"event": "a"})
    write = os.write
    room = iter([5])

    def until_full(descriptor, data):
        left = next(room, 0)
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:left])

    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(OSError, match=r"No space left on device: .*000000\.jsonl"):
        written.append({"event": "b"})
    monkeypatch.undo()
    written.append({"event": "c"})
    assert [entry["event"] for entry in written.read()] == ["a", "c"]


def test_second_driver_is_refused_while_the_first_lives(tmp_path):
    folder = tmp_path / "sweep" / "journal"
    held = Journal(Storage(tmp_path), folder)
    code = (
        "import sys; from pathlib import Path; from xlray import errors; from xlray.storage import journal, storage\n"
        "try:\n    with journal.Journal(storage.Storage(Path('/')), Path(sys.argv[1])).exclusive(): print('held')\n"
        "except errors.InputError as error: print(error)"
    )

    def other():
        return subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
        ).stdout

    with held.exclusive():
        assert f"another process runs this sweep already (process {os.getpid()} on" in other()
        with pytest.raises(InputError, match="another process"), held.exclusive():
            pass
    assert other() == "held\n"


def test_a_follower_reads_each_entry_once_and_leaves_a_line_that_is_being_written(tmp_path):
    written = Journal(Storage(tmp_path), tmp_path)
    follower = Follower(written)
    assert follower.new() == []
    for number in range(3):
        written.append({"event": "created", "number": number})
    assert [entry["number"] for entry in follower.new()] == [0, 1, 2]
    path = tmp_path / journal.JOURNAL_FILE
    whole = path.read_bytes()
    written.append({"event": "created", "number": 3})
    line = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + line[:-5])
    assert follower.new() == []
    path.write_bytes(whole + line)
    assert [entry["number"] for entry in follower.new()] == [3] and follower.new() == []
    path.write_bytes(whole + line + b"no json\n")
    for _ in range(2):  # what is wrong is said each time, rather than what follows it left out
        with pytest.raises(InputError, match="not a JSON object"):
            follower.new()


def numbered(first, last, mark=""):
    return "".join(json.dumps({"event": "e", "number": n, "mark": mark}) + "\n" for n in range(first, last)).encode()


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (numbered(0, 5), [0, 1, 2, 3, 4]),  # cut
        (numbered(0, 10, "x"), list(range(10))),  # replaced by one of the same length
        (numbered(20, 50), list(range(20, 50))),  # by a longer one
        (b"", []),
        (None, []),
    ],
)
def test_a_journal_that_was_cut_or_replaced_is_read_from_its_start_again(tmp_path, text, entries):
    path = tmp_path / journal.JOURNAL_FILE
    path.write_bytes(numbered(0, 10, "y"))
    follower = Follower(Journal(Storage(tmp_path), tmp_path))
    assert len(follower.new()) == 10 and follower.new() == [] and follower.replays == 0
    path.unlink() if text is None else path.write_bytes(text)
    assert [entry["number"] for entry in follower.new()] == entries
    assert (follower.new(), follower.replays) == ([], 1)
    path.write_bytes((text or b"") + numbered(90, 92))
    assert ([entry["number"] for entry in follower.new()], follower.replays) == ([90, 91], 1)


def test_a_line_that_a_crash_tore_is_left_out_when_the_next_one_is_written(tmp_path):
    written = Journal(Storage(tmp_path), tmp_path)
    follower = Follower(written)
    written.append({"event": "e", "number": 0})
    with (tmp_path / journal.JOURNAL_FILE).open("ab") as file:
        file.write(b'{"event": "e", "numb')
    assert [entry["number"] for entry in follower.new()] == [0]
    written.append({"event": "e", "number": 1})
    assert ([entry["number"] for entry in follower.new()], follower.replays) == ([1], 0)
