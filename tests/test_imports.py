"""The arrows between modules: no circle, and what the config loads.

Which package may import which is the contract in ``pyproject.toml``, which ``lint-imports`` checks.
"""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


@pytest.fixture(scope="module")
def graph():
    """Every import, lazy ones included, but for type checkers."""
    return grimp.build_graph("modist_det", exclude_type_checking_imports=True, cache_dir=None)


def imports_of(graph) -> dict[str, set[str]]:
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_no_file_imports_itself_by_way_of_others(graph):
    assert len(graph.modules) > 200
    imports = imports_of(graph)
    TopologicalSorter(imports).prepare()
    upward = {module: set(imported) for module, imported in imports.items()}
    upward["modist_det.utils.paths"] = {*upward["modist_det.utils.paths"], "modist_det.model_zoo.zoo"}
    with pytest.raises(CycleError):
        TopologicalSorter(upward).prepare()


def test_every_module_that_declares_config_keys_is_loaded_with_the_config(graph, root):
    declaring = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in (root / "modist_det").rglob("*.py")
        if re.search(r"^(\w+ = )?add_section\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(declaring) > 20
    assert declaring <= graph.find_upstream_modules("modist_det.config")
