"""Does a word mean the tasks that a person would expect, and does a wrong word name the right one?"""

import re
from dataclasses import replace

import pytest

from parallel_train.commands.select import select
from parallel_train.core.task import Task
from parallel_train.errors import NothingSelectedError, UsageError


def make(number, name, task_id, stage=None):
    return Task(name=name, command=("true",), id=task_id, number=number, stage=stage)


TASKS = (
    make(1, "digits_sym_seed1", "aaaa000000000001", "train"),
    make(2, "digits_sym_seed2", "aaaa000000000002", "train"),
    make(3, "digits_asym_seed1", "bbbb000000000003", "train"),
    make(4, "report", "1234000000000004", "plot"),
    make(5, "5-6", "cccc000000000005"),
    make(6, "odd[1]", "dddd000000000006"),
    make(12, "plot", "eeee000000000012"),
    make(13, "12", "ffff000000000013"),
    make(14, "abcd", "abce000000000014"),
    make(15, "other", "abcd000000000015"),
    replace(make(16, "point3", "9999000000000016"), output="../results/3.json", is_call=True),
    replace(make(17, "point4", "9998000000000017"), output="out/run"),
)


@pytest.mark.parametrize(
    ("word", "numbers"),
    [
        ("3", [3]),
        ("12", [12]),  # a number before a name
        ("2-4", [2, 3, 4]),
        ("5-6", [5, 6]),
        ("14-999999999999999999999", [14, 15, 16, 17]),
        ("report", [4]),
        ("plot", [12]),  # a name before a stage
        ("train", [1, 2, 3]),
        ("abcd", [14]),  # a name before an id
        ("bbbb", [3]),
        ("1234", [4]),  # no such number
        ("aaaa000000000002", [2]),
        ("digits_sym_*", [1, 2]),
        ("*seed1", [1, 3]),
        ("digits_?sym_seed[12]", [3]),
        ("odd[1]", [6]),  # a name before a pattern
        ("results/3.json", [16]),
        ("../results/3.json", [16]),
        ("out/run/", [17]),
        ("3_finished", [16]),
    ],
)
def test_a_word_means(word, numbers):
    assert [task.number for task in select([word], TASKS)] == numbers


def test_words_add_up_each_task_once():
    assert [task.number for task in select(["report", "1-2", "digits_sym_*", "1"], TASKS)] == [4, 1, 2]


def test_tasks_of_one_name_in_two_files_are_both_meant():
    twins = (make(1, "a", "aaaa1"), make(2, "a", "bbbb2"))
    assert select(["a"], twins) == twins


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("reprot", "no task, stage or id matches 'reprot' (did you mean 'report'?)"),
        ("trian", "no task, stage or id matches 'trian' (did you mean 'train'?)"),
        ("zzz*", "no task, stage or id matches 'zzz*'"),
        ("99", "no task, stage or id matches '99'"),
        ("", "no task, stage or id matches ''"),
    ],
)
def test_a_word_that_means_nothing_names_the_nearest(word, text):
    with pytest.raises(NothingSelectedError, match=f"^{re.escape(text)}$"):
        select(["1", word], TASKS)


def test_the_beginning_of_several_ids_lists_them():
    with pytest.raises(UsageError) as caught:
        select(["aaaa"], TASKS)
    assert str(caught.value) == (
        "'aaaa' is the beginning of several ids: "
        "aaaa000000000001 (1, digits_sym_seed1), aaaa000000000002 (2, digits_sym_seed2)"
    )


def test_a_long_list_of_candidates_is_cut():
    many = [make(n, f"t{n}", f"abab{n:012}") for n in range(1, 21)]
    with pytest.raises(UsageError, match=r"t8\), 12 more$"):
        select(["abab"], many)
