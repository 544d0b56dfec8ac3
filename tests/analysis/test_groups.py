import numpy as np
import pytest

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, TaskFacts
from xlray.analysis.groups import FAMILY_OF, SCRIPT_OF, UNKNOWN, groups_of
from xlray.data.registry import ALL_TASKS

FACTS = {
    "ru_ner": TaskFacts("tagging", "ru", 5_000),
    "de_ner": TaskFacts("tagging", "de", 50_000),
    "et_qa": TaskFacts("span", "et", 500_000),
    "en_nli": TaskFacts("classification", "en"),
}
EFFECTS = {"ru_ner": 1.0, "de_ner": 2.0, "et_qa": -1.0, "en_nli": 0.0, "mine": 0.5}


@pytest.fixture(scope="module")
def found():
    generator, points = np.random.default_rng(0), []
    for number in range(24):
        tasks = tuple(sorted(task for task in EFFECTS if generator.random() < 0.5))
        for seed in range(3):
            value = 50 + sum(EFFECTS[t] for t in tasks) + generator.normal(0, 0.1)
            place = ("x-all", len(tasks), "all", tasks, " ".join(tasks), seed, 4_096, 0)
            points.append(Point(f"{number}/{seed}", "measure", *place, {FI_ACCURACY: value}))
    return analysis.contributions(list({(p.tasks, p.seed): p for p in points}.values()), FI_ACCURACY, Sampling(300))


def test_a_task_belongs_to_one_group_of_each_attribute():
    assert groups_of(FACTS["ru_ner"]) == {
        "kind": "tagging", "language family": "Slavic", "script": "Cyrillic", "size": "under 10,000 examples",
    }  # fmt: skip
    assert groups_of(FACTS["et_qa"])["language family"] == "Uralic" and groups_of(FACTS["et_qa"])["script"] == "Latin"
    assert groups_of(FACTS["en_nli"])["size"] == UNKNOWN
    strange = groups_of(TaskFacts("span", "tlh", 20_000))
    assert (strange["language family"], strange["script"], strange["size"]) == (UNKNOWN, UNKNOWN, "10,000 to 100,000")


def test_every_language_of_the_registry_has_a_family_and_no_two():
    languages = {language for task in ALL_TASKS.values() for language in task.languages[:1]} - {"multi", ""}
    assert sorted(languages - FAMILY_OF.keys()) == []
    assert SCRIPT_OF.keys() <= FAMILY_OF.keys()


def test_a_group_has_the_mean_of_its_tasks_and_no_interval(found):
    by_kind = {e.name: e for e in analysis.grouped_contributions(found, FACTS)["kind"]}
    single = {task: e.value for task, e in zip(found.tasks, found.estimates, strict=True)}
    tagging = by_kind["group/kind/tagging"]
    assert tagging.value == pytest.approx((single["ru_ner"] + single["de_ner"]) / 2) and tagging.num_subsets == 2
    assert (tagging.low, tagging.standard_error) == (None, None) and tagging.missing
    assert by_kind["group/kind/span"].value == pytest.approx(single["et_qa"])


def test_groups_come_largest_first_and_unknown_tasks_have_their_own(found):
    groups = analysis.grouped_contributions(found, FACTS)
    for estimates in groups.values():
        assert [e.value for e in estimates] == sorted((e.value for e in estimates), reverse=True)
        assert sum(e.num_subsets for e in estimates) == len(EFFECTS)
    assert "group/kind/unknown" in {e.name for e in groups["kind"]}
    assert analysis.grouped_contributions(analysis.Contributions(()), FACTS) == {}
