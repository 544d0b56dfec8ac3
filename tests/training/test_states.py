"""States on disk: readable by safetensors, whole or not at all, written while the caller continues."""

import json
import os
import threading

import pytest
import torch
from safetensors.torch import load_file

from xlray.training import checkpoint
from xlray.training.checkpoint import StateWriter, is_sound, latest_state, write_state

TENSORS = {
    "model/a": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "exp_avg/a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "model/empty": torch.zeros(0, 2),
    "step": torch.tensor(7),
}
LAYOUT = {name: (value.dtype, tuple(value.shape)) for name, value in TENSORS.items()}


def state_in(folder, step=1):
    path = folder / f"state-{step}.safetensors"
    write_state(path, LAYOUT, TENSORS.items())
    return path


def test_what_is_written_is_what_safetensors_reads(tmp_path):
    found = load_file(state_in(tmp_path))
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())


def test_a_new_state_replaces_the_older_ones(tmp_path):
    for step in (4, 8):
        state_in(tmp_path, step)
    assert [p.name for p in tmp_path.iterdir()] == ["state-8.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "longer", "flipped", "flipped header", "empty", "no header"])
def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, damage):
    good = state_in(tmp_path, 4)
    content = good.read_bytes()
    path = tmp_path / "state-8.safetensors"
    path.write_bytes(
        {
            "cut": content[:-1],
            "longer": content + b"\0",
            "flipped": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "flipped header": content[:20] + b"\xff" + content[21:],
            "empty": b"",
            "no header": content[8:],
        }[damage]
    )
    assert not is_sound(path)
    assert latest_state(tmp_path) == (good, 1)
    assert not path.exists()


def test_a_sound_state_is_kept_and_without_any_there_is_none(tmp_path):
    assert latest_state(tmp_path) == (None, 0)
    assert is_sound(state_in(tmp_path))


@pytest.mark.parametrize(
    "entries",
    [
        list(TENSORS.items())[:-1],
        list(TENSORS.items())[::-1],
        [(name, value.double()) for name, value in TENSORS.items()],
    ],
)
def test_tensors_that_are_not_those_of_the_layout_leave_no_file(tmp_path, entries):
    with pytest.raises(ValueError, match="layout"):
        write_state(tmp_path / "state-1.safetensors", LAYOUT, entries)
    assert list(tmp_path.iterdir()) == []


def test_a_state_is_written_while_the_caller_continues(tmp_path, monkeypatch):
    gate, write = threading.Event(), checkpoint.write_state

    def slow(*arguments):
        assert gate.wait(60)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write_state", slow)
    writer, path = StateWriter(), tmp_path / "state-1.safetensors"
    writer.save(path, LAYOUT, iter(TENSORS.items()))
    assert not path.exists()  # and yet the caller is here
    gate.set()
    writer.wait()
    assert is_sound(path)


def test_what_follows_a_state_is_done_beside_training_once_it_is_on_disk(tmp_path):
    gate, seen = threading.Event(), []

    def carry():
        assert gate.wait(60)
        seen.append((threading.current_thread(), is_sound(path)))

    writer, path = StateWriter(), tmp_path / "state-1.safetensors"
    writer.save(path, LAYOUT, iter(TENSORS.items()), carry)
    assert not seen  # and yet the caller is here
    gate.set()
    writer.wait()
    ((thread, sound),) = seen
    assert sound and thread is not threading.current_thread()


def test_nothing_follows_a_state_that_could_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "write_state", lambda *_: 1 / 0)
    seen, writer = [], StateWriter()
    writer.save(tmp_path / "state-1.safetensors", LAYOUT, iter(TENSORS.items()), lambda: seen.append(1))
    with pytest.raises(ZeroDivisionError):
        writer.wait()
    assert not seen


def test_a_second_state_waits_for_the_first(tmp_path):
    writer = StateWriter()
    for step in (1, 2, 3):
        writer.save(tmp_path / f"state-{step}.safetensors", LAYOUT, iter(TENSORS.items()))
    writer.wait()
    assert [p.name for p in tmp_path.iterdir()] == ["state-3.safetensors"]


def test_gathering_waits_for_the_disk_where_memory_is_short(tmp_path, monkeypatch):
    held = []

    class Watched(checkpoint._Belt):
        def put(self, entry):
            super().put(entry)
            held.append(self._held)

    monkeypatch.setattr(checkpoint, "_Belt", Watched)
    monkeypatch.setattr(checkpoint, "free_host_bytes", lambda: 4 * 100)  # a quarter holds two tensors of 48 bytes
    layout = {f"t{i}": (torch.float32, (12,)) for i in range(50)}
    writer = StateWriter()
    writer.save(tmp_path / "state-1.safetensors", layout, ((name, torch.full((12,), 3.0)) for name in layout))
    writer.wait()
    assert len(held) == 50
    assert max(held) <= 96
    assert load_file(tmp_path / "state-1.safetensors")["t49"][0] == 3


def test_an_error_of_the_disk_reaches_the_caller_and_the_state_before_stays(tmp_path, monkeypatch):
    good, writer = state_in(tmp_path, 4), StateWriter()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writer.save(tmp_path / "state-8.safetensors", LAYOUT, iter(TENSORS.items()))
    with pytest.raises(OSError, match="No space left"):
        writer.wait()
    assert [p.name for p in tmp_path.iterdir()] == [good.name]
    assert is_sound(good)


def test_a_failing_writer_does_not_stop_the_gathering(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("disk")

    monkeypatch.setattr(checkpoint, "write_state", broken)
    monkeypatch.setattr(checkpoint, "free_host_bytes", lambda: 0)
    taken = []

    def tensors():
        for number in range(50):
            taken.append(number)
            yield f"t{number}", torch.zeros(9)

    writer = StateWriter()
    writer.save(tmp_path / "s", {}, tensors())
    assert len(taken) == 50  # peers take part in all of them
    with pytest.raises(OSError, match="disk"):
        writer.wait()


def test_the_header_names_the_checksum(tmp_path):
    content = state_in(tmp_path).read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    assert json.loads(content[8 : 8 + size])["__metadata__"]["crc32"] != "00000000"
