"""Names that a package imports when they are first used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["checkpoint", "evaluation", "model_zoo", "video"])
def test_a_package_has_and_lists_its_names(name):
    package = importlib.import_module(f"modist_det.{name}")
    assert set(package.__all__) <= set(dir(package)) and "__name__" in dir(package)
    assert all(hasattr(package, public) for public in package.__all__)
    with pytest.raises(AttributeError, match=f"module 'modist_det.{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_a_name_is_imported_at_its_first_use():
    code = (
        "import sys, modist_det.evaluation as e; assert 'evaluate_ava' in dir(e)\n"
        "assert 'torch' not in sys.modules and 'modist_det.evaluation.ava' not in sys.modules; e.evaluate_ava"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
