"""What a stored sweep may become under its name."""

import dataclasses
import json

import pytest
from planned import ONE, RECIPE, SWEEP, TARGETS, replace_recipe

from xlray.config.recipes import Subset, Target
from xlray.config.subsets import at_sizes
from xlray.config.sweep import Stopping
from xlray.errors import InputError
from xlray.plan import definition
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage


def phases_and_trials(sweep):
    found = plan_sweep(sweep, None)
    return found.all_specs().keys(), {t.trial_id for t in found.trials}


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": (0, 1, 2)},
        {"measure": (*SWEEP.measure, Subset(("mini_entailment_en",)))},
        {"targets": (*TARGETS, Target("mini_panx", 64, max_length=64, stride=32))},
        {"intermediate": dataclasses.replace(RECIPE, rungs=(64, 128, 256, 512))},
        {"explore": at_sizes((ONE,), (None, 50))},
    ],
    ids=["seeds", "tasks", "target", "rung", "sizes"],
)
def test_a_sweep_that_grows_keeps_its_trials_and_all_but_probes_of_the_former_last_rung(changes):
    grown = dataclasses.replace(SWEEP, **changes)
    before, after = phases_and_trials(SWEEP), phases_and_trials(grown)
    assert before[1] <= after[1]
    lost = {plan_sweep(SWEEP, None).all_specs()[key] for key in before[0] - after[0]}
    # The former last rung's targets are probes now; without `probe_examples` they are kept.
    probed = {spec for spec in lost if spec.kind == "target" and spec.data[0].task == "mini_udpos"}
    assert lost == probed and (not lost or "intermediate" in changes)
    assert after[0] - before[0]
    assert not differences(SWEEP, grown)


def test_the_hash_of_a_definition_is_that_of_its_trials_and_numbers_whatever_its_words():
    known = definition.definition_hash(SWEEP.definition)
    assert known == definition.definition_hash(json.loads(json.dumps(SWEEP.definition)))
    assert known == definition.definition_hash(dataclasses.replace(SWEEP, name="x", question="Why?").definition)
    assert known != definition.definition_hash(dataclasses.replace(SWEEP, seeds=(0, 1, 2)).definition)


def differences(stored, wanted):
    return definition.changes(json.loads(json.dumps(stored.definition)), wanted.definition)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (replace_recipe(learning_rate=1e-4), "intermediate.learning_rate: 1e-05 != 0.0001"),
        (replace_recipe(rungs=(64, 256)), "intermediate.rungs: [64, 128, 256] is no beginning of [64, 256]"),
        (dataclasses.replace(SWEEP, targets=TARGETS[:2]), "targets.mini_tatoeba: is gone"),
        (
            dataclasses.replace(SWEEP, targets=(dataclasses.replace(TARGETS[0], learning_rate=1.0), *TARGETS[1:])),
            "targets.mini_udpos.learning_rate: 2e-05 != 1.0",
        ),
        (dataclasses.replace(SWEEP, dropout=0.0), "dropout: 0.1 != 0.0"),
        (dataclasses.replace(SWEEP, stopping=Stopping(2.0)), "stopping.reduction_factor: 3.0 != 2.0"),
    ],
)
def test_what_would_mix_two_definitions_is_refused_with_the_fields(changed, line, tmp_path):
    assert line in differences(SWEEP, changed)
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(SWEEP.definition))
    with pytest.raises(InputError, match=r"exists with another definition .* use --new-version") as caught:
        definition.check_definition(changed, Storage(tmp_path))
    assert line in str(caught.value) and "\n" not in str(caught.value)
    renamed = definition.newest_version(changed, Storage(tmp_path))
    assert renamed.name == "s.2" and definition.newest_version(SWEEP, Storage(tmp_path)).name == "s"
    (tmp_path / "sweeps" / "s.2").mkdir()
    (tmp_path / "sweeps" / "s.2" / "sweep.json").write_text(json.dumps(renamed.definition))
    assert definition.newest_version(changed, Storage(tmp_path)).name == "s.2"  # the same command resumes it
    mixed = differences(renamed, SWEEP)  # a target that was taken away can be added again
    assert definition.newest_version(SWEEP, Storage(tmp_path)).name == ("s.3" if mixed else "s.2")
