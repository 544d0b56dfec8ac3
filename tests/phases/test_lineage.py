import dataclasses
import json

import helpers
import pytest

from xlray.cli import main
from xlray.errors import InputError
from xlray.phases.lineage import Difference, explain, find_phase
from xlray.phases.spec import EncoderSpec, EvaluationSpec, phase_hash, phase_name
from xlray.phases.store import Store
from xlray.storage.storage import Storage

ROOT = EncoderSpec("an encoder")


def data(task, split="train/en"):
    return helpers.data_spec(task, "classification", split, [{"id": task}], labels=("a", "b"))


def chain(seed=0, tasks=("x", "y"), learning_rate=1e-3, languages=("fi",), parent=ROOT):
    """Trunk, cooldown and target."""
    recipe = {"seed": seed, "learning_rate": learning_rate}
    trunk = helpers.train_spec("trunk", parent, map(data, tasks), schedule="warmup_constant", **recipe)
    cooldown = helpers.train_spec("cooldown", trunk, map(data, tasks), first_example=64, continues=True, **recipe)
    evaluations = tuple(EvaluationSpec(data("t", f"dev/{code}"), code, "dev", False) for code in languages)
    return trunk, cooldown, helpers.train_spec("target", cooldown, [data("t")], evaluations=evaluations)


@pytest.fixture
def storage(tmp_path):
    """Begun phases: two seeds, a task more, an evaluation more, another encoder, and no trunk at all."""
    chains = {
        "plain": chain(),
        "seed": chain(seed=1),
        "more": chain(tasks=("x", "y", "z")),
        "pivot": chain(languages=("fi", "et")),
        "encoder": chain(parent=EncoderSpec("another")),
        "direct": (helpers.train_spec("target", ROOT, [data("t")], evaluations=chain()[2].evaluations),),
    }
    for specs in chains.values():
        for spec in specs:
            Store(Storage(tmp_path)).begin(spec)
    return tmp_path, {name: specs[-1] for name, specs in chains.items()}


def why(storage, first, second):
    root, targets = storage
    return explain(Storage(root), *(find_phase(Storage(root), phase_name(targets[name])) for name in (first, second)))


def test_a_difference_is_followed_to_the_first_ancestors_that_have_it(storage):
    levels = why(storage, "plain", "seed")
    assert [level.first.split("-")[0] for level in levels] == ["target", "cooldown", "trunk"]
    assert levels[0].differences == ()
    assert levels[1].differences == levels[2].differences == (Difference("seed", 0, 1),)


@pytest.mark.timeout(60)
def test_phases_whose_damaged_specs_name_themselves_as_parents_are_refused(storage):
    root, targets = storage
    for name in ("plain", "seed"):
        path = root / "phases" / phase_name(targets[name]) / "spec.json"
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "parent": phase_hash(targets[name])}))
    with pytest.raises(InputError, match="must not start from itself"):
        why(storage, "plain", "seed")


def test_a_task_more_is_one_difference(storage):
    assert why(storage, "plain", "more")[-1].differences == (Difference("data.z train/en", "absent", "1 examples"),)


def test_an_evaluation_more_ends_at_the_phase_itself(storage):
    (level,) = why(storage, "plain", "pivot")
    assert level.differences == (Difference("evaluations.t dev/et", "absent", "1 examples"),)


def test_another_encoder_is_named_by_its_hash(storage):
    last = why(storage, "plain", "encoder")[-1]
    assert (last.first, last.second) == (phase_hash(ROOT), phase_hash(EncoderSpec("another")))
    assert last.differences == ()


def test_a_chain_against_none_ends_where_one_starts_from_the_encoder(storage):
    last = why(storage, "plain", "direct")[-1]
    assert last.first.startswith("cooldown-") and last.second == phase_hash(ROOT)


def test_a_phase_is_found_by_the_beginning_of_its_name_or_hash(storage):
    root, targets = storage
    name = phase_name(targets["seed"])
    key = phase_hash(targets["seed"])
    assert {find_phase(Storage(root), text).name for text in (name, key, key[:8], name[:-10])} == {name}
    with pytest.raises(InputError, match=r"'?trunk.*must name one phase.* begin so: trunk-"):
        find_phase(Storage(root), "trunk")
    with pytest.raises(InputError, match=f"holds none .*Did you mean '{name}'"):
        find_phase(Storage(root), name[:-1] + "!")


def test_the_command_prints_both_values_and_one_document(storage, capfd):
    root, targets = storage
    names = [phase_name(targets[key]) for key in ("plain", "seed")]
    assert main.main(["why", *names, "--storage", str(root), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["levels"][-1]["differences"] == [{"field": "seed", "first": 0, "second": 1}]
    assert main.main(["why", *names, "--storage", str(root)]) == 0
    assert "The difference begins with seed of trunk-" in capfd.readouterr().out
    assert main.main(["why", names[0], names[0], "--storage", str(root)]) == 0
    assert "nothing differs" in capfd.readouterr().out
    assert main.main(["why", names[0], "nothing", "--storage", str(root)]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_every_field_of_a_training_phase_is_seen(storage):
    root, _ = storage
    spec = chain()[0]
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name in ("kind", "parent") or not isinstance(value, (int, float, str)):
            continue
        changed = dataclasses.replace(spec, **{field.name: value + "x" if isinstance(value, str) else value + 1})
        folders = [Store(Storage(root)).begin(s).parent for s in (spec, changed)]
        assert [d.field for d in explain(Storage(root), *folders)[0].differences] == [field.name]
