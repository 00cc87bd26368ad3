"""What tasks share."""

from __future__ import annotations

import pytest

from modist_det.config import get_cfg
from modist_det.tasks.base import check_titles, complete_num_classes
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
