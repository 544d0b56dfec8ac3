"""Storages on Google Cloud Storage: the real client against a server that speaks its protocol."""

import pytest
from stored_phases import OTHER, RECORD, SPEC, finish, objects

from xlray.errors import InputError, StoreError
from xlray.phases.store import Store, check_writable
from xlray.storage import object_store
from xlray.storage.storage import open_storage
from xlray.storage.sweep_folder import sweep_folder


@pytest.fixture
def machines(tmp_path, monkeypatch, gcs_uri):
    """One storage as two machines have it open."""

    def open_on(number):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / f"machine-{number}"))
        return open_storage(gcs_uri)

    return [open_on(number) for number in range(2)]


def test_a_phase_finished_on_one_machine_is_there_on_the_other(machines):
    check_writable(machines[0])
    finish(machines[0])
    store = Store(machines[1])
    assert store.finished([SPEC, OTHER]) == {SPEC.key}
    assert store.open(SPEC, "weights/model.safetensors").read_text() == "weights"
    assert store.done(SPEC)["record"] == RECORD


def test_the_second_that_commits_keeps_what_the_first_made(machines):
    finish(machines[0], "first")
    machines[1].remote.client  # noqa: B018  made before, as on a machine of its own
    finish(machines[1], "second")
    assert {Store(root).open(SPEC, "scores.parquet").read_text() for root in machines} == {"first"}


def test_a_damaged_object_is_quarantined(machines):
    import obstore

    finish(machines[0])
    damaged = next(name for name in objects(machines[0]) if name.endswith("scores.parquet"))
    obstore.put(machines[0].remote.client, damaged, b"other bytes")
    with pytest.raises(StoreError, match=r"scores.parquet is damaged.*quarantine.*run again"):
        Store(machines[1]).open(SPEC, "scores.parquet")
    assert not Store(machines[1]).has(SPEC)


def test_a_second_writer_of_a_journal_is_found_out(machines):
    journals = [sweep_folder(storage, "s").journal for storage in machines]
    for number in range(3):
        journals[0].append({"event": "e", "number": number})
    assert [e["number"] for e in journals[1].read()] == [0, 1, 2]
    journals[1].append({"event": "e", "number": 3})
    with pytest.raises(InputError, match="another process writes this journal"):
        journals[0].append({"event": "e", "number": 4})
    assert [e["number"] for e in journals[0].read()] == [0, 1, 2, 3]


def test_a_large_file_goes_up_and_comes_down_in_parts(machines, tmp_path, monkeypatch, gcs_server):
    monkeypatch.setattr(object_store, "PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * 2**16  # 16 MiB
    (tmp_path / "large").write_bytes(content)
    client = machines[0].remote
    client.upload({"large": tmp_path / "large"})
    assert sum("partNumber" in path for _, path in gcs_server.requests) > 1
    client.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert client.list("")["large"][0] == len(content)
    client.upload(dict.fromkeys(("another", "z"), tmp_path / "large"))
    client.delete(["large", "nothing", "another", "z"])  # another machine may have been faster
    assert not client.list("")
