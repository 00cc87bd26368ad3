"""What tasks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from modist_det.config import get_cfg
from modist_det.tasks.base import Task, check_titles, complete_num_classes
from modist_det.utils.errors import UserError


def test_the_widest_data_set_decides():
    cfg = get_cfg()
    complete_num_classes(cfg, {"first": 5, "second": 10})
    assert cfg.MODEL.NUM_CLASSES == 10
    complete_num_classes(cfg, {"third": 3})
    assert cfg.MODEL.NUM_CLASSES == 10
    with pytest.raises(UserError, match="dataset fourth has 12 classes, but MODEL.NUM_CLASSES is 10"):
        complete_num_classes(cfg, {"fourth": 12})


def test_two_test_sets_of_one_name():
    check_titles(["a", "b"])
    with pytest.raises(UserError, match="called 'a'"):
        check_titles(["a", "b", "a"])


def test_a_task_says_what_it_does_not_have():
    task, cfg = Task(), get_cfg()
    with pytest.raises(UserError, match="Task has no training data"):
        task.train_data(cfg)
    with pytest.raises(UserError, match="no test data; leave DATASETS.TEST empty"):
        task.test_data(cfg, "a")
    with pytest.raises(UserError, match="no evaluator; leave DATASETS.TEST empty"):
        task.evaluator(cfg, "a", Path())
