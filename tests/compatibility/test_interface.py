"""Every config key, command line and public name of an earlier version is still there; see ``record.py``."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path

import pytest

from modist_det.config import get_cfg

from .command_lines import describe_command

RECORDED = json.loads((Path(__file__).parent / "recorded" / "interface.json").read_text())

# Options whose default has changed, and why.
CHANGED = {"--draw-score": "the thresholds of the model's run; 0.1, the earlier default, where it has none"}

# Parts of other modules that nobody outside had a use for, and what there is instead.
GONE = {
    "modist_det.utils.ava_tables.TableBuilder": "pyarrow makes the columns",
    "modist_det.config.data": "get_cfg(): each key is declared beside the class that reads it",
    "modist_det.config.model": "get_cfg()",
    "modist_det.config.solver": "get_cfg()",
    "modist_det.config.test": "get_cfg()",
    "modist_det.evaluation.ava_rows.SECOND_BITS": "structures.pack_keyframes",
    "modist_det.evaluation.ava_rows.TICKS": "structures.pack_keyframes",
    "modist_det.evaluation.ava_rows.keyframe_keys": "structures.pack_keyframes",
}


def test_config_keys_have_their_defaults():
    cfg = get_cfg()
    found = {}
    for key in RECORDED["config"]:
        node = cfg
        for part in key.split("."):
            node = node.get(part, "absent") if isinstance(node, dict) else "absent"
        found[key] = list(node) if isinstance(node, tuple) else node
    assert found == RECORDED["config"]


@pytest.mark.parametrize("command", RECORDED["commands"])
def test_command_lines_take_what_they_took(command, root):
    assert _lacking(RECORDED["commands"][command], describe_command(root / command)) == []


def _lacking(before, now):
    lacking = []
    for name, described in before.items():
        if isinstance(described, dict):
            lacking += [f"{name}: {inner}" for inner in _lacking(described, now.get(name, {}))]
        elif name not in now:
            lacking.append(name)
        elif name not in CHANGED:
            nargs, default, choices = now[name]
            if [nargs, default] != described[:2] or not set(described[2] or []) <= set(
                choices or described[2] or []
            ):
                lacking.append(f"{name} was {described}, is {now[name]}")
    return lacking


def test_public_names_can_be_imported():
    lacking = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of modules that have moved
        for module, names in RECORDED["names"].items():
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError:
                lacking.add(module)
                continue
            lacking |= {f"{module}.{name}" for name in names.split() if not hasattr(found, name)}
    assert lacking == set(GONE)
