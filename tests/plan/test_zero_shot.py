"""No label in the language that a sweep is evaluated in is trained on, whichever it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from xlray.cli.tables import plan_lines
from xlray.config.recipes import Architecture, Intermediate, Pretraining, Subset, Target
from xlray.config.sweep import Sweep
from xlray.data.contamination import build_exclusions, load_exclusions, store_exclusions
from xlray.errors import InputError
from xlray.phases.store import Store
from xlray.plan.definition import changes
from xlray.plan.forecast import summary
from xlray.plan.trials import plan_sweep, ranking_languages
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import languages_of, of_now
from xlray.tasks import Generated, Record, Task, load_records

SHARED = "see lause on juba olemas"


def rows(kind: str, *texts: str) -> list[Record]:
    if kind == "mlm":
        return [{"id": str(n), "text": text, "text_pair": None} for n, text in enumerate(texts)]
    return [{"id": str(n), "text": text, "text_pair": None, "label": "x"} for n, text in enumerate(texts)]


def made(name: str, role: str, languages: tuple[str, ...], kind: str = "classification", **splits: list[str]) -> Task:
    records = {key.replace("_", "/"): rows(kind, *texts) for key, texts in splits.items()}
    labels = () if kind == "mlm" else ("x", "y")
    return Task(name, kind, languages, Generated(tuple(records), records.__getitem__), role, labels)


TARGET = made(
    "topic",
    "target",
    ("en", "fi", "et"),
    train_en=[f"english text {n}" for n in range(40)],
    dev_en=["one more english text"],
    dev_fi=["suomea on tässä"],
    dev_et=[SHARED, "teine lause on siin"],
)
WORDS = made("words", "text", ("en",), "mlm", train_en=[f"text number {n}" for n in range(40)])
ENCODER = Pretraining(("words",), Architecture(64, 2, 4, 128, 400, 66), num_examples=64, batch_size=32, max_length=64)
SWEDISH = made("swedish", "intermediate", ("sv",), train_sv=[*(f"svensk text {n}" for n in range(40)), SHARED.upper()])


def sweep(*tasks: Task, language: str = "et", targets: tuple[Target, ...] | None = None, **changes: Any) -> Sweep:
    targets = targets or (Target("topic", 64, max_length=64, stride=32),)
    values: dict[str, Any] = {
        "encoder": ENCODER,
        "measure": (Subset(tuple(task.name for task in tasks if task.role != "target")),),
        "intermediate": Intermediate(rungs=(64,), batch_size=32, warmup_examples=32, max_length=64, stride=32),
        "own_tasks": (TARGET, WORDS, *tasks),
        "language": language,
        **changes,
    }
    return Sweep("s", targets=targets, **values)


@pytest.mark.parametrize("codes", [("et",), ("est",), ("sv", "ekk_Latn"), ("ET-ee",)])
def test_an_intermediate_task_with_labels_in_the_language_of_the_targets_is_refused(codes: tuple[str, ...]) -> None:
    task = made("mine", "intermediate", codes, **{f"train_{codes[0]}": ["a text"]})
    with pytest.raises(InputError, match="no intermediate task has labels in the language of its targets, but 'mine'"):
        plan_sweep(sweep(task), None)
    assert plan_sweep(sweep(task, language="fi"), None).trials


def test_a_registered_task_with_estonian_labels_is_refused_too() -> None:
    subset = (Subset(("ud_et_ewt",)),)
    with pytest.raises(InputError, match="'ud_et_ewt' has them in 'et'"):
        plan_sweep(sweep(measure=subset), None, assume_sizes=True)
    plan_sweep(sweep(language="fi", measure=subset), None, assume_sizes=True)


def test_text_without_labels_may_be_in_the_language_of_the_targets() -> None:
    text = made("text", "text", ("et",), "mlm", train_et=["tekst on siin", "veel üks tekst"])
    assert plan_sweep(sweep(text), None).trials


def test_a_target_is_evaluated_in_a_language_of_its_dev_sets_that_it_is_not_trained_in() -> None:
    for language, found in (
        ("en", "'en', which it is trained in"),
        ("de", "'de'"),
        ("est", "'est'. Did you mean 'et'"),
    ):
        with pytest.raises(InputError, match=rf"one of its dev sets \(fi, et\), but got {found}"):
            plan_sweep(sweep(language=language), None)
    trained = dataclasses.replace(
        TARGET, languages=("et", "fi"), source=Generated(("train/et", "dev/fi"), lambda _: ())
    )
    with pytest.raises(InputError, match=r"one of its dev sets \(fi\), but got 'et', which it is trained in"):
        plan_sweep(sweep(own_tasks=(trained, WORDS)), None)


def test_a_language_that_a_target_lacks_is_refused_and_it_is_said_which_has_which() -> None:
    for wanted in ({"language": "et"}, {"language": "fi", "languages": ("fi", "et")}):
        with pytest.raises(
            InputError, match=r"'mini_udpos': .* \(fi\), but got 'et'.* 'topic' has it; all targets have fi\."
        ) as caught:
            plan_sweep(sweep(targets=(Target("topic"), Target("mini_udpos")), **wanted), None)
        assert "\n" not in str(caught.value)


def test_the_first_of_several_languages_is_the_sweeps_language() -> None:
    assert sweep(language="fi", languages=("et", "fi")).language == "et"
    assert sweep(language="et", languages=()).evaluated == ("et",)
    with pytest.raises(InputError, match="language is the first of languages"):
        sweep(language="et", languages=("fi", "et"))
    with pytest.raises(InputError, match="languages are distinct"):
        sweep(languages=("et", "et"))
    with pytest.raises(InputError, match="'et', evaluated in itself, is no pivot"):
        sweep(language="fi", languages=("fi", "et"), targets=(Target("topic", pivots=("et",)),))


def test_no_language_of_several_may_be_trained_on_and_texts_of_all_are_left_out() -> None:
    task = made("mine", "intermediate", ("sv",), train_sv=["a text", "suomea on tässä", SHARED])
    assert plan_sweep(sweep(task, languages=("et", "fi")), None).sources.overlapping == {"mine train/sv": 2}
    estonian = dataclasses.replace(task, languages=("sv", "est"))
    with pytest.raises(InputError, match="labels in a language of its targets, but 'mine' has them in 'et'"):
        plan_sweep(sweep(estonian, language="fi", languages=("fi", "et")), None)


def test_a_further_language_is_evaluated_beside_the_first_and_changes_no_phase_but_those_of_targets() -> None:
    task = made("mine", "intermediate", ("sv",), train_sv=[f"svensk text {n}" for n in range(40)])
    alone, both = (plan_sweep(sweep(task, language="fi", languages=more), None) for more in ((), ("fi", "et")))
    assert [trial.trial_id for trial in alone.trials] == [trial.trial_id for trial in both.trials]
    (first,), (second,) = alone.phases.values(), both.phases.values()
    kept = [a.kind for a, b in zip(first, second, strict=True) if a.key == b.key]
    assert kept == ["trunk", "cooldown"]
    (one,), (two,) = first.targets(0), second.targets(0)
    found = [(e.language, e.split, e.selection) for e in two.evaluations]
    assert found == [("fi", "dev", True), ("en", "dev", False), ("et", "dev", False)]
    assert two.evaluations[:2] == one.evaluations
    assert alone.sweep.basis(0) == both.sweep.basis(0), "trials rank alike"
    assert ranking_languages(two, "target-dev", ("fi", "et")) == ("fi",)
    assert ranking_languages(two, "pivot-dev", ("fi", "et")) == ()


def test_labels_are_no_text_for_pre_training() -> None:
    with pytest.raises(InputError, match="encoder: pre-training reads text of kind 'mlm', but 'topic' is of kind"):
        plan_sweep(sweep(encoder=Pretraining(("topic",))), None)


def test_texts_of_the_targets_language_are_left_out_and_the_list_of_the_storage_grows(tmp_path: Path) -> None:
    finnish = build_exclusions([TARGET], lambda task, split: load_records(task, split))
    store_exclusions(Storage(tmp_path), finnish)
    plan = plan_sweep(sweep(SWEDISH), None, Storage(tmp_path))
    assert plan.sources.overlapping == {"swedish train/sv": 1}
    grown = load_exclusions(Storage(tmp_path))
    assert grown is not None and grown.languages == ("et", "fi")
    assert {*finnish.keys.tolist()} < {*grown.keys.tolist()} and {*finnish.sources} < {*grown.sources}
    plan_sweep(sweep(SWEDISH), None, Storage(tmp_path))
    plan_sweep(sweep(SWEDISH, language="fi"), None, Storage(tmp_path))
    again = load_exclusions(Storage(tmp_path))
    assert again is not None and again.version == grown.version, "what covers a sweep is not recreated"


def test_a_finnish_list_stays_valid_and_a_finnish_sweep_does_not_look_for_other_languages(tmp_path: Path) -> None:
    finnish = build_exclusions([TARGET], lambda task, split: load_records(task, split))
    store_exclusions(Storage(tmp_path), finnish)
    plan = plan_sweep(sweep(SWEDISH, language="fi"), None, Storage(tmp_path))
    known = load_exclusions(Storage(tmp_path))
    assert known is not None and known.version == finnish.version and plan.sources.overlapping == {}


def test_a_plan_says_in_which_languages_targets_are_evaluated(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for languages, said in ((("et",), "in Estonian"), (("fi", "et"), "in Finnish and Estonian"), (("fi",), "")):
        plan = plan_sweep(sweep(SWEDISH, language=languages[0], languages=languages), None)
        lines = plan_lines(summary(plan, Store(Storage(tmp_path / "runs"))))
        assert [line.removeprefix("scored  ") for line in lines if line.startswith("scored")] == [said] * bool(said)


def test_a_pivot_is_found_in_the_labels_however_it_is_written() -> None:
    task = made("mine", "intermediate", ("sv",), train_sv=["a text"], dev_sv=["b"])
    estonian = dataclasses.replace(task, languages=("sv", "est"))
    targets = (Target("topic", 64, pivots=("et",), max_length=64, stride=32),)
    assert plan_sweep(sweep(task, targets=targets, language="fi"), None).trials
    with pytest.raises(InputError, match="no intermediate task has labels in a pivot language, but 'mine'"):
        plan_sweep(sweep(estonian, targets=targets, language="fi"), None)


def test_the_language_stands_in_the_definition() -> None:
    definition = json.loads(json.dumps(sweep(SWEDISH, languages=("et", "fi")).definition))
    assert languages_of(definition) == ["et", "fi"] and languages_of({}) == []


def test_a_definition_of_an_earlier_version_is_the_same_sweep() -> None:
    """They had the language in each target, and called the signal after Finnish."""
    for language in ("fi", "et"):
        new = json.loads(json.dumps(sweep(SWEDISH, language=language).definition))
        old = {k: v for k, v in new.items() if k not in ("language", "languages")} | {"select_by": "finnish-dev"}
        old["targets"] = [{**target, "language": language} for target in new["targets"]]
        assert changes(of_now(old), new) == [] and languages_of(of_now(old)) == [language]
    assert "language: 'et' != 'fi'" in changes(of_now(old), sweep(SWEDISH, language="fi").definition)


def test_further_languages_may_be_added_to_a_sweep() -> None:
    one, two = (sweep(SWEDISH, language="fi", languages=more).definition for more in ((), ("fi", "et")))
    assert changes(one, two) == changes(two, one) == []
