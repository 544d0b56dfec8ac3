"""The names of cells as people read them."""

import pytest

from xlray.storage.cells import cell_in_words, cell_order, effect_in_words, pair_in_words


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("0", "none"),
        ("0 T=3", "none at T=3"),
        ("1-all", "1 task"),
        ("8-all", "8 tasks"),
        ("9-en", "9 English tasks"),
        ("9-en lr=1e-5 T=3", "9 English tasks at lr=1e-5 T=3"),
        ("20-non-en", "20 non-English tasks"),
        ("9-en-1024", "9 English tasks of 1,024 examples each"),
        ("1-control", "1 control task"),
        ("4-all-shuffled", "4 tasks with shuffled labels"),
        ("9-non-en-masked", "9 non-English tasks with masked words"),
        ("3-mine", "3 tasks from mine"),
        ("3-english", "3 tasks from english"),  # a source of the user's, whatever it begins with
        ("3-en-lish", "3 tasks from en-lish"),
        ("all shared cells", "all shared cells"),
    ],
)
def test_a_cell_is_named_by_what_it_trains_on(cell, words):
    assert cell_in_words(cell) == words


def test_the_cell_without_tasks_is_called_by_itself_no_task():
    assert cell_in_words("0", "no task") == "no task" and pair_in_words("9-en - 0") == "9 English tasks against none"


def test_cells_are_sorted_by_their_number_of_tasks():
    assert sorted(["20-en", "0", "9-non-en", "9-en"], key=cell_order) == ["0", "9-en", "9-non-en", "20-en"]


def test_effects_of_a_two_by_two_are_named_by_what_they_compare():
    assert effect_in_words("number 20 - 9") == "20 tasks instead of 9"
    assert effect_in_words("source non-en - en") == "non-English tasks instead of English tasks"
    assert effect_in_words("interaction 20 - 9 x non-en - en") == "interaction of number and source"
