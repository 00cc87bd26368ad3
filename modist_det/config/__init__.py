"""The configuration: a tree of keys with defaults and limits, YAML files over it.

Keys are declared beside the code that reads them, by :func:`modist_det.core.add_section`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

# Run, training, data, tasks, models: the modules that declare sections, and with them all that they import.
from ..core import CONFIG_VERSION, CfgNode, default_config
from ..engine import launch, run  # noqa: F401

__all__ = ["CONFIG_VERSION", "CfgNode", "get_cfg"]


def get_cfg(file: str | os.PathLike | None = None, overrides: Sequence[str] = ()) -> CfgNode:
    """A fresh copy of the default configuration, with what a file and then ``[KEY, VALUE, ...]`` say.

    Raises:
        UserError: see :meth:`.CfgNode.merge_from_file`.
    """
    cfg = default_config()
    if file is not None:
        cfg.merge_from_file(file)
    cfg.merge_from_list(list(overrides))
    return cfg
