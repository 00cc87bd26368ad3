"""Every key has the default and limits of ``keys.json``: configs and checkpoints of earlier releases rely on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modist_det.config import get_cfg
from modist_det.core import CfgNode, Key, ListOf, add_section, default_config
from modist_det.core.limits import FINITE, find_fault
from modist_det.core.node import flatten, limit_of
from modist_det.core.sections import SECTIONS

RECORDED = json.loads((Path(__file__).parent / "keys.json").read_text(encoding="utf-8"))


def test_defaults_and_limits_are_the_recorded_ones():
    defaults = flatten(get_cfg())
    found = {}
    for key, default in defaults.items():
        row = {"default": default}
        limit = limit_of(key)
        numbers = limit.limit if isinstance(limit, ListOf) else limit
        if isinstance(limit, ListOf):
            row["takes"] = str(limit)
        if numbers != FINITE:
            row["must_be"] = str(numbers)
        found[key] = row
    assert found == RECORDED
    # 1 == 1.0 == True for Python, but a key takes values of its default's type.
    assert {key: type(value) for key, value in defaults.items()} == {
        key: type(row["default"]) for key, row in RECORDED.items()
    }


def test_defaults_are_inside_their_limits_and_lists_say_what_they_hold():
    defaults = flatten(get_cfg())
    assert {key for key, value in defaults.items() if find_fault(value, limit_of(key))} == set()
    assert {key for key, value in defaults.items() if isinstance(value, list)} == {
        key for key in defaults if isinstance(limit_of(key), ListOf)
    }


@pytest.fixture
def sections(monkeypatch):
    """Sections that are declared in a test are gone after it."""
    before = {name: dict(keys) for name, keys in SECTIONS.items()}
    yield
    SECTIONS.clear()
    SECTIONS.update(before)


def test_a_section_in_several_parts_with_shared_keys(sections):
    shared = add_section("THEIRS", SIZE=Key([1, 2], ListOf(int, 2)), NAME="x")
    add_section("OURS.INNER", shared, NAME="y")
    add_section("OURS.INNER", DEEP=1)
    old = CfgNode()
    old.join_sections()
    assert old.OURS.INNER == {"SIZE": [1, 2], "NAME": "y", "DEEP": 1} and old.THEIRS.NAME == "x"
    assert limit_of("OURS.INNER.SIZE") == ListOf(int, 2)
    old.OURS.INNER.SIZE[0] = 5
    assert default_config().OURS.INNER.SIZE == [1, 2]
    with pytest.raises(ValueError, match=r"OURS\.INNER: DEEP declared twice"):
        add_section("OURS.INNER", DEEP=2)
    add_section("OURS", LATER=0.5)
    old.join_sections()
    assert old.OURS.LATER == 0.5 and old.OURS.INNER.SIZE == [5, 2]
