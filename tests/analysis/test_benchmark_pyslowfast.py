"""PySlowFast beside us: a checkout whose imports are missing, and the pairs of a comparison."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modist_det.analysis.benchmark.pyslowfast import pyslowfast_package
from modist_det.utils.errors import UserError


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Files with the names of PySlowFast's, which import what nobody has."""
    package = tmp_path / "slowfast"
    for folder in ("models", "config"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text("import not_there.layers.norm\nfrom not_there.layers import Layer\n")
    (package / "models" / "__init__.py").write_text("from .video_model_builder import Net\nprint('noise')\n")
    (package / "models" / "video_model_builder.py").write_text(
        "from not_there_either import Base\nimport json\nclass Net(Base):\n    numbers = json.loads('[1, 2]')\n"
    )
    (package / "config" / "defaults.py").write_text("")
    return tmp_path


def test_missing_modules_are_replaced_and_nothing_stays(checkout, capsys):
    before, path = set(sys.modules), list(sys.path)
    with pyslowfast_package(checkout) as replaced:
        from slowfast.models import Net

        assert Net.numbers == [1, 2]
    assert replaced == ["not_there", "not_there.layers", "not_there.layers.norm", "not_there_either"]
    assert capsys.readouterr().out == ""
    assert set(sys.modules) == before
    assert sys.path == path


def test_errors_of_the_checkout_itself_are_not_hidden(checkout):
    (checkout / "slowfast" / "models" / "__init__.py").write_text("import slowfast.not_written")
    with pytest.raises(ModuleNotFoundError, match=r"slowfast\.not_written"), pyslowfast_package(checkout):
        pass


def test_another_folder_is_no_checkout(tmp_path):
    with pytest.raises(UserError, match="no checkout of PySlowFast.*git clone"), pyslowfast_package(tmp_path):
        pass
