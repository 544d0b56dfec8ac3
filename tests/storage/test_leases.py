"""Leases: one holder at a time, whatever the order of events; on a folder and on an object store."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from xlray.errors import InputError, RemoteError
from xlray.storage.leases import FolderRegisters, Leases, turn
from xlray.storage.storage import Storage, open_storage


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["folder", "s3_uri", "gcs_uri"])
def root(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return Storage(tmp_path)
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / "cache"))
    return open_storage(request.getfixturevalue(request.param))


def test_one_holder_at_a_time(root):
    a, b = Leases(root, "a", 10), Leases(root, "b", 10)
    assert a.holder("phase") is None
    assert a.take("phase") and a.take("phase")
    assert not b.take("phase") and b.holder("phase") == "a" and a.held == {"phase"} and not b.held
    a.release("phase")
    assert b.holder("phase") is None and b.take("phase") and not a.take("phase")


def test_all_of_several_leases_are_taken_or_none(root):
    a, b = Leases(root, "a", 10), Leases(root, "b", 10)
    assert b.take("phase-2") and a.take_all({"phase-3", "phase-2", "phase-1"}) == "phase-2" and not a.held
    assert b.holder("phase-1") is None
    b.release("phase-2")
    assert a.take_all({"phase-1", "phase-2"}) is None and a.held == {"phase-1", "phase-2"}


def test_a_release_of_what_another_holds_changes_nothing(root):
    a, b = Leases(root, "a", 10), Leases(root, "b", 10)
    assert a.take("phase")
    b.release("phase")
    b.release("never-taken")
    assert b.holder("phase") == "a"


def test_a_lease_expires_when_the_observer_saw_no_change_for_its_time_to_live(root):
    clock = Clock()
    a, b = Leases(root, "a", 10), Leases(root, "b", 99, clock)
    assert a.take("phase")
    assert not b.take("phase")  # the observer's clock starts here, however old the lease is
    clock.now = 9.9
    assert not b.take("phase")
    a.renew()
    clock.now = 15
    assert b.holder("phase") == "a"  # it changed
    clock.now = 25.1
    assert b.holder("phase") is None and b.take("phase")
    assert a.renew() == {"phase"} and not a.held and not a.take("phase")


def test_a_renewal_in_time_keeps_it_for_ever(root):
    clock = Clock()
    a, b = Leases(root, "a", 10), Leases(root, "b", 10, clock)
    assert a.take("x") and a.take("y")
    for _ in range(5):
        assert not b.take("x") and not b.take("y")
        clock.now += 9
        assert a.renew() == frozenset()
    assert not b.take("x")


def test_of_many_that_take_at_once_one_gets_it(root):
    for name in ("free", "expired"):
        clock = Clock()
        leases = [Leases(root, f"holder-{i}", 10, clock) for i in range(8)]
        if name == "expired":
            assert Leases(root, "dead", 10).take(name)
            assert not any(lease.take(name) for lease in leases)
            clock.now = 11
        barrier = threading.Barrier(len(leases))

        def take(lease, name=name, barrier=barrier):
            barrier.wait()
            return lease.take(name)

        with ThreadPoolExecutor(len(leases)) as pool:
            taken = list(pool.map(take, leases))
        assert sum(taken) == 1
        assert leases[0].holder(name) == f"holder-{taken.index(True)}"


def test_takers_and_renewers_in_a_storm_never_both_hold(root):
    """Each holder that has the lease notes it; two at a time would be seen."""
    inside, worst, lock = [0], [0], threading.Lock()

    def work(number):
        leases, turns = Leases(root, f"holder-{number}", 60), 0
        for _ in range(25):
            if not leases.take("storm"):
                continue
            with lock:
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
            assert leases.renew() == frozenset()
            with lock:
                inside[0] -= 1
            leases.release("storm")
            turns += 1
        return turns

    with ThreadPoolExecutor(4) as pool:
        turns = list(pool.map(work, range(4)))
    assert worst[0] == 1 and sum(turns) >= 1


def test_a_writer_with_a_stale_version_is_refused(root, tmp_path):
    registers = Leases(root, "a", 1)._registers
    assert registers.write("r", b"one", None) and not registers.write("r", b"two", None)
    first = registers.read("r")[1]
    assert registers.write("r", b"two", first) and not registers.write("r", b"three", first)
    assert registers.read("r")[0] == b"two"


def test_a_version_made_from_a_listing_that_was_long_stale_is_withdrawn(tmp_path):
    registers = FolderRegisters(tmp_path)
    for version in range(6):
        assert registers.write("r", b"%d" % version, version or None)
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["000000000005", "000000000006"]
    assert not registers.write("r", b"late", 2)  # its file has gone, so creating it would succeed
    assert registers.read("r") == (b"5", 6)


def test_a_half_written_lease_is_held_until_it_expires(tmp_path):
    folder = tmp_path / "leases" / "phase"
    folder.mkdir(parents=True)
    (folder / "000000000001").write_bytes(b"")
    clock = Clock()
    leases = Leases(Storage(tmp_path), "a", 10, clock)
    assert not leases.take("phase") and leases.holder("phase") == "unknown"
    clock.now = 10
    assert leases.take("phase")


def test_a_repeated_request_finds_that_it_was_the_first_already(root, monkeypatch):
    """The answer to a conditional put may be lost; the client then repeats it and is told that it was too late."""
    registers = Leases(root, "a", 1)._registers
    if isinstance(registers, FolderRegisters):
        pytest.skip("a folder answers")
    content = json.dumps({"holder": "a", "version": "unlike-any-other"}).encode()
    assert registers.write("r", content, None)
    assert registers.write("r", content, None)
    assert not registers.write("r", b"another's", None)


def test_wrong_use_is_refused(tmp_path):
    leases = Leases(Storage(tmp_path), "a", 1)
    for name in ("", "a/b", "../a", ".hidden"):
        with pytest.raises(InputError):
            leases.take(name)
    with pytest.raises(InputError):
        Leases(Storage(tmp_path), "a", 0)
    with pytest.raises(InputError):
        Leases(Storage(tmp_path), "", 1)


def test_a_store_that_does_not_answer_is_an_os_error_that_names_it(tmp_path, monkeypatch, s3_uri):
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path))
    root = open_storage(s3_uri.replace("bucket", "nobucket"))
    with pytest.raises(RemoteError, match="s3://nobucket"):
        Leases(root, "a", 1).take("phase")


def test_of_two_whose_turn_it_could_be_one_works_and_the_other_waits_until_it_is_done(root):
    """Also where the work takes longer than a lease that is not renewed would live."""
    done, working, both = threading.Event(), [], threading.Barrier(2)

    def take_turn(name):
        both.wait()
        with turn(Leases(root, name, 1.0), "phase", done.is_set, 0.05) as mine:
            if mine:
                working.append(name)
                threading.Event().wait(2.5)
                done.set()
        return mine, done.is_set()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(take_turn, "ab"))
    assert len(working) == 1 and sorted(found) == [(False, True), (True, True)]
    assert Leases(root, "c", 1.0).holder("phase") is None


def test_a_turn_that_fails_leaves_it_to_the_next(root):
    with pytest.raises(ValueError, match="broken"), turn(Leases(root, "a", 10), "phase", lambda: False):
        raise ValueError("broken")
    with turn(Leases(root, "b", 10), "phase", lambda: False) as mine:
        assert mine


def test_what_was_done_just_before_the_lease_came_back_is_not_done_again(root):
    answers = iter([False, True])
    with turn(Leases(root, "a", 10), "phase", lambda: next(answers)) as mine:
        assert not mine
