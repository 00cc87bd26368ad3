"""Modules under the names that they had before they moved."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

from modist_det._moved import MOVED


@pytest.fixture(autouse=True)
def not_imported_yet(monkeypatch):
    """Other tests import old names, too, and a module warns once."""
    for name in list(sys.modules):
        if name.removeprefix("modist_det.").startswith(tuple(MOVED)):
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("old", sorted(MOVED))
def test_old_names_are_the_new_modules(old):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        before = importlib.import_module(f"modist_det.{old}")
    now = importlib.import_module(f"modist_det.{MOVED[old]}")
    if hasattr(now, "__path__"):
        assert all(getattr(before, name) is getattr(now, name) for name in getattr(now, "__all__", []))
    else:
        assert before is now


def test_a_submodule_does_not_take_the_place_of_a_function():
    with pytest.warns(DeprecationWarning):
        importlib.import_module("modist_det.data.puppets.generate")
    from modist_det import puppets
    from modist_det.data.puppets import generate

    assert callable(puppets.generate) and generate is puppets.generate


def test_a_module_of_a_package_that_moved():
    with pytest.warns(DeprecationWarning, match="is now modist_det.puppets.labels"):
        old = importlib.import_module("modist_det.data.puppets.labels")
    assert old is importlib.import_module("modist_det.puppets.labels")


def test_other_missing_modules_stay_missing():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("modist_det.data.nothing")
