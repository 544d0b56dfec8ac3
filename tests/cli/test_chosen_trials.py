import dataclasses
from types import SimpleNamespace

import pytest

from xlray.cli.chosen_trials import chosen
from xlray.errors import InputError
from xlray.monitor.view import Row

RATE, HEAT = "intermediate.learning_rate", "intermediate.temperature"


def row(name, cell, seed, status="finished", **values):
    named = {RATE: values["lr"], HEAT: 1.0} if values else {}
    return Row(name, name, status, "measure", cell, ("t",) * 9, seed, values=named)


ROWS = (
    row("a", "0", 0),
    row("b", "9-en lr=2e-5 T=1", 0, lr=2e-5),
    row("c", "9-en lr=5e-6 T=1", 1, "failed", lr=5e-6),
    row("d", "9-en lr=1e-5 T=1", 0, lr=1e-5),
)


def names(*given):
    return [row.trial_id for row in chosen(view("running"), *given)]


def view(state):
    return SimpleNamespace(rows=ROWS, state=state, languages=("fi",))


def test_trials_are_chosen_by_the_values_of_axes_and_by_their_place():
    assert names([], None) == ["a", "b", "c", "d"]
    assert names(["intermediate.learning_rate=1e-5"], None) == names(["lr=0.00001"], None) == ["d"]
    assert names(["seed=0", "T=1"], None) == ["b", "d"]
    assert names(["status=failed"], None) == ["c"] and names(["cell=0"], None) == ["a"]
    assert names(["lr=7"], None) == names(["seed=true"], None) == []


def test_a_status_is_asked_for_as_the_table_tells_it():
    rows = (row("e", "0", 2, "created"), row("f", "0", 3, "running"))
    for state, word in (("running", "running"), ("interrupted", "interrupted")):
        found = [
            chosen(SimpleNamespace(rows=rows, state=state, languages=("fi",)), [f"status={s}"], None)
            for s in ("waiting", word)
        ]
        assert found == [rows[:1], rows[1:]]


def test_trials_are_sorted_by_an_axis_and_those_without_it_come_last():
    assert names([], "lr") == names([], RATE) == ["c", "d", "b", "a"]
    assert names(["seed=0"], "cell") == ["a", "d", "b"]


def test_trials_are_sorted_by_the_mean_of_any_language_of_the_sweep():
    known = [dataclasses.replace(r, accuracy=50.0 + n, others={"et": 50.0 - n}) for n, r in enumerate(ROWS)]
    found = SimpleNamespace(rows=tuple(known), state="running", languages=("fi", "et"))
    for field in ("accuracy", "fi_accuracy"):
        assert [row.trial_id for row in chosen(found, [], field)] == ["a", "b", "c", "d"]
    assert [row.trial_id for row in chosen(found, [], "et_accuracy")] == ["d", "c", "b", "a"]


def test_a_field_that_no_trial_has_is_refused():
    with pytest.raises(InputError, match="--where rate: must be one of cell, role, seed"):
        names(["rate=1"], None)
    with pytest.raises(InputError, match=r"Did you mean 'intermediate.temperature'\?"):
        names([], "intermediate.temperatur")
    with pytest.raises(InputError, match=r"status must be one of waiting, .*\. Did you mean 'finished'\?"):
        names(["status=finishd"], None)
    with pytest.raises(
        InputError, match=r"--where role=mesure: role must be one of measure, .* Did you mean 'measure'\?"
    ):
        names(["role=mesure"], None)
    assert names(["status=dropped"], None) == names(["role=search"], None) == []
    with pytest.raises(InputError, match="--where lr: must be FIELD=VALUE"):
        names(["lr"], None)
