"""The configuration: a tree of keys with defaults and limits, YAML files over it.

Keys are declared beside the code that reads them, by :func:`modist_det.core.add_section`.
"""

from __future__ import annotations

# Run, training, data, tasks, models: the modules that declare sections, and with them all that they import.
from ..core import CONFIG_VERSION, CfgNode, default_config
from ..engine import launch, run  # noqa: F401

__all__ = ["CONFIG_VERSION", "CfgNode", "get_cfg"]


def get_cfg() -> CfgNode:
    """A fresh copy of the default configuration."""
    return default_config()
