"""Garbage: what broke off or is referred to by nobody goes; what a sweep refers to stays, whatever its state."""

import json
import os
import time

import helpers
import pytest

from xlray.cli.main import main
from xlray.config.execution import Execution
from xlray.errors import RemoteError
from xlray.phases.garbage import FORGOTTEN_S, find_garbage, remove
from xlray.phases.spec import Phases, data_name, phase_hash, phase_name
from xlray.phases.store import Store
from xlray.plan.jobs import Job, write_job
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage, open_storage
from xlray.storage.sweep_folder import sweep_folder

DATA = helpers.data_spec("mini", "classification", "train/en", [{"id": "0"}], labels=("a", "b"))
TRUNK = helpers.train_spec("trunk", "encoder", [DATA])
CHILD = helpers.train_spec("cooldown", phase_hash(TRUNK), [DATA])
LONELY = helpers.train_spec("cooldown", "nobody", [])


@pytest.fixture(params=["folder", "s3"])
def root(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return Storage(tmp_path / "runs")
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / "cache"))
    return open_storage(request.getfixturevalue("s3_uri"))


def finish(root, spec, tokenizer="pieces"):
    store = Store(root)
    with store.staging(spec) as staged:
        (staged / "weights").mkdir()
        (staged / "weights" / "tokenizer.json").write_text(tokenizer)
        store.commit(spec, staged, {})
    return store.done(spec)["files"]["weights/tokenizer.json"]


def refer(root, spec, trial_id="t1", sweep="s"):
    """A sweep with one trial that needs the phase; its journal and its job say so."""
    directory = sweep_folder(root, sweep)
    phases, parents = Phases(shared=(spec,)), {phase_hash(spec): str(Store(root).folder(spec))}
    progress = directory / "progress" / "t1.json"
    job = Job(trial_id, sweep, root, Execution(), phases, {}, parents, 10, 4, progress)
    write_job(directory / "jobs" / f"{trial_id}.json", job)
    directory.journal.append({"event": "created", "trial_id": trial_id})


def put(root, name, text="x"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    root.send(path)
    return path


def found(root):
    return {(one.kind, one.name) for one in find_garbage(root)[0]}


def test_what_a_sweep_needs_stays_with_its_ancestors_and_their_data_and_all_else_goes(root):
    digest = finish(root, TRUNK)
    finish(root, CHILD)
    finish(root, LONELY)
    refer(root, CHILD)
    needed, other = data_name(DATA, digest), data_name(DATA, "another tokenizer")
    for name in (needed, other):
        put(root, f"data/{name}/examples.arrow")
        root.publish_folder(root / "data" / name)
    put(root, "data/fingerprints/abc.json")
    garbage, references = find_garbage(root)
    assert {(one.kind, one.name) for one in garbage if one.kind not in ("upload", "lease")} == {
        ("phase", f"phases/{phase_name(LONELY)}"),
        ("data", f"data/{other}"),
    }
    assert not references.unknown
    remove(root, garbage)
    store = Store(root)
    assert store.has(TRUNK) and store.has(CHILD) and not store.has(LONELY)
    assert root.find(root / "data" / needed) and not root.find(root / "data" / other)
    assert not found(root)


def test_an_unfinished_phase_stays_if_a_journal_refers_to_it(root):
    store = Store(root)
    for spec in (TRUNK, LONELY):
        (store.begin(spec) / "state-5.safetensors").write_text("state")
        store.save_attempt(spec)
    refer(root, TRUNK)
    assert found(root) == {("attempt", f"phases/{phase_name(LONELY)}")}
    remove(root, find_garbage(root)[0])
    assert (store.begin(TRUNK) / "state-5.safetensors").exists() and not store.folder(LONELY).exists()
    sweep_folder(root, "s").journal.append({"event": "phase", "trial_id": "t1", "phase": phase_name(LONELY)})
    store.begin(LONELY)
    assert not found(root)


def test_nothing_goes_while_something_runs_that_may_be_writing_it(root):
    (Store(root).begin(LONELY) / "state-5.safetensors").write_text("state")
    Store(root).save_attempt(LONELY)
    leases = Leases(root, "driver", 60)
    assert leases.take("phase-1")
    assert not found(root)
    leases.release("phase-1")
    if root.remote is None:
        old = time.time() - FORGOTTEN_S - 1
        for path in (root / "leases").rglob("*"):
            os.utime(path, (old, old))
        assert {kind for kind, _ in found(root)} == {"attempt", "lease"}


def test_a_trial_whose_phases_are_not_known_keeps_all_phases(root):
    finish(root, LONELY)
    put(root, "quarantine/x-1/DONE")
    sweep_folder(root, "s").journal.append({"event": "created", "trial_id": "t1"})
    garbage, references = find_garbage(root)
    assert {one.kind for one in garbage} == {"quarantine"} and references.unknown == {"s"}


def test_what_crashes_left_behind_goes(tmp_path):
    storage = Storage(tmp_path)
    finish(storage, TRUNK)
    refer(storage, TRUNK)
    folder = f"phases/{phase_name(TRUNK)}"
    for name in (f"{folder}/staging-0123abcd/f", f"{folder}/attempt/steps.log", "data/.mini.0123abcd/f"):
        put(storage, name)
    for name in (f"{folder}/.spec.json.0123abcd.tmp", ".probe-0123abcd", "sweeps/s/.sweep.json.0123abcd.tmp"):
        put(storage, name)
    assert found(storage) == {
        ("staging", f"{folder}/staging-0123abcd"),
        ("staging", f"{folder}/attempt"),
        ("staging", f"{folder}/.spec.json.0123abcd.tmp"),
        ("staging", "data/.mini.0123abcd"),
        ("staging", ".probe-0123abcd"),
        ("staging", "sweeps/s/.sweep.json.0123abcd.tmp"),
    }
    remove(storage, find_garbage(storage)[0])
    assert not found(storage) and Store(storage).open(TRUNK, "weights/tokenizer.json").read_text() == "pieces"
    assert not (tmp_path / "data" / ".mini.0123abcd").exists()


def test_an_upload_that_broke_off_goes_and_the_one_that_counts_stays(tmp_path, monkeypatch, s3_uri, s3_server):
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path))
    root = open_storage(s3_uri)
    s3_server.fault = lambda method, path: 400 if method == "PUT" and path.endswith("DONE") else None
    with pytest.raises(RemoteError):
        finish(root, TRUNK)
    s3_server.fault = lambda method, path: None
    finish(root, TRUNK)
    refer(root, TRUNK)
    assert [kind for kind, _ in found(root)] == ["upload"]
    remove(root, find_garbage(root)[0])
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / "elsewhere"))
    assert Store(open_storage(s3_uri)).open(TRUNK, "weights/tokenizer.json").read_text() == "pieces"


def test_the_command_says_what_it_would_remove_and_removes_it(tmp_path, capsys):
    finish(Storage(tmp_path), LONELY)
    assert main(["gc", "--storage", str(tmp_path), "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["kinds"]["phase"]["number"] == 1 and Store(Storage(tmp_path)).has(LONELY)
    assert main(["gc", "--storage", str(tmp_path), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert {**done, "dry_run": True} == planned and not Store(Storage(tmp_path)).folder(LONELY).exists()
    assert main(["gc", "--storage", str(tmp_path)]) == 0
    assert "0 bytes removed" in capsys.readouterr().out
