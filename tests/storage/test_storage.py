"""Storages behind which an object store stands: a real S3 server, and machines that are working folders of their own."""

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import helpers
import obstore
import pytest
from stored_phases import OTHER, RECORD, SPEC, finish, objects

from xlray.data.contamination import build_exclusions, load_exclusions, store_exclusions
from xlray.data.registry import ALL_TASKS
from xlray.errors import InputError, RemoteError, StoreError
from xlray.phases.spec import phase_name
from xlray.phases.store import Store, check_writable
from xlray.storage import journal, object_store
from xlray.storage.follower import Follower
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage, arrive, named_storage, open_storage
from xlray.storage.sweep_folder import find_sweep_folder, open_sweep, sweep_folder


@pytest.fixture
def machines(tmp_path, monkeypatch, s3_uri):
    """One storage as three machines have it open."""

    def open_on(number):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / f"machine-{number}"))
        return open_storage(s3_uri)

    return [open_on(number) for number in range(3)]


def test_a_storage_that_is_handed_to_another_machine_is_opened_there_by_its_name(machines, tmp_path, monkeypatch):
    sent = pickle.dumps(machines[0])
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / "machine-9"))
    found = pickle.loads(sent)
    assert found.uri == machines[0].uri and found.root.is_relative_to(tmp_path / "machine-9")
    assert pickle.loads(pickle.dumps(Storage(tmp_path))) == Storage(tmp_path)


def test_a_sweep_is_the_same_by_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / "runs/sweeps/s").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert open_sweep("runs/sweeps/s") == open_sweep(tmp_path / "runs/sweeps/s")


def test_a_phase_finished_on_one_machine_is_there_on_all(machines):
    stores = [Store(root) for root in machines]
    assert not any(store.has(SPEC) for store in stores)
    finish(machines[0])
    assert all(store.has(SPEC) for store in stores)
    assert stores[1].open(SPEC, "weights/model.safetensors").read_text() == "weights"
    assert stores[1].done(SPEC)["record"] == RECORD
    assert not (stores[1].folder(SPEC) / "scores.parquet").exists()  # brought when it is asked for
    assert (stores[1].bring(SPEC) / "scores.parquet").read_text() == "weights"
    with pytest.raises(StoreError, match="holds no file"):
        stores[2].open(SPEC, "nothing")


def test_of_many_that_commit_at_once_one_is_kept_whole(machines, tmp_path, monkeypatch, s3_uri):
    roots = []
    for number in range(6):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / f"committer-{number}"))
        roots.append(open_storage(s3_uri))
    barrier = threading.Barrier(len(roots))

    def work(number):
        barrier.wait()
        finish(roots[number], f"by {number}")

    with ThreadPoolExecutor(len(roots)) as pool:
        list(pool.map(work, range(len(roots))))
    read = {
        path.read_text()
        for root in [*roots, *machines]
        for path in (Store(root).open(SPEC, name) for name in ("weights/model.safetensors", "scores.parquet"))
    }
    assert len(read) == 1 and read.pop().startswith("by ")


def test_processes_of_one_machine_that_commit_at_once_keep_one_whole(tmp_path):
    storage = Storage(tmp_path)
    barrier = threading.Barrier(6)

    def work(number):
        barrier.wait()
        finish(storage, f"by {number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    store = Store(storage)
    assert len({store.open(SPEC, name).read_text() for name in ("weights/model.safetensors", "scores.parquet")}) == 1


@pytest.mark.parametrize("part", ["scores.parquet", "DONE"])
def test_an_upload_that_breaks_off_is_seen_by_nobody(machines, s3_server, part):
    s3_server.fault = lambda method, path: 400 if method == "PUT" and path.endswith(part) else None
    with pytest.raises(RemoteError, match="s3://bucket"):
        finish(machines[0])
    s3_server.fault = lambda method, path: None
    assert [name for name in objects(machines[0]) if "/files-" in name] and not Store(machines[0]).has(SPEC)
    assert not Store(machines[1]).has(SPEC)
    finish(machines[1], "whole")
    assert Store(machines[0]).open(SPEC, "scores.parquet").read_text() == "whole"


def test_a_throttled_request_is_sent_again(machines, s3_server):
    seen = set()

    def slow_down(method, path):
        first = (method, path) not in seen
        seen.add((method, path))
        return 503 if first else None

    s3_server.fault = slow_down
    finish(machines[0])
    assert Store(machines[1]).open(SPEC, "scores.parquet").read_text() == "weights"
    assert len(s3_server.requests) > len(seen) > 5


def test_a_damaged_object_is_quarantined_named_and_recreated(machines):
    finish(machines[0])
    client = machines[0].remote.client
    damaged = next(name for name in objects(machines[0]) if name.endswith("scores.parquet"))
    obstore.put(client, damaged, b"other bytes")
    with pytest.raises(StoreError, match=r"scores.parquet is damaged.*quarantine.*run again"):
        Store(machines[1]).open(SPEC, "scores.parquet")
    assert not Store(machines[1]).has(SPEC) and not Store(machines[2]).has(SPEC)
    assert [n for n in objects(machines[0], "quarantine/") if n.endswith("/DONE")]
    finish(machines[1], "again")
    assert Store(machines[2]).open(SPEC, "scores.parquet").read_text() == "again"


def test_an_object_that_was_deleted_is_reported_and_the_phase_is_recreated(machines):
    finish(machines[0])
    store = machines[0].remote
    store.delete([name for name in objects(machines[0]) if name.endswith("scores.parquet")])
    with pytest.raises(StoreError, match=r"scores\.parquet is missing"):
        Store(machines[1]).bring(SPEC)
    assert not Store(machines[2]).has(SPEC)


def test_a_damaged_copy_is_brought_again(machines):
    finish(machines[0])
    path = Store(machines[1]).open(SPEC, "scores.parquet")
    path.write_text("a bit fell over")
    assert Store(machines[1]).open(SPEC, "scores.parquet").read_text() == "weights"
    assert Store(machines[2]).has(SPEC)


def test_finished_phases_are_found_in_one_listing_and_deleted_ones_forgotten(machines, s3_server):
    finish(machines[0])
    finish(machines[0], spec=OTHER)
    store = Store(machines[1])
    others = [helpers.train_spec("cooldown", f"parent-{number}", []) for number in range(30)]
    s3_server.requests.clear()
    assert len(store.finished([SPEC, OTHER, *others])) == 2
    assert len(s3_server.requests) < 12  # not one for each that is not there
    remote_store = machines[0].remote
    remote_store.delete(objects(machines[0], f"phases/{phase_name(SPEC)}/"))
    assert len(store.finished([SPEC, OTHER])) == 1 and not store.has(SPEC)


def test_an_unfinished_phase_resumes_on_another_machine(machines):
    here, there = Store(machines[0]), Store(machines[1])
    attempt = here.begin(SPEC)
    (attempt / "state-5.safetensors").write_text("five")
    (attempt / "steps.log").write_text("0\n" * 5)
    here.save_attempt(SPEC)
    (attempt / "state-5.safetensors").unlink()
    (attempt / "state-10.safetensors").write_text("ten")
    (attempt / "steps.log").write_text("0\n" * 10)
    here.save_attempt(SPEC)
    there.load_attempt(SPEC)
    found = there.folder(SPEC) / "attempt"
    assert {p.name: p.read_text() for p in found.iterdir()} == {
        "state-10.safetensors": "ten",
        "steps.log": "0\n" * 10,
    }
    (found / "steps.log").write_text("0\n" * 12)  # it went further, and starts again
    there.load_attempt(SPEC)
    assert len((found / "steps.log").read_text().splitlines()) == 12
    finish(machines[1])
    assert not objects(machines[0], f"phases/{phase_name(SPEC)}/attempt/")


def test_large_files_go_in_parts(machines, monkeypatch):
    monkeypatch.setattr(object_store, "PART_BYTES", 5 * 2**20)  # the least that S3 takes
    content = bytes(range(256)) * 50_000
    source = machines[0] / "large"
    source.write_bytes(content)
    machines[0].send(source)
    machines[1].fetch_small(machines[1] / "large")
    machines[2].remote.download("large", machines[2] / "large")
    assert (machines[1] / "large").read_bytes() == (machines[2] / "large").read_bytes() == content


# --- the journal ---------------------------------------------------------------------------------------------------


def test_a_journal_is_segments_that_every_machine_reads(machines, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 200)
    journals = [sweep_folder(storage, "s").journal for storage in machines]
    with journals[0].exclusive():
        follower, written, followed = Follower(journals[1]), [], []
        for number in range(10):
            written.append(journals[0].append({"event": "e", "number": number}))
            followed += follower.new() if number % 3 else []
        assert followed + follower.new() == written and follower.new() == []
        assert journals[1].read() == written and journals[1].is_held()
    assert not journals[1].is_held()
    with journals[2].exclusive():
        written.append(journals[2].append({"event": "later"}))
    assert journals[0].read() == written
    assert len(objects(machines[0], "sweeps/s/journal/")) > 3


def test_many_entries_take_a_write_for_each_segment_and_a_second_writer_is_found_out(machines, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1_000)
    writes, write = [], object_store.Remote.write

    def counted(self, name, *rest):
        writes.append(name)
        return write(self, name, *rest)

    monkeypatch.setattr(object_store.Remote, "write", counted)
    first, second = (sweep_folder(storage, "s").journal for storage in machines[:2])
    found = first.extend([{"event": "e", "number": number} for number in range(100)])
    assert len(writes) == len(set(writes)) == len(objects(machines[0], "sweeps/s/journal/")) < 10
    found.append(first.append({"event": "later"}))
    assert second.read() == found
    second.append({"event": "of another"})
    with pytest.raises(InputError, match="another process writes this journal"):
        first.extend([{"event": "lost"}] * 3)


def test_following_a_journal_fetches_a_segment_only_when_it_has_changed(machines, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 200)
    journals = [sweep_folder(storage, "s").journal for storage in machines]
    with journals[0].exclusive():
        for number in range(20):
            journals[0].append({"event": "e", "number": number})
        follower, fetched, read = Follower(journals[1]), [], object_store.Remote.read

        def counted(self, name):
            fetched.append(name)
            return read(self, name)

        monkeypatch.setattr(object_store.Remote, "read", counted)
        assert len(follower.new()) == 20 and len(set(fetched)) == len(fetched) > 3
        fetched.clear()
        assert follower.new() == [] and fetched == []
        journals[0].append({"event": "e", "number": 20})
        assert [entry["number"] for entry in follower.new()] == [20] and 1 <= len(fetched) <= 2
    remote = machines[0].remote
    remote.delete(remote.list("sweeps/s/journal/"))
    assert follower.new() == [] and follower.replays == 1
    with journals[2].exclusive():
        journals[2].append({"event": "e", "number": 90})
    assert [entry["number"] for entry in follower.new()] == [90] and follower.replays == 1


def test_a_second_driver_is_refused_and_a_dead_one_replaced(machines, monkeypatch):
    monkeypatch.setattr(journal, "LEASE_TTL_S", 2.0)
    journals = [sweep_folder(storage, "s").journal for storage in machines]
    with (
        journals[0].exclusive(),
        pytest.raises(InputError, match=r"^s3://.*/sweeps/s: another process runs this sweep"),
        journals[1].exclusive(),
    ):
        pass
    leases = Leases(machines[0], "dead", 1.0)
    assert leases.take("sweep-s")
    said: list[str] = []
    with journals[1].exclusive(lambda: said.append("waits")):
        journals[1].append({"event": "replaced"})
    assert said == ["waits"]
    assert [e["event"] for e in journals[2].read()] == ["replaced"]


def test_a_writer_that_was_replaced_without_knowing_it_cannot_write(machines):
    journals = [sweep_folder(storage, "s").journal for storage in machines]
    journals[0].append({"event": "a"})
    journals[1].append({"event": "b"})
    with pytest.raises(InputError, match="another process writes this journal"):
        journals[0].append({"event": "c"})
    assert [e["event"] for e in journals[2].read()] == ["a", "b"]


# --- what else a sweep keeps ---------------------------------------------------------------------------------------


def test_a_list_of_exclusions_is_the_storages(machines):
    assert load_exclusions(machines[1]) is None
    task = ALL_TASKS["mini_udpos"]
    made = build_exclusions(
        [task], lambda task, split: [{"id": "0", "tokens": ["yksi", "kaksi", split], "tags": ["X"] * 3}]
    )
    store_exclusions(machines[0], made)
    assert load_exclusions(machines[1]).version == made.version


def test_folders_made_the_same_by_everybody_are_published_once(machines):
    for root in machines[:2]:
        (root / "data" / "x").mkdir(parents=True)
        (root / "data" / "x" / "examples.arrow").write_text("rows")
        root.publish_folder(root / "data" / "x")
    assert not machines[2].find(machines[2] / "data" / "y")
    assert machines[2].find(machines[2] / "data" / "x")
    machines[2].bring(machines[2] / "data" / "x")
    assert (machines[2] / "data" / "x" / "examples.arrow").read_text() == "rows"
    with pytest.raises(RemoteError, match="no such folder"):
        machines[2].bring(machines[2] / "data" / "y")


def test_a_sweep_is_found_by_name_on_a_machine_that_has_not_seen_it(machines):
    folder = machines[0] / "sweeps/finnish"
    (folder / "results").mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    (folder / "results" / "scores.parquet").write_text("old")
    machines[0].send_changed(folder)
    found = find_sweep_folder("finnish", machines[1])
    assert found.storage == machines[1] and (found / "results" / "scores.parquet").read_text() == "old"
    (folder / "results" / "scores.parquet").write_text("newer")
    machines[0].send_changed(folder)
    (found / "results" / "scores.parquet").touch()
    assert (find_sweep_folder("finnish", machines[2]) / "results" / "scores.parquet").read_text() == "newer"
    with pytest.raises(InputError, match=r"s3://bucket/\w+ holds finnish. Did you mean 'finnish'\?"):
        find_sweep_folder("finish", machines[2])


def test_another_machine_arrives_at_an_address(machines, tmp_path):
    path = machines[0] / "sweeps" / "s" / "jobs" / "t.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"number": 1}))
    machines[0].send(path)
    assert json.loads(arrive(machines[1].address(machines[1] / "sweeps" / "s" / "jobs" / "t.json")).read_text()) == {
        "number": 1
    }
    assert arrive(Storage(tmp_path).address(tmp_path / "file")) == tmp_path / "file"


# --- names and faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["s3://", "ftp://host/x", "s3:///prefix", "http://host/x"])
def test_other_schemes_and_names_without_a_bucket_are_refused(uri):
    with pytest.raises(InputError, match=r"s3://BUCKET/PREFIX"):
        named_storage(uri)


def test_a_name_with_and_without_a_last_slash_is_one_storage(tmp_path, monkeypatch):
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path))
    root = open_storage("gs://bucket/a/")
    assert root == open_storage("gs://bucket/a") != open_storage("gs://bucket/b")
    assert root.uri == "gs://bucket/a"
    assert named_storage("file:///tmp/x") == Storage(Path("/tmp/x"))


def test_a_bucket_that_is_not_there_or_closed_is_refused_in_one_line(machines, monkeypatch, s3_uri, s3_server):
    with pytest.raises(
        InputError, match=r"storage 's3://nowhere/x' must be a bucket that can be written, but: .*\."
    ) as caught:
        check_writable(open_storage("s3://nowhere/x"))
    assert "\n" not in str(caught.value)
    check_writable(machines[0])
    assert not objects(machines[0])
    s3_server.fault = lambda method, path: 403 if method == "PUT" else None
    with pytest.raises(InputError, match="403"):
        check_writable(machines[0])
    with pytest.raises(InputError, match=r"--storage s3://nowhere/x: must be a bucket that can be read, but: .*404"):
        named_storage("s3://nowhere/x")
    assert named_storage(s3_uri).root.name == machines[2].root.name
