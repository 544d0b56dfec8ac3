"""The logged points of a phase under way and the table that they become: bounded, and without lost steps."""

import dataclasses
import math

import helpers
import pytest

from xlray.errors import InputError
from xlray.phases.curves import (
    CURVE,
    MOST_ROWS,
    POINTS_FILE,
    STEPS_FILE,
    LogPoint,
    add_point,
    curve_table,
    keep_points,
    read_curve,
    read_points,
    thinned,
    write_curve,
)
from xlray.phases.store import Store
from xlray.storage.storage import Storage

SPEC = helpers.train_spec("trunk", "root", [], batch_size=8)


def point(number, num_steps=20):
    """The n-th point: a loss of n and a norm of 2 n per step, ten tokens of twelve slots, half a second."""
    return LogPoint(
        20 * number, num_steps, float(number * num_steps), 2.0 * number * num_steps, 1e-3 / number, 10, 12, 0.5
    )


def write(path, points):
    with path.open("ab") as file:
        for one in points:
            add_point(file, one)


def test_what_was_written_is_read_back_to_the_bit(tmp_path):
    points = [dataclasses.replace(point(n), loss=math.pi / n, grad_norm=math.inf) for n in range(1, 9)]
    write(tmp_path / "points", points)
    assert read_points(tmp_path / "points") == points
    assert read_points(tmp_path / "nothing") == []


@pytest.mark.parametrize("cut", [1, 4, 20])
def test_a_line_that_was_cut_off_is_passed_over(tmp_path, cut):
    write(tmp_path / "points", [point(1), point(2)])
    whole = (tmp_path / "points").read_bytes()
    (tmp_path / "points").write_bytes(whole[:-cut])
    assert read_points(tmp_path / "points") == [point(1)]


def test_a_resumed_phase_keeps_what_was_seen_before_its_state_and_drops_the_rest(tmp_path):
    path = tmp_path / "points"
    write(path, [point(n) for n in range(1, 6)])
    keep_points(path, 60)
    write(path, [dataclasses.replace(point(4), loss=7.0)])
    assert read_points(path) == [point(1), point(2), point(3), dataclasses.replace(point(4), loss=7.0)]
    keep_points(path, 0)
    keep_points(tmp_path / "new", 0)
    assert read_points(path) == read_points(tmp_path / "new") == []


def test_a_row_for_every_look_where_they_fit():
    rows = curve_table([point(1), point(2), point(3, 5)], SPEC).to_pylist()
    assert [(r["step"], r["examples"]) for r in rows] == [(20, 160), (40, 320), (60, 480)]
    assert [(r["loss"], r["grad_norm"]) for r in rows] == [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]
    assert [r["learning_rate"] for r in rows] == pytest.approx([1e-3, 5e-4, 1e-3 / 3])
    assert rows[0]["tokens_per_second"] == 20 and rows[0]["padding_ratio"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("num_points", [1, MOST_ROWS, MOST_ROWS + 1, 2 * MOST_ROWS, 2 * MOST_ROWS + 1, 20_000])
def test_a_curve_is_bounded_and_loses_nothing_by_that(num_points):
    points = [point(n) for n in range(1, num_points + 1)]
    table = curve_table(points, SPEC)
    assert table.schema == CURVE
    assert min(num_points, MOST_ROWS // 2) <= len(table) <= MOST_ROWS
    rows = table.to_pylist()
    assert rows[-1]["step"] == points[-1].step
    before, total = 0, 0.0
    for row in rows:
        total += row["loss"] * (row["step"] - before)
        before = row["step"]
    assert total == pytest.approx(sum(one.loss for one in points), rel=1e-5)


def test_a_mean_counts_steps_and_not_looks():
    many = [point(1)] * (MOST_ROWS - 1) + [point(1, 20), point(4, 5)]
    last = curve_table(many, SPEC).to_pylist()[-1]
    assert last["loss"] == 4.0  # alone: the number of points is odd
    last = curve_table([point(1), *many], SPEC).to_pylist()[-1]
    assert last["loss"] == pytest.approx((20 * 1 + 5 * 4) / 25)


def test_thinning_keeps_the_end_and_the_order():
    table = curve_table([point(n) for n in range(1, 101)], SPEC)
    for num_rows in (1, 3, 7, 99, 100, 1_000):
        steps = thinned(table, num_rows)["step"].to_pylist()
        assert len(steps) <= num_rows and steps[-1] == 2_000 and steps == sorted(set(steps))
    assert len(thinned(table, 100)) == 100 and len(thinned(table, 50)) == 50
    assert len(thinned(CURVE.empty_table(), 5)) == 0


def test_the_curve_of_a_finished_phase_is_read_and_that_of_earlier_versions_is_empty(tmp_path):
    store = Store(Storage(tmp_path))
    new, old, begun = (helpers.train_spec("trunk", name, []) for name in ("new", "old", "begun"))
    for spec in (new, old, begun):
        attempt = store.begin(spec)
        write(attempt / POINTS_FILE, [point(1)])
        with store.staging(spec) as staged:
            if spec is not old:
                write_curve(staged, attempt, spec)
            if spec is begun:
                (staged / STEPS_FILE).rename(store.folder(spec) / STEPS_FILE)  # killed before DONE was written
            else:
                store.commit(spec, staged, {})
    assert read_curve(store, new)["step"].to_pylist() == [20]
    assert len(read_curve(store, old)) == len(read_curve(store, begun)) == 0
    (store.folder(new) / STEPS_FILE).write_bytes(b"cut")
    with pytest.raises(InputError, match=r"steps.parquet: not a readable Parquet file .*: delete it to do without"):
        read_curve(store, new)


def test_behind_an_object_store_the_curves_of_others_are_brought_where_they_are(tmp_path, monkeypatch, s3_uri):
    from xlray.storage.storage import open_storage

    stores = []
    for name in ("one", "two"):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / name))
        stores.append(Store(open_storage(s3_uri)))
    one, two = stores
    new, old = helpers.train_spec("trunk", "new", []), helpers.train_spec("trunk", "old", [])
    for spec in (new, old):
        attempt = one.begin(spec)
        write(attempt / POINTS_FILE, [point(1)])
        with one.staging(spec) as staged:
            (staged / "scores.parquet").write_text("scores")
            if spec is new:
                write_curve(staged, attempt, spec)
            one.commit(spec, staged, {})
    assert two.finished([new, old]) == {new.key, old.key}
    two.bring_tables([new, old], [STEPS_FILE])
    assert [len(read_curve(two, spec)) for spec in (new, old)] == [1, 0]
    assert not (two.folder(new) / "scores.parquet").exists()
